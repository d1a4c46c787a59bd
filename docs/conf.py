"""How Sphinx builds the documentation: make docs."""

import os
import sys
import tomllib
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from urllib.parse import urlsplit

import django
from django.conf import settings

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

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

# The address is empty until the documentation is served somewhere: pyproject.toml has it. Read the Docs knows
# the address of each version: https://docs.readthedocs.com/platform/stable/reference/environment-variables.html
with (ROOT / "pyproject.toml").open("rb") as opened:
    addresses = tomllib.load(opened)["tool"]["hatch"]["metadata"]["hooks"]["custom"]
html_baseurl = os.environ.get("READTHEDOCS_CANONICAL_URL") or addresses["documentation"]

extensions = [
    "notfound.extension",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
if html_baseurl:
    # It prints that matplotlib is missing, which draws pictures that are not wanted here.
    with redirect_stdout(StringIO()):
        import sphinxext.opengraph  # noqa: F401
    extensions.append("sphinxext.opengraph")
exclude_patterns = ["_build", "servers/tables"]  # tables are included in pages
highlight_language = "none"
html_theme = "furo"
html_title = f"django-lifespan-app {release}"
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_theme_options = {
    "source_repository": addresses["repository"],
    "source_branch": "HEAD",
    "source_directory": "docs/",
}

# Neither prompts nor output are copied.
copybutton_exclude = ".linenos, .gp, .go"
copybutton_selector = "div.highlight-python pre, div.highlight-shell pre, div.highlight-ini pre"

# A page that is not found may have any address, so its links begin at the root of the site.
notfound_urls_prefix = urlsplit(html_baseurl).path or "/"
notfound_context = {
    "title": "Page not found",
    "body": "<h1>Page not found</h1><p>There is no page at this address. Search for its words, or begin at "
    f'<a href="{notfound_urls_prefix}">the first page</a>.</p>',
}

ogp_site_url = html_baseurl
ogp_site_name = "django-lifespan-app"
ogp_image = "_images/run.png"
ogp_image_alt = "The page of a run in Django's admin"
ogp_social_cards = {"enable": False}

autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False

# Every reference has to lead somewhere. Those into Python and Django would need the network.
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!lifespan_app\.).*")]
