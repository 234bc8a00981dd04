import os

SECRET_KEY = "django-insecure-of-the-tests"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "crew"]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
AUTH_USER_MODEL = "crew.Person"
AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
DATABASE_ROUTERS = ["crew.routers.Router"]
USE_TZ = True

SERVER = {
    "ENGINE": "django.db.backends.mysql",
    "NAME": "intranet",
    "USER": "django",
    "PASSWORD": os.environ["DB_PASSWORD"],
    "HOST": "127.0.0.1",
    "OPTIONS": {"ssl": {"ca": os.environ["DB_CA"]}},
}
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"},
    "people": {**SERVER, "PORT": os.environ["DB_PORT"]},
    "people_replica": {**SERVER, "PORT": os.environ["DB_REPLICA_PORT"]},
}
