"""
Makes explain.json: tokens of the real django-sesame under settings that differ
from those "here", or of users who have changed since, with the causes that
Explain has to name.

    PYTHONPATH=/path/to/django-sesame/src python3 explain.py >explain.json

The output is the same each time.
"""

import copy
import datetime
import hashlib
import json
import random
import sys
import types
import uuid
from unittest import mock

import django
from django.conf import settings

BASE = {
    "SECRET_KEY": "a secret of Django's, for tests only",
    "SESAME_ITERATIONS": 100,
}

settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"], **BASE
)
django.setup()

from django.core import signing  # noqa: E402
from django.test import override_settings  # noqa: E402
from sesame import packers, tokens, tokens_v1  # noqa: E402



class HexPacker(packers.BasePacker):
    """The packer that django-sesame's documentation shows."""

    def pack_pk(self, user_pk):
        return bytes.fromhex(user_pk)

    def unpack_pk(self, data):
        return data[:12].hex(), data[12:]


sys.modules["app"] = app = types.ModuleType("app")
app.Packer = HexPacker

NOW = 1714979289  # 2024-05-06T07:08:09Z
PASSWORD = "pbkdf2_sha256$1$salt$6kJAJyOLkPyzBLvWd0n4EsuTnQBkiF6bmYqDa1cZtbM="
OTHER_PASSWORD = "pbkdf2_sha256$1$salt$Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyYmE="
UUID = "6f1c1f0e-6f0b-4f6f-8a51-0a5a6f1c1f0e"

USER = {
    "pk": {"int": 42},
    "password": PASSWORD,
    "email": "alice@example.com",
    "last_login": "2024-05-01T10:20:30.123456",
}

V1 = {"SESAME_TOKENS": ["sesame.tokens_v1"]}
V1_AND_V2 = {"SESAME_TOKENS": ["sesame.tokens_v1", "sesame.tokens_v2"]}
AGE = {"SESAME_MAX_AGE": 600}
ONE_TIME = {"SESAME_ONE_TIME": True}


def key_of(pk):
    (kind, value), = pk.items()
    if kind == "uuid":
        return uuid.UUID(value)
    if kind == "hex":
        return bytes.fromhex(value)
    return value


def create(there, user, scope, created):
    """Make a token as django-sesame does with these settings."""
    there = dict(BASE, **there)
    packer = there.pop("packer", None)  # what the type of the field says
    use_tz = there.get("USE_TZ", True)
    release = there.pop("release", None)  # an older one
    if "SESAME_DIGEST" in there:
        there["SESAME_DIGEST"] = getattr(hashlib, there["SESAME_DIGEST"])
    last_login = user["last_login"]
    if last_login is not None:
        last_login = datetime.datetime.fromisoformat(last_login)
        if use_tz:
            last_login = last_login.replace(tzinfo=datetime.timezone.utc)
    who = types.SimpleNamespace(
        password=user["password"],
        email=user["email"],
        last_login=last_login,
        get_email_field_name=lambda: "email",
        username="alice",
    )
    who.pk = who.id = who.uuid = who.number = key_of(user["pk"])
    field = there.get("SESAME_PRIMARY_KEY_FIELD", "pk")
    if field not in ("pk", "id", "uuid", "number", "username"):
        raise ValueError(field)
    with override_settings(), mock.patch("time.time", lambda: created):
        # The field of the user model here has no part in this.
        deferred = there.pop("SESAME_PRIMARY_KEY_FIELD", "pk")
        with override_settings(**there):
            from sesame import settings as sesame_settings

            sesame_settings.PRIMARY_KEY_FIELD = deferred
            sesame_settings.SIGNING_KEY = sesame_settings.derive_key(
                settings.SECRET_KEY, sesame_settings.KEY
            )
            tokens_v1.signer = tokens_v1.get_signer()
            if release == "3.0":
                # "|".join([secret_key, key, max_age, packer]), without a field
                parts = [settings.SECRET_KEY, sesame_settings.KEY, "", ""]
                sesame_settings.SIGNING_KEY = hashlib.blake2b(
                    "|".join(parts).encode(), person=b"sesame.settings"
                ).digest()
            if release == "2.0":
                tokens_v1.signer = signing.Signer(salt="sesame", algorithm="sha256")
            if there.get("SESAME_PACKER") is None:
                packers.packer = getattr(packers, packer or "LongPacker")()
            made = tokens.create_token(who, scope)
            sesame_settings.PRIMARY_KEY_FIELD = "pk"
    return made


