"""The ASGI application: Django with a lifespan, and its static files."""

import os

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler

from lifespan_app.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

# It handles only HTTP requests for static files, and passes lifespan messages to Django.
application = ASGIStaticFilesHandler(get_asgi_application())
