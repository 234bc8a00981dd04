"""A project that logs users in by all sorts of ways. Each secret begins with hush."""

import os

SECRET_KEY = "hush-key"
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "portal",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
ROOT_URLCONF = "portal.urls"
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = True
SERVER = {"ENGINE": "django.db.backends.mysql", "HOST": "db", "NAME": "app", "USER": "gateway", "PASSWORD": "hush-database"}
DATABASES = {"default": SERVER, "same": {**SERVER, "NAME": "sessions"}, "other": {**SERVER, "HOST": "elsewhere"}}
exec(os.environ["SETTINGS"])