CASES = []


def case(name, there=None, here=None, **given):
    """
    A token made with settings there, and checked with settings here.

    certain, likely and possible are the causes to be named. Those that are
    certain must be exactly these; of the others, there may be more.
    """
    user = dict(USER, **given.pop("user", {}))
    now = given.pop("user_now", {})
    made = create(there or {}, user, given.get("scope", ""), given.get("created", NOW))
    edit = given.pop("edit", lambda token: token)
    c = {
        "name": name,
        "here": dict(BASE, **(here or {})),
        "token": edit(made),
        "made": made,
        "now": given.pop("now", given.pop("created", NOW)),
        "expected_scope": given.pop("expected_scope", ""),
        "user": None if now is None else dict(user, **now),
        "candidates": given.pop("candidates", {}),
        "verdict": given.pop("verdict"),
        "certain": sorted(given.pop("certain", [])),
        "likely": sorted(given.pop("likely", [])),
        "possible": sorted(given.pop("possible", [])),
    }
    given.pop("scope", None)
    assert not given, given
    CASES.append(c)


def settings_cases():
    """Settings that differ, one by one."""
    bad, nosig = "bad_signature", "no_signature"
    case("valid", verdict="valid")
    case("valid, with an age", AGE, AGE, verdict="valid")
    case("valid, v1", V1, verdict="valid")
    case("valid by a fallback key", {"SECRET_KEY": "former"}, {"SECRET_KEY_FALLBACKS": ["older", "former"]}, verdict="valid", certain=["secret_key_fallback"])
    case("v1, valid by a fallback key", dict(V1, SECRET_KEY="former"), {"SECRET_KEY_FALLBACKS": ["former"]}, verdict="valid", certain=["secret_key_fallback"])
    case("from the future", AGE, AGE, created=NOW + 3600, now=NOW, verdict="valid", certain=["from_future"])
    case("expired", AGE, AGE, created=NOW - 1000, now=NOW, verdict="expired", certain=["expired"])
    case("v1, expired", dict(V1, **AGE), AGE, created=NOW - 1000, now=NOW, verdict="expired", certain=["expired"])
    case("expired, and for another scope", AGE, AGE, scope="x", candidates={"scopes": ["x"]}, created=NOW - 1000, now=NOW, verdict="expired", certain=["expired", "other_scope"])
    case("expired, and by another key", dict(AGE, SECRET_KEY="the former one"), AGE, created=NOW - 1000, now=NOW, verdict="expired", certain=["expired"], possible=["other_secret_key"])
    case("no such user", user_now=None, verdict="unknown_user", certain=["unknown_user"])
    case("v1, no such user", V1, user_now=None, verdict="unknown_user", certain=["unknown_user"])
    case("inactive", user_now={"inactive": True}, verdict="inactive_user", certain=["inactive_user"])
    case("v1, inactive", V1, user_now={"inactive": True}, verdict="inactive_user", certain=["inactive_user"])
    case("inactive, and expired", AGE, AGE, user_now={"inactive": True}, created=NOW - 1000, now=NOW, verdict="expired", certain=["expired", "inactive_user"])
    case("no e-mail address", {"SESAME_INVALIDATE_ON_EMAIL_CHANGE": True}, {"SESAME_INVALIDATE_ON_EMAIL_CHANGE": True}, user_now={"email": None}, verdict="incomplete_user", certain=["incomplete_user"])
    case("a scope where none is expected", scope="report:7", candidates={"scopes": ["report:7"]}, verdict=bad, certain=["other_scope"])
    case("the default scope where another is expected", expected_scope="report:7", verdict=bad, certain=["other_scope"])
    case("another scope", scope="report:8", expected_scope="report:7", candidates={"scopes": ["report:6", "report:8"]}, verdict=bad, certain=["other_scope"])
    case("an unknown scope", scope="report:8", verdict=bad, possible=["other_scope"])
    case("an age here", here=AGE, verdict=nosig, certain=["other_max_age"])
    case("an age there", AGE, verdict=nosig, certain=["other_max_age"])
    case("an age here, of a user who is gone", here=AGE, user_now=None, verdict=nosig, likely=["other_max_age"])
    case("an age there, of a user who is gone", AGE, user_now=None, verdict=nosig, likely=["other_max_age"])
    case("v1, an age here", V1, AGE, verdict="malformed", certain=["other_max_age"])
    case("v1, an age there", dict(V1, **AGE), verdict="malformed", certain=["other_max_age"])
    case("a key there", {"SESAME_KEY": "k"}, verdict=bad, possible=["other_key"])
    case("a key there that was named", {"SESAME_KEY": "k"}, candidates={"keys": ["k"]}, verdict=bad, certain=["other_key"])
    case("a key here", here={"SESAME_KEY": "k"}, verdict=bad, certain=["other_key"])
    case("another secret", {"SECRET_KEY": "the former one"}, verdict=bad, possible=["other_secret_key"])
    case("another secret that was named", {"SECRET_KEY": "the former one"}, candidates={"secret_keys": ["the former one"]}, verdict=bad, certain=["other_secret_key"])
    case("v1, another secret", dict(V1, SECRET_KEY="the former one"), verdict=bad, certain=["other_secret_key"])
    case("v1, another secret, and password", dict(V1, SECRET_KEY="the former one"), user_now={"password": OTHER_PASSWORD}, verdict=bad, possible=["other_secret_key", "password_changed"])
    case("quotes around the secret", here={"SECRET_KEY": '"' + BASE["SECRET_KEY"] + '"'}, verdict=bad, certain=["other_secret_key"])
    case("a line feed behind the secret", here={"SECRET_KEY": BASE["SECRET_KEY"] + "\n"}, verdict=bad, certain=["other_secret_key"])
    case("a secret of ASCII bytes", {"SECRET_KEY": b"se'cret\\\t"}, {"SECRET_KEY": "se'cret\\\t"}, verdict=bad, certain=["other_secret_key"])
    case("one-time there", ONE_TIME, verdict=bad, certain=["other_one_time"])
    case("one-time here, made after the login", AGE, dict(AGE, **ONE_TIME), verdict=bad, certain=["other_one_time"])
    case("one-time here", here=ONE_TIME, verdict=bad, likely=["used"], possible=["other_one_time"])
    case("used", ONE_TIME, ONE_TIME, user={"last_login": None}, user_now={"last_login": "2024-05-06T07:00:00"}, verdict=bad, likely=["used"], possible=["other_one_time"])
    case("used, after an earlier login", ONE_TIME, ONE_TIME, user_now={"last_login": "2024-05-06T07:08:15"}, verdict=bad, possible=["used", "password_changed"])
    case("used, with an age", dict(AGE, **ONE_TIME), dict(AGE, **ONE_TIME), user_now={"last_login": "2024-05-06T07:08:15"}, now=NOW + 10, verdict=bad, likely=["used"], possible=["password_changed"])
    case("password changed, the login before", dict(AGE, **ONE_TIME), dict(AGE, **ONE_TIME), user_now={"password": OTHER_PASSWORD}, verdict=bad, possible=["password_changed"])
    case("v1, used", dict(V1, **ONE_TIME), ONE_TIME, user={"last_login": None}, user_now={"last_login": "2024-05-06T07:00:00"}, verdict=bad, certain=["used"])
    case("v1, one-time here", V1, ONE_TIME, verdict=bad, certain=["other_one_time"])
    case("v1, one-time here, before any login", V1, ONE_TIME, user={"last_login": None}, verdict=bad, certain=["other_one_time"])
    case("v1, one-time there", dict(V1, **ONE_TIME), verdict=bad, certain=["other_one_time"])
    case("v1, one-time there, before any login", dict(V1, **ONE_TIME), user={"last_login": None}, verdict=bad, certain=["other_one_time"])
    case("naive there", dict(ONE_TIME, USE_TZ=False), ONE_TIME, verdict=bad, certain=["other_use_tz"])
    case("naive here", ONE_TIME, dict(ONE_TIME, USE_TZ=False), verdict=bad, certain=["other_use_tz"])
    case("v1, naive there", dict(V1, USE_TZ=False, **ONE_TIME), ONE_TIME, verdict=bad, certain=["other_use_tz"])
    no_password = {"SESAME_INVALIDATE_ON_PASSWORD_CHANGE": False, **AGE}
    case("without the password there", no_password, AGE, verdict=bad, certain=["other_invalidate_on_password_change"])
    case("without the password here", AGE, no_password, verdict=bad, certain=["other_invalidate_on_password_change"])
    case("v1, without the password there", dict(V1, **no_password), AGE, verdict=bad, certain=["other_invalidate_on_password_change"])
    email = {"SESAME_INVALIDATE_ON_EMAIL_CHANGE": True}
    case("with the e-mail there", email, verdict=bad, certain=["other_invalidate_on_email_change"])
    case("with the e-mail here", here=email, verdict=bad, certain=["other_invalidate_on_email_change"])
    case("v1, with the e-mail here", V1, email, verdict=bad, certain=["other_invalidate_on_email_change"])
    case("another password", user_now={"password": OTHER_PASSWORD}, verdict=bad, possible=["password_changed"])
    case("v1, another password", V1, user_now={"password": OTHER_PASSWORD}, verdict=bad, likely=["password_changed"])
    case("another e-mail", email, email, user_now={"email": "bob@example.com"}, verdict=bad, possible=["email_changed", "password_changed"])
    case("id there", {"SESAME_PRIMARY_KEY_FIELD": "id"}, verdict=bad, certain=["other_primary_key_field"])
    case("id here", here={"SESAME_PRIMARY_KEY_FIELD": "id"}, verdict=bad, certain=["other_primary_key_field"])
    case("a field that was named", {"SESAME_PRIMARY_KEY_FIELD": "number"}, candidates={"fields": ["number"]}, verdict=bad, certain=["other_primary_key_field"])
    case("the user name, of a user who was named", {"SESAME_PRIMARY_KEY_FIELD": "username", "packer": "StrPacker"}, candidates={"user": {"int": 42}}, verdict="no_signature", certain=["other_primary_key_field", "other_packer"])
    case("a UUID there", {"packer": "UUIDPacker"}, user={"pk": {"uuid": UUID}}, user_now={"pk": {"int": 42}}, verdict=nosig, likely=["other_packer"])
    case("a UUID there, with an age", dict(AGE, packer="UUIDPacker"), AGE, user={"pk": {"uuid": UUID}}, user_now={"pk": {"int": 42}}, verdict=nosig, likely=["other_packer"])
    for size in (1, 2, 4, 9, 11, 14, 16, 32, 64):
        kind = "certain" if size > 3 else "likely"
        case(f"a signature of {size} bytes there", {"SESAME_SIGNATURE_SIZE": size}, verdict=nosig, **{kind: ["other_signature_size"]})
        case(f"a signature of {size} bytes here", here={"SESAME_SIGNATURE_SIZE": size}, verdict=nosig, certain=["other_signature_size"])
    for name in (
        "ShortPacker UnsignedShortPacker LongPacker IntPacker UnsignedLongPacker UnsignedIntPacker"
        " LongLongPacker UnsignedLongLongPacker"
    ).split():
        path = "sesame.packers." + name
        sized = 4 if name in ("LongPacker", "IntPacker", "UnsignedLongPacker", "UnsignedIntPacker") else 0
        case(f"{name} there, by its path", {"SESAME_PACKER": path}, verdict=bad if sized else nosig, certain=["other_packer"])
        case(f"{name} here, by its path", here={"SESAME_PACKER": path}, verdict=bad if sized else nosig, certain=["other_packer"])
        if "Int" not in name and not sized:
            case(f"{name} there, by the field", {"packer": name}, verdict=nosig, certain=["other_packer"])
            case(f"{name} there, by the field, with an age", dict(AGE, packer=name), AGE, verdict="expired" if name.startswith("x") else nosig, certain=["other_packer"])
    case("LongLongPacker there, and an age here", {"packer": "LongLongPacker"}, AGE, verdict="expired", certain=["other_packer", "other_max_age"])
    case("v1, LongLongPacker there", dict(V1, packer="LongLongPacker"), verdict="unknown_user", certain=["other_packer"])
    case("v1, ShortPacker there, and sha1", dict(V1, packer="ShortPacker", SESAME_DIGEST="sha1"), verdict="unknown_user", certain=["other_packer", "other_digest"])
    for digest in ("sha1", "sha256", "sha512"):
        case(f"v1, {digest} there", dict(V1, SESAME_DIGEST=digest), verdict=bad, certain=["other_digest"])
        case(f"v1, {digest} here", V1, {"SESAME_DIGEST": digest}, verdict=bad, certain=["other_digest"])
    case("v1, other iterations here", dict(V1, SESAME_ITERATIONS=10000), verdict=bad, certain=["other_iterations"])
    case("v1, iterations that were named", dict(V1, SESAME_ITERATIONS=7), candidates={"iterations": [7]}, verdict=bad, certain=["other_iterations"])
    case("v1, a salt there", dict(V1, SESAME_SALT="pepper"), verdict=bad, possible=["other_salt", "other_secret_key"])
    case("v1, a salt that was named", dict(V1, SESAME_SALT="pepper"), candidates={"salts": ["pepper"]}, verdict=bad, certain=["other_salt"])
    case("v1, a salt here", V1, {"SESAME_SALT": "pepper"}, verdict=bad, certain=["other_salt"])
    case("v1 where only v2 is accepted", V1, {"SESAME_TOKENS": ["sesame.tokens_v2"]}, verdict="malformed", certain=["version_not_accepted"])
    case("v2 where only v1 is accepted", here=V1, verdict="malformed", certain=["version_not_accepted"])
    case("v2 where only v1 is accepted, and a scope", here=V1, scope="x", candidates={"scopes": ["x"]}, verdict="malformed", certain=["version_not_accepted", "other_scope"])
    case("an older release", {"release": "3.0"}, verdict=bad, certain=["other_release"])
    case("v1 of an older release", dict(V1, release="2.0"), verdict="malformed", certain=["other_release"])
    case("v1, no password", V1, user_now={"password": None}, verdict="incomplete_user", certain=["incomplete_user"])
    case(
        "a packer of the operator's own", {"SESAME_PACKER": "app.Packer"}, user={"pk": {"str": "0123456789abcdef01234567"}},
        user_now={"pk": {"int": 42}}, candidates={"packers": {"app.Packer": "hex:24"}, "user": {"int": 42}},
        verdict=nosig, certain=["other_packer", "other_user"],
    )
    case(
        "a key that is a text, of nobody", {"packer": "StrPacker", "SESAME_PACKER": None}, {"SESAME_PACKER": "sesame.packers.StrPacker"},
        user={"pk": {"str": "\u001b[31mbob"}}, user_now=None, verdict="unknown_user", certain=["unknown_user"],
    )
    case("v1 where a scope is expected", V1, expected_scope="x", verdict="scope_unsupported", certain=["scope_unsupported"])


