"""What runserver serves: Django, with the lifespan in a background thread."""

import os

from lifespan_app.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

application = get_wsgi_application()
