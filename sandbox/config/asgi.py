"""What the server serves: Django with a lifespan, and its static files."""

import os

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler

from lifespan_app.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

# Only http requests for static files stop here: lifespan messages pass through to Django.
application = ASGIStaticFilesHandler(get_asgi_application())