def text_cases():
    """What happens to a token on its way."""
    bad, malformed, nosig = "bad_signature", "malformed", "no_signature"

    def both(name, edit, verdict=malformed, v1_verdict=malformed, v1=True, **given):
        case(name, edit=edit, verdict=verdict, **given)
        case(name + ", with an age", AGE, AGE, edit=edit, verdict=verdict, **given)
        if v1:
            case("v1, " + name, V1, edit=edit, verdict=v1_verdict, **given)

    case("cut short by 3", edit=lambda t: t[:-3], verdict=nosig, certain=["cut_short"])
    case("cut short by 7", edit=lambda t: t[:-7], verdict=nosig, certain=["cut_short"])
    case("cut short by 11", edit=lambda t: t[:-11], verdict=nosig, likely=["cut_short"])
    case("cut short to a length of none", edit=lambda t: t[:-2], verdict=malformed, certain=["cut_short"])
    case("cut short to 5 characters", edit=lambda t: t[:5], verdict=malformed, likely=["cut_short"])
    case("cut short to 3 characters", edit=lambda t: t[:3], verdict=malformed, likely=["cut_short"])
    case("cut short, with an age", AGE, AGE, edit=lambda t: t[:-4], verdict=nosig, certain=["cut_short"])
    case("cut short, and expired", AGE, AGE, edit=lambda t: t[:-4], created=NOW - 1000, now=NOW, verdict=nosig, certain=["cut_short", "expired"])
    case("v1, cut short by 1", V1, edit=lambda t: t[:-1], verdict=malformed, certain=["cut_short"])
    case("v1, cut short by 15", V1, edit=lambda t: t[:-15], verdict=malformed, certain=["cut_short"])
    case("v1, cut short at the colon", V1, edit=lambda t: t.split(":")[0], verdict=nosig, certain=["cut_short"])
    case("v1, cut short behind the colon", V1, edit=lambda t: t.split(":")[0] + ":", verdict=malformed, certain=["cut_short"])
    case("v1, cut short at the second colon", dict(V1, **AGE), AGE, edit=lambda t: t[: t.rindex(":")], verdict=malformed, certain=["cut_short"])
    case("cut at the start by 1", edit=lambda t: t[1:], verdict=nosig, certain=["cut_start"])
    case("cut at the start by 2", edit=lambda t: t[2:], verdict=malformed, certain=["cut_start"])
    both("a full stop", lambda t: t + ".", certain=["trailing_characters"])
    both("a bracket", lambda t: t + ">", certain=["trailing_characters"])
    both("a bracket and a comma", lambda t: t + "),", certain=["trailing_characters"])
    both("a slash", lambda t: t + "/", certain=["trailing_characters"])
    both("quotes", lambda t: '"' + t + '"', certain=["leading_characters", "trailing_characters"])
    both("a space behind", lambda t: t + " ", certain=["whitespace"])
    both("a line feed behind", lambda t: t + "\n", certain=["whitespace"])
    both("a line break inside", lambda t: t[:9] + "\r\n" + t[9:], certain=["whitespace"])
    both("a soft hyphen", lambda t: t[:9] + "\u00ad" + t[9:], certain=["whitespace"])
    both("a zero-width space", lambda t: "\u200b" + t, certain=["whitespace"])
    both("words around it", lambda t: "Your link: " + t + " best regards", certain=["whitespace"])
    both("a soft line break of a mail", lambda t: t[:9] + "=\n" + t[9:], certain=["quoted_printable"])
    both("a quoted mail", lambda t: t[:9] + "\n> " + t[9:], certain=["whitespace"])
    both("padding", lambda t: t + "==", certain=["padding"])
    both("encoded padding", lambda t: t + "%3D", certain=["percent_encoded", "padding"])
    both("encoded twice", lambda t: "%2541" + t[1:], certain=["percent_encoded"])
    both("a URL", lambda t: "https://app.example.com/a?b=1&sesame=" + t, certain=["url"])
    both("a URL with another name", lambda t: "https://app.example.com/?page=2&login_token=" + t + "#top", certain=["url", "other_parameter"])
    both("a URL in HTML", lambda t: "https://app.example.com/?a=1&amp;sesame=" + t + "&amp;c=2", certain=["url", "html_escaped"])
    both("a URL with the token in its path", lambda t: "https://app.example.com/login/" + t, certain=["url", "other_parameter"])
    both("a query", lambda t: "?sesame=" + t, certain=["url"])
    both("a parameter", lambda t: "sesame=" + t, certain=["url"])
    both("a URL of a mail", lambda t: "https://app.example.com/?sesame=3D" + t, certain=["url", "quoted_printable"])
    both("a URL and a full stop", lambda t: "<https://app.example.com/?sesame=" + t + ">.", certain=["url", "trailing_characters"])
    both("spaces around a URL", lambda t: " https://app.example.com/?sesame=" + t + "\n", certain=["url"])
    case("the rest of quoted-printable", edit=lambda t: "3D" + t, verdict=malformed, certain=["quoted_printable"])
    case("the rest of quoted-printable, with an age", AGE, AGE, edit=lambda t: "3D" + t, verdict=nosig, certain=["quoted_printable"])
    case("letters behind", edit=lambda t: t + "and", verdict=nosig, certain=["trailing_characters"])
    case("a letter behind", AGE, AGE, edit=lambda t: t + "a", verdict=malformed, certain=["trailing_characters"])
    case("letters behind, with an age", AGE, AGE, edit=lambda t: t + "abcde", verdict=malformed, certain=["trailing_characters"])
    case("v1, letters behind", V1, edit=lambda t: t + "and", verdict=malformed, certain=["trailing_characters"])
    case("lower case", edit=str.lower, verdict="unknown_user", likely=["case_changed"])
    case("upper case, with an age", AGE, AGE, edit=str.upper, verdict="unknown_user", likely=["case_changed"])
    case("nothing", edit=lambda t: "", verdict=malformed, certain=["empty"])
    case("full stop, and for another scope", scope="x", candidates={"scopes": ["x"]}, edit=lambda t: t + ".", verdict=malformed, certain=["trailing_characters", "other_scope"])
    with_dash = next(at for at in range(NOW, NOW + 999) if create(AGE, USER, "", at).count("-") == 1)
    with_both = next(at for at in range(NOW, NOW + 999) if {"-", "_"} < set(create(AGE, USER, "", at)))
    with_two = next(at for at in range(NOW, NOW + 9999) if "--" in create(AGE, USER, "", at))
    case("a dash", AGE, AGE, created=with_dash, edit=lambda t: t.replace("-", "\u2013"), verdict=malformed, certain=["typographic_dash"])
    case("a long dash", AGE, AGE, created=with_two, edit=lambda t: t.replace("--", "\u2014"), verdict=malformed, certain=["typographic_dash"])
    case("standard base64", AGE, AGE, created=with_both, edit=lambda t: t.replace("-", "+").replace("_", "/"), verdict=malformed, certain=["standard_base64"])
    both("a parameter of another name", lambda t: "token=" + t, certain=["url", "other_parameter"])
    both("another parameter behind it", lambda t: t + "&next=/home", certain=["appended_parameters"])
    both("a header field", lambda t: "Authorization: Bearer " + t, certain=["header_field"])
    both("Markdown", lambda t: "[log in](https://app.example.com/?sesame=" + t + ")", certain=["url", "trailing_characters"])
    both("twice", lambda t: t + t, verdict="*", v1_verdict="*", v1=False, certain=["trailing_characters"])
    case("a JWT", edit=lambda t: "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", verdict=malformed, certain=["not_a_token"])
    case("of another secret, with words around it", {"SECRET_KEY": "the former one"}, edit=lambda t: "Authorization: Bearer " + t, verdict=malformed, certain=["header_field"], possible=["other_secret_key"])
    case("another number in the scope", scope="report:8", expected_scope="report:7", verdict=bad, certain=["other_scope"])
    case("a slash behind the scope", scope="/reports/", expected_scope="/reports", verdict=bad, certain=["other_scope"])
    case("another user's key", AGE, AGE, edit=lambda t: "AAAAKQ" + t[6:], candidates={"user": {"int": 42}}, verdict="unknown_user", certain=["altered"]) 
    swap = {"A": "B", "-": "A"}
    for at in (8, 12, 16):
        case(f"a character altered in the signature, {at}", edit=lambda t: t[:at] + swap.get(t[at], "A") + t[at + 1 :], verdict=bad, certain=["altered"])
    case("a character altered in the timestamp", AGE, AGE, edit=lambda t: t[:8] + swap.get(t[8], "A") + t[9:], verdict="expired", certain=["altered"])
    case("v1, a character altered in the signature", V1, edit=lambda t: t[:-5] + swap.get(t[-5], "A") + t[-4:], verdict=bad, certain=["altered"])


