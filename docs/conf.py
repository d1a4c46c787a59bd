"""How Sphinx builds the documentation: make docs."""

import sys
from pathlib import Path

import django
from django.conf import settings

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

# The docstrings are in modules that import Django's models and handlers.
settings.configure(
    SECRET_KEY="for the documentation only",
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "lifespan_app"],
)
django.setup()

from lifespan_app import __version__  # noqa: E402

project = "django-lifespan-app"
author = "lifespan_app contributors"
copyright = author  # noqa: A001  # Sphinx's name for it
release = version = __version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "servers/tables"]  # tables are included in pages
highlight_language = "none"
html_theme = "furo"
html_title = f"django-lifespan-app {release}"
html_copy_source = False

autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False

# Every reference has to lead somewhere. Those into Python and Django would need the network.
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!lifespan_app\.).*")]
