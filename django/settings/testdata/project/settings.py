import datetime
import hashlib
import os

SECRET_KEY = "django-insecure-$%5j&w#{tests}-only"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "crew"]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
AUTHENTICATION_BACKENDS = ["sesame.backends.ModelBackend"]
MIDDLEWARE = []
USE_TZ = True
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.mysql",
        "HOST": "127.0.0.1",
        "PORT": int(os.environ["DB_PORT"]),
        "NAME": os.environ["DB_NAME"],
        "USER": "django user",
        "PASSWORD": os.environ["DB_PASSWORD"],
    }
}
exec(os.environ.get("SETTINGS", ""))