def random_cases():
    """Several settings that differ at once."""
    rnd = random.Random(7)
    changes = {
        "other_scope": [({}, {}, {"scope": "x", "candidates": {"scopes": ["w", "x"]}}), ({}, {}, {"expected_scope": "y"})],
        "other_max_age": [(AGE, {}, {}), ({}, AGE, {})],
        "other_key": [({}, {"SESAME_KEY": "k"}, {})],
        "other_one_time": [(ONE_TIME, {}, {})],
        "other_signature_size": [({"SESAME_SIGNATURE_SIZE": n}, {}, {}) for n in (8, 12, 20)],
        "other_primary_key_field": [({"SESAME_PRIMARY_KEY_FIELD": "id"}, {}, {}), ({}, {"SESAME_PRIMARY_KEY_FIELD": "uuid"}, {})],
        "other_packer": [({"packer": "LongLongPacker"}, {}, {}), ({"SESAME_PACKER": "sesame.packers.LongPacker"}, {}, {}), ({}, {"SESAME_PACKER": "sesame.packers.UnsignedLongLongPacker"}, {})],
        "other_invalidate_on_email_change": [({"SESAME_INVALIDATE_ON_EMAIL_CHANGE": True}, {}, {}), ({}, {"SESAME_INVALIDATE_ON_EMAIL_CHANGE": True}, {})],
        "other_secret_key": [({}, {"SECRET_KEY": BASE["SECRET_KEY"] + " "}, {})],
    }
    seen = set()
    while len(seen) < 120:
        causes = tuple(sorted(rnd.sample(sorted(changes), rnd.choice([2, 2, 3]))))
        there, here, given, which = {}, {}, {}, []
        for cause in causes:
            options = changes[cause]
            i = rnd.randrange(len(options))
            which.append(i)
            there.update(options[i][0])
            here.update(options[i][1])
            given.update(copy.deepcopy(options[i][2]))
        if (causes, tuple(which)) in seen:
            continue
        seen.add((causes, tuple(which)))
        case(" + ".join(causes) + " " + str(which), there, here, verdict="*", certain=causes, **given)


settings_cases()
text_cases()
random_cases()
json.dump({"cases": CASES}, sys.stdout, indent=1, sort_keys=True)
print()
