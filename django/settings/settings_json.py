"""
Prints what a gateway needs to know of a Django project, as JSON and without
any secret. Run it with the project's settings:

    python manage.py shell <settings_json.py >project.json
"""

import datetime
import json
import math
import os

import django
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist
from django.db import router

PREFIX = "SESAME_"
NAMES = """
    AUTHENTICATION_BACKENDS AUTH_USER_MODEL DATABASE_ROUTERS LOGIN_REDIRECT_URL
    MIDDLEWARE SESSION_COOKIE_AGE TIME_ZONE USE_TZ
""".split()


def plain(value):
    if isinstance(value, float) and not math.isfinite(value):
        return {"@other": repr(value)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): secret(item) if is_secret(key) else plain(item) for key, item in value.items()}
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if callable(value):
        return {"@callable": getattr(value, "__name__", type(value).__name__)}
    return {"@other": type(value).__name__}


def secret(value):
    """Tell the type of a secret, or that it is empty."""
    if isinstance(value, (list, tuple)):
        return [secret(item) for item in value]
    return {"@secret": "" if value == "" else type(value).__name__}


def is_secret(key):
    return str(key).lower() in ("password", "passwd", "secret_key", "secret_key_fallbacks", "sesame_key")


def behaviour(packer):
    """Tell what a packer makes of two samples."""
    results = []
    for data in (bytes([8, *range(65, 128)]), b"\xff" * 64):
        try:
            key, rest = packer.unpack_pk(data)
            results.append((type(key), key, rest, packer.pack_pk(key)))
        except Exception:
            results.append(None)
    return results


def packer_encoding():
    """Find the packer that does what SESAME_PACKER does, if that is the project's own."""
    if (getattr(settings, "SESAME_PACKER", None) or "sesame.packers.").startswith("sesame.packers."):
        return None
    from sesame import packers

    ours = behaviour(packers.packer)
    for name in packers.__all__:
        if name.endswith("Packer") and name != "BasePacker" and behaviour(getattr(packers, name)()) == ours:
            return name
    sample = ours[0]
    if sample is not None and sample[0] is str and sample[1] == sample[3].hex():
        return "hex:%d" % len(sample[1])
    return None


def project():
    names = NAMES + [name for name in dir(settings) if name.startswith(PREFIX) and name.isupper()]
    values = {name: plain(getattr(settings, name)) for name in names if hasattr(settings, name) and not is_secret(name)}
    for name in ("SECRET_KEY", "SECRET_KEY_FALLBACKS", "SESAME_KEY"):
        if hasattr(settings, name):
            values[name] = secret(getattr(settings, name))
    user = get_user_model()
    alias = router.db_for_read(user)
    values["DATABASES"] = {"default": plain(settings.DATABASES[alias])}

    def column(name):
        try:
            field = user._meta.pk if name == "pk" else user._meta.get_field(name)
        except FieldDoesNotExist:
            return None
        return {"column": field.column, "table": field.model._meta.db_table, "type": field.get_internal_type()}

    return {
        "django_project": 1,
        "django": django.get_version(),
        "settings": values,
        "packer_encoding": packer_encoding(),
        "user": {
            "table": user._meta.db_table,
            "manager": type(user._default_manager).__name__,
            "columns": {
                "primary_key": column(getattr(settings, "SESAME_PRIMARY_KEY_FIELD", "pk")),
                "password": column("password"),
                "last_login": column("last_login"),
                "is_active": column("is_active"),
                "email": column(user.get_email_field_name()),
                "username": column(user.USERNAME_FIELD),
            },
        },
    }


print(json.dumps(project(), sort_keys=True))
