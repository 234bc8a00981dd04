"""
Prints what a gateway needs to know of a Django project, as JSON and without
any secret. Run it with the project's settings:

    python manage.py shell <settings_json.py >project.json

It changes nothing. It sends no query of its own, and stops those that the
project's code would send.
"""

import configparser
import datetime
import math
import os

from django.conf import settings
from django.db import router

# Only these are printed. Other settings may hold secrets.
SETTINGS = """
    AUTHENTICATION_BACKENDS AUTH_USER_MODEL DATABASE_ROUTERS LOGIN_REDIRECT_URL
    MIDDLEWARE SESSION_COOKIE_AGE SESSION_COOKIE_DOMAIN SESSION_COOKIE_NAME
    SESSION_COOKIE_PATH SESSION_COOKIE_SAMESITE SESSION_COOKIE_SECURE
    SESSION_EXPIRE_AT_BROWSER_CLOSE SESSION_SAVE_EVERY_REQUEST TIME_ZONE USE_TZ
    SESAME_DIGEST
    SESAME_INVALIDATE_ON_EMAIL_CHANGE SESAME_INVALIDATE_ON_PASSWORD_CHANGE
    SESAME_ITERATIONS SESAME_MAX_AGE SESAME_ONE_TIME SESAME_PACKER
    SESAME_PRIMARY_KEY_FIELD SESAME_SALT SESAME_SIGNATURE_SIZE SESAME_TOKENS
    SESAME_TOKEN_NAME
""".split()
SECRETS = "SECRET_KEY SECRET_KEY_FALLBACKS SESAME_KEY".split()
DATABASE = "ENGINE NAME USER PASSWORD HOST PORT TIME_ZONE OPTIONS".split()
OPTIONS = """
    user host port db database passwd password unix_socket read_default_file
    read_default_group ssl ssl_mode ssl_ca ssl_capath ssl_cert ssl_key
    ssl_disabled ssl_verify_cert ssl_verify_identity
""".split()
IN_SETTINGS = {"database": "NAME", "unix_socket": "HOST"}
TLS = "ca capath cert key check_hostname".split()
# Their values are never printed, only whether they are set.
HIDDEN = "password passwd passphrase ssl_key_password ssl_passphrase".split()


def plain(value):
    if isinstance(value, float) and not math.isfinite(value):
        return {"@other": repr(value)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
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


def only(names, values):
    """Keep the items of a dict with these names, and tell which secrets there are."""
    kept = {}
    for name, value in values.items():
        if str(name).lower() in HIDDEN:
            kept[name] = secret(value)
        elif name in names:
            kept[name] = only(TLS, value) if isinstance(value, dict) else plain(value)
    return kept


def database(alias):
    """Describe a database as the settings and its option file do."""
    described = settings.DATABASES[alias]
    options = described.get("OPTIONS") or {}
    kept = only(DATABASE, {**described, "OPTIONS": None})
    # What the settings say counts for more than what the file says.
    kept["OPTIONS"] = {
        name: value
        for name, value in {**option_file(options), **only(OPTIONS, options)}.items()
        if name in options or not kept.get(IN_SETTINGS.get(name, name.upper()))
    }
    return {"alias": alias, "settings": kept}


def option_file(options):
    """Read what MySQL's client reads from the file of read_default_file."""
    if not options.get("read_default_file"):
        return {}
    file = configparser.RawConfigParser(allow_no_value=True, strict=False)
    try:
        with open(os.path.expanduser(options["read_default_file"]), encoding="utf-8") as lines:
            file.read_file(line for line in lines if not line.startswith("!"))
    except (OSError, ValueError, configparser.Error):
        return {}
    found = {}
    for group in ("client", options.get("read_default_group")):
        if group and file.has_section(group):
            found.update((name.replace("-", "_"), (value or "").strip("'\"")) for name, value in file.items(group))
    names = {"socket": "unix_socket", **{name: name for name in OPTIONS}}
    found = {names[name]: value for name, value in found.items() if name in names and value}
    return {**only(OPTIONS, found), "read_default_file_read": True}


def databases(user, asked):
    """Tell which database Django writes users to, and which it reads them from."""
    write = router.db_for_write(user)
    # A router may choose among replicas by chance.
    reads = {router.db_for_read(user) for _ in range(50)} | ({asked.using} if asked else set())
    return {"write": database(write), "reads": [database(alias) for alias in sorted(reads - {write})]}


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
