"""
The side of the real django-sesame in the differential test.

The first line of standard output says what this Django knows. Then each line
of standard input is a batch, settings and what is to be done under them, and
gets one line in return. All of it is JSON; see differential_test.go.
"""

import datetime
import hashlib
import inspect
import json
import sys
import time
import types
import uuid

import django
from django.conf import settings

sys.modules["people"] = people = types.ModuleType("people")
people.__path__ = ["people"]
sys.modules["people.packers"] = types.ModuleType("people.packers")

settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "people"],
    SECRET_KEY="another with each batch",
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
)
django.setup()

from django.contrib.auth.base_user import AbstractBaseUser  # noqa: E402
from django.core import signing  # noqa: E402
from django.core.exceptions import ImproperlyConfigured  # noqa: E402
from django.db import models  # noqa: E402
from sesame import packers, tokens, tokens_v1, tokens_v2  # noqa: E402
from sesame import settings as sesame_settings  # noqa: E402

# Where PACKER is None, django-sesame picks one from the field.
FIELDS = {
    "ShortPacker": models.SmallIntegerField,
    "UnsignedShortPacker": models.PositiveSmallIntegerField,
    "LongPacker": models.AutoField,
    "UnsignedLongPacker": models.PositiveIntegerField,
    "LongLongPacker": models.BigIntegerField,
    "UnsignedLongLongPacker": models.PositiveBigIntegerField,
    "UUIDPacker": models.UUIDField,
    "BytesPacker": models.BinaryField,
    "StrPacker": models.TextField,
}


def make_model(name, field):
    meta = type("Meta", (), {"app_label": "people"})
    return type(
        name + "Person",
        (AbstractBaseUser,),
        {
            "__module__": "people.models",
            "Meta": meta,
            "EMAIL_FIELD": "email",
            "USERNAME_FIELD": "email",
            "id": field(primary_key=True),
            "email": models.TextField(null=True),
        },
    )


MODELS = {name: make_model(name, field) for name, field in FIELDS.items()}


def hex_packer(digits):
    """The packer that django-sesame's documentation shows, of any length."""
    size = digits // 2

    class HexPacker(packers.BasePacker):
        @staticmethod
        def pack_pk(user_pk):
            return bytes.fromhex(user_pk)

        @staticmethod
        def unpack_pk(data):
            return data[:size].hex(), data[size:]

    return HexPacker


# What django-sesame logs, by what package token calls it.
REASONS = {
    "Bad token: doesn't match a supported format": "malformed",
    "Bad token: cannot decode token": "malformed",
    "Bad token: cannot extract primary key": "no_primary_key",
    "Bad token: cannot extract timestamp": "no_timestamp",
    "Bad token: cannot extract signature": "no_signature",
    "Expired token: age = %d seconds": "expired",
    "Unknown or inactive user: %s = %r": "unknown_user",
    "Invalid token for user %s %s": "bad_signature",
    "Expired token: %s": "expired",
    "Bad token: %s": "bad_signature",
    "Valid signature but unexpected token; if you enabled or disabled"
    " SESAME_MAX_AGE, you must regenerate tokens": "no_primary_key",
    "Valid signature but unexpected token; if you changed"
    " SESAME_PACKER, you must regenerate tokens": "no_primary_key",
    "Unknown or inactive user: %s": "unknown_user",
    "Invalid token: %s": "bad_signature",
    "v1 tokens don't support scope": "scope_unsupported",
    "v1 tokens don't support max_age": "max_age_unsupported",
}


class Recorder:
    """A logger that remembers the last message."""

    said = None

    def debug(self, message, *args):
        self.said = message

    exception = debug

    def warning(self, message, *args):
        pass


recorder = tokens.logger = tokens_v1.logger = tokens_v2.logger = Recorder()


class Clock:
    now = 0.0


time.time = lambda: Clock.now


applied = []  # the names of settings


def configure(given, packer):
    """Put the settings into effect, as django-sesame's reload() does."""
    while applied:
        delattr(settings, applied.pop())
    for name, value in given.items():
        applied.append(name)
        if name == "SESAME_DIGEST":
            value = getattr(hashlib, value)
        setattr(settings, name, value)
    own = given.get("SESAME_PACKER", "").rpartition(".")
    if own[0] == "people.packers":
        if packer.startswith("hex:"):
            cls = hex_packer(int(packer[4:]))
        else:
            cls = getattr(packers, packer)
        setattr(sys.modules[own[0]], own[2], cls)
    settings.AUTH_USER_MODEL = MODELS.get(packer, MODELS["LongPacker"])._meta.label
    sesame_settings.load()
    sesame_settings.check()
    packers.packer = packers.get_packer()
    tokens_v1.signer = tokens_v1.get_signer()
    tokens_v1.token_re = tokens_v1.get_token_re()


def read_key(key):
    ((kind, value),) = key.items()
    if kind == "uuid":
        return uuid.UUID(value)
    if kind == "hex":
        return bytes.fromhex(value)
    return value


def read_user(row):
    model = MODELS.get(settings.AUTH_USER_MODEL[len("people.") : -len("Person")])
    last_login = row["last_login"]
    if last_login is not None:
        last_login = datetime.datetime.fromisoformat(last_login)
        if getattr(settings, "USE_TZ", False):
            last_login = last_login.replace(tzinfo=datetime.timezone.utc)
    user = model(
        password=row["password"], email=row["email"], last_login=last_login
    )
    key = read_key(row["pk"])
    user.pk = key
    setattr(user, sesame_settings.PRIMARY_KEY_FIELD, key)
    return user


def create(user, scope, now):
    Clock.now = now
    try:
        return tokens.create_token(user, scope)
    except Exception:
        return None


def check(token, user, scope, now, max_age):
    """Return the key that was looked up, and why the token is refused."""
    Clock.now = now
    looked_up = None

    def get_user(pk):
        nonlocal looked_up
        looked_up = pk.hex() if type(pk) is bytes else str(pk)
        return user

    try:
        accepted = tokens.parse_token(token, get_user, scope, max_age)
    except NotImplementedError as error:
        return looked_up, REASONS[str(error)]
    except TypeError:  # None among the strings that are signed
        return looked_up, "incomplete_user"
    return looked_up, "" if accepted is not None else REASONS[recorder.said]


def answer(batch):
    try:
        configure(batch["settings"], batch["packer"])
    except ImproperlyConfigured:
        return {"refused": True}
    users = [read_user(row) for row in batch["users"]] + [None]
    creations, checks = batch["create"], batch["check"]
    return {
        "created": [
            create(users[at], scope, now)
            for at, scope, now in zip(
                creations["users"], creations["scopes"], creations["clocks"]
            )
        ],
        "checked": [
            check(token, users[at], scope, now, max_age)
            for token, at, scope, now, max_age in zip(
                checks["tokens"],
                checks["users"],
                checks["scopes"],
                checks["clocks"],
                checks["max_ages"],
            )
        ],
    }


knows_fallbacks = "fallback_keys" in inspect.signature(signing.Signer).parameters
print(
    json.dumps({"django": django.get_version(), "v1_fallbacks": knows_fallbacks}),
    flush=True,
)
for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
