"""
The Django side of the interoperability test.

The first line of standard input has Django's settings. Every further line is
a command, {"do": name, ...}, and gets one line in return: a result, or
{"error": traceback}. All of it is JSON.
"""

import contextlib
import json
import os
import sys
import time
import traceback
import types
from unittest import mock

import pymysql

pymysql.install_as_MySQLdb()

COMMANDS = {}


def command(function):
    COMMANDS[function.__name__] = function
    return function


def user_model():
    from django.contrib.auth import get_user_model

    return get_user_model()


def find(username):
    """Read the row anew, as a request would."""
    return user_model().objects.get(username=username)


@command
def migrate():
    from django.core.management import call_command

    call_command("migrate", run_syncdb=True, verbosity=0)


@command
def create(username, email, password, hasher="default"):
    from django.contrib.auth.hashers import make_password
    from sesame import settings as sesame_settings

    user = user_model()(username=username, email=email)
    user.password = make_password(password, hasher=hasher)
    user.save()
    user = find(username)
    return {
        "key": str(getattr(user, sesame_settings.PRIMARY_KEY_FIELD)),
        "password": user.password,
    }


@command
def hashers():
    """The algorithms whose libraries are installed."""
    from django.contrib.auth.hashers import get_hashers, make_password

    usable = []
    for hasher in get_hashers():
        with contextlib.suppress(Exception):
            make_password("x", hasher=hasher)
            usable.append(hasher.algorithm)
    return {"hashers": usable}


@command
def set_password(username, password):
    user = find(username)
    user.set_password(password)  # None makes it unusable
    user.save()


@command
def set_fields(username, fields):
    user = find(username)
    for name, value in fields.items():
        setattr(user, name, value)
    user.save(update_fields=list(fields))


@command
def login_at_whole_second(username):
    from django.utils import timezone

    user = find(username)
    user.last_login = timezone.now().replace(microsecond=0)
    user.save(update_fields=["last_login"])


@command
def delete(username):
    find(username).delete()


@command
def login(username):
    from django.contrib import auth
    from django.contrib.sessions.backends.signed_cookies import SessionStore
    from django.http import HttpRequest

    request = HttpRequest()
    request.session = SessionStore()
    auth.login(
        request, find(username), backend="django.contrib.auth.backends.ModelBackend"
    )


@command
def since_last_login(username):
    from django.utils import timezone

    return {"seconds": (timezone.now() - find(username).last_login).total_seconds()}


@contextlib.contextmanager
def signing_with(secret_key):
    """Sign with another SECRET_KEY for a while."""
    from django.test import override_settings
    from sesame import tokens_v1

    with override_settings(SECRET_KEY=secret_key):
        tokens_v1.signer = tokens_v1.get_signer()
        yield
    tokens_v1.signer = tokens_v1.get_signer()


@command
def token(username, scope="", age=0, secret_key=None):
    from sesame.utils import get_token

    at = time.time() - age
    with contextlib.ExitStack() as stack:
        if secret_key is not None:
            stack.enter_context(signing_with(secret_key))
        stack.enter_context(mock.patch("time.time", lambda: at))
        return {"token": get_token(find(username), scope)}


@command
def get_user(token, scope=""):
    from sesame.utils import get_user

    user = get_user(token, scope)
    return {"user": None if user is None else user.get_username()}


def permission(name):
    from django.contrib.auth.models import Permission

    app_label, codename = name.split(".")
    return Permission.objects.get(content_type__app_label=app_label, codename=codename)


@command
def permit(username, groups, permissions, is_staff, is_superuser, is_active):
    """Give rights by Django's own API. groups has the permissions of each."""
    from django.contrib.auth.models import Group

    user = find(username)
    user.is_staff, user.is_superuser, user.is_active = is_staff, is_superuser, is_active
    user.save()
    user.groups.clear()
    for name, names in groups.items():
        group, _ = Group.objects.get_or_create(name=name)
        group.permissions.set([permission(name) for name in names or []])
        user.groups.add(group)
    user.user_permissions.set([permission(name) for name in permissions])


@command
def rights(username, permissions):
    user = find(username)
    return {
        "groups": sorted(group.name for group in user.groups.all()),
        "permissions": {name: user.has_perm(name) for name in permissions},
        "is_staff": user.is_staff,
        "is_superuser": user.is_superuser,
    }


def configure(given):
    # A settings module and not settings.configure(), which doesn't put
    # TIME_ZONE into effect for naive times.
    module = types.ModuleType("project_settings")
    module.INSTALLED_APPS = [
        "django.contrib.contenttypes",
        "django.contrib.auth",
        "people",
    ]
    module.AUTHENTICATION_BACKENDS = [
        "django.contrib.auth.backends.ModelBackend",
        "sesame.backends.ModelBackend",
    ]
    module.DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
    vars(module).update(given)
    sys.modules[module.__name__] = module
    os.environ["DJANGO_SETTINGS_MODULE"] = module.__name__
    import django

    django.setup()


def main():
    configure(json.loads(sys.stdin.readline()))
    for line in sys.stdin:
        arguments = json.loads(line)
        try:
            result = COMMANDS[arguments.pop("do")](**arguments) or {}
        except Exception:
            result = {"error": traceback.format_exc()}
        print(json.dumps(result), flush=True)


main()
