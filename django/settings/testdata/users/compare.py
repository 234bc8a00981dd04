"""
Prints, for models of people, what the script of the first argument prints, and
which of the model's ROWS Django lets in. The script reads the settings of one
project, so they are changed from model to model.
"""

import contextlib
import io
import json
import os
import sys

import pymysql

pymysql.install_as_MySQLdb()
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"

import django

django.setup()

from django.apps import apps
from django.conf import settings
from django.contrib.auth import backends, load_backend
from django.db import connection, router
from django.db.utils import ConnectionRouter

PASSWORD = "md5$salt$0123456789abcdef0123456789abcdef"
STOCK = settings.AUTHENTICATION_BACKENDS


def create(model):
    """Make rows without the model's own managers, which may hide some."""
    keys = {}
    for name, values in model.ROWS.items():
        row = model(**{model.USERNAME_FIELD: name, "password": PASSWORD, **values})
        row.save_base(raw=False, force_insert=True)
        keys[name] = str(getattr(row, "pk"))
    return keys


def described(model, script):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(script, {})
    return printed.getvalue()


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        script = compile(file.read(), "script", "exec")
    with connection.cursor() as cursor:
        cursor.execute("SET default_storage_engine = MyISAM")  # makes tables far faster
    with connection.schema_editor() as editor:
        for model in apps.get_models():
            if not model._meta.proxy:
                editor.create_model(model)
    results = []
    for model in apps.get_app_config("people").get_models():
        if not hasattr(model, "ROWS"):
            continue
        settings.AUTH_USER_MODEL = model._meta.label
        backends.UserModel = model
        settings.AUTHENTICATION_BACKENDS = getattr(model, "BACKENDS", STOCK)
        router.routers = ConnectionRouter(getattr(model, "ROUTERS", [])).routers
        settings.USE_TZ = getattr(model, "USE_TZ", True)
        keys = create(model)
        result = {"model": model._meta.object_name, "keys": keys, "project": described(model, script), "allowed": []}
        for name, key in keys.items():
            try:
                users = [load_backend(path).get_user(key) for path in settings.AUTHENTICATION_BACKENDS]
                result["allowed"] += [name] if any(users) else []
            except Exception:
                pass  # a login fails, too
        results.append(result)
    print(json.dumps({"django": django.get_version(), "password": PASSWORD, "results": results}))


main()
