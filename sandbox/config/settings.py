"""Settings of the sandbox. The README lists the environment variables that it reads."""

from pathlib import Path

import environ

SANDBOX = Path(__file__).resolve().parent.parent

env = environ.Env()

DEBUG = env.bool("DEBUG", default=True)
SECRET_KEY = env.str("SECRET_KEY", default="for the sandbox only: never use it elsewhere")

# The address of the sandbox. A process can't ask its server for it, so `make demo` sets both.
HOST = env.str("HOST", default="127.0.0.1")
PORT = env.int("PORT", default=8000)
HOST_NAME = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "::1": "[::1]"}.get(HOST, HOST)
SITE_URL = f"http://{HOST_NAME}:{PORT}/"

ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["127.0.0.1", "[::1]", "localhost", HOST_NAME])

INSTALLED_APPS = [
    "lifespan_app",
    "catalogue",
    "library",
    "search",
    "notices",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
]

LIFESPAN = {
    # Streams of notices end before the server waits for open connections.
    "SHUTDOWN_NOTICE": True,
    "HOOKS": {"notices.notice_board": {"enabled": env.bool("NOTICES", default=True)}},
    # The first page is as quick as the others.
    "WARM_UP": True,
    # The default under runserver. daphne has no lifespan either.
    "WITHOUT_SERVER_LIFESPAN": "thread",
}

# By default the sandbox requests itself, so it needs no network.
CATALOGUE_URL = env.str("CATALOGUE_URL", default=f"{SITE_URL}catalogue/")

REFRESH_SECONDS = env.float("REFRESH_SECONDS", default=300.0)

# By default no service listens here: the `notices` hook fails, and the process serves without it.
NOTICES_URL = env.str("NOTICES_URL", default="http://127.0.0.1:9/notices.txt")

DATABASES = {"default": env.db("DATABASE_URL", default=f"sqlite:///{SANDBOX / 'db.sqlite3'}")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
WSGI_APPLICATION = "config.wsgi.application"

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [SANDBOX / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

STATIC_URL = "static/"
STATICFILES_DIRS = [SANDBOX / "static"]

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{levelname:<8} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "INFO"},
    "loggers": {
        # Otherwise Django's own handlers print each of its lines again.
        "django": {"handlers": [], "level": "INFO"},
        "httpx": {"level": "WARNING"},
    },
}
