"""
The side of Django REST framework, knox and SimpleJWT in the tests of package
apitoken.

The first line of standard output says which knox it is. Each line of standard
input is a list of questions, and gets a line with the list of answers; see
vectors_test.go. "peer.py vectors" prints vectors instead.
"""

import base64
import datetime
import functools
import json
import sys
import warnings

import django
from django.conf import settings

warnings.simplefilter("ignore")
settings.configure(
    INSTALLED_APPS=[
        "django.contrib.contenttypes",
        "django.contrib.auth",
        "rest_framework",
        "rest_framework.authtoken",
        "rest_framework_simplejwt.token_blacklist",
        "knox",
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    SECRET_KEY="s" * 40,
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
)
django.setup()

import jwt.api_jwt  # noqa: E402
import rest_framework_simplejwt.authentication  # noqa: E402
import rest_framework_simplejwt.tokens  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.http import HttpRequest  # noqa: E402
from django.utils import timezone  # noqa: E402
from knox import models as knox_models  # noqa: E402
from knox.auth import TokenAuthentication as KnoxAuthentication  # noqa: E402
from knox.crypto import hash_token  # noqa: E402
from knox.settings import CONSTANTS, knox_settings  # noqa: E402
from rest_framework.authentication import TokenAuthentication  # noqa: E402
from rest_framework.authtoken.models import Token  # noqa: E402
from rest_framework.exceptions import APIException  # noqa: E402
from rest_framework_simplejwt.authentication import JWTAuthentication  # noqa: E402
from rest_framework_simplejwt.backends import TokenBackend  # noqa: E402
from rest_framework_simplejwt.settings import api_settings  # noqa: E402
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken  # noqa: E402
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken, SlidingToken  # noqa: E402

call_command("migrate", verbosity=0, run_syncdb=True)
user = User.objects.create(pk=42, username="user", password="")
GENERATION = 4 if CONSTANTS.TOKEN_KEY_LENGTH == 8 else 5
UTC = datetime.timezone.utc
CLOCK = [0]


def utcnow():
    return datetime.datetime.fromtimestamp(CLOCK[0], UTC)


class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return utcnow()


jwt.api_jwt.datetime = Clock
rest_framework_simplejwt.tokens.aware_utcnow = utcnow
timezone.now = utcnow


def request(q):
    r = HttpRequest()
    header = base64.b64decode(q["bytes"]) if "bytes" in q else q["header"].encode()
    r.META["HTTP_AUTHORIZATION"] = header.decode("latin-1")  # as WSGI has it
    return r


def authenticate(authentication, q):
    """The user's primary key, "" for a refusal, None for another scheme."""
    try:
        result = authentication.authenticate(request(q))
    except APIException:
        return ""
    except Exception:
        return ""
    return None if result is None else str(result[0].pk)


@functools.cache
def token_backend(algorithm, signing_key, verifying_key, audience, issuer, leeway):
    audience = list(audience) if audience else None
    return TokenBackend(algorithm, signing_key, verifying_key, audience, issuer, None, leeway)


def jwt_backend(q):
    s = q["settings"]
    return token_backend(
        s["algorithm"], s.get("signing_key"), s.get("verifying_key", ""),
        tuple(s.get("audience") or []), s.get("issuer"), s.get("leeway", 0),
    )  # fmt: skip


USER_ROW = {}


def set_user(row):
    if row != USER_ROW:
        User.objects.filter(pk=42).update(**row)
        USER_ROW.update(row)


def set_blacklist(identifiers):
    if BLACKLIST != identifiers:
        OutstandingToken.objects.all().delete()  # and those on the blacklist
        for jti in identifiers:
            row = OutstandingToken.objects.create(jti=jti, token="", expires_at=utcnow())
            BlacklistedToken.objects.create(token=row)
        BLACKLIST[:] = identifiers


BLACKLIST = []


def answer(q):
    CLOCK[0] = q["now"]
    if "password" in q:
        set_user({"password": q["password"], "is_active": q["is_active"]})
    if q["do"] == "drf":
        Token.objects.all().delete()
        Token.objects.bulk_create([Token(key=q["key"], user=user)])
        authentication = TokenAuthentication()
        authentication.keyword = q.get("keyword", "Token")
        return {"user": authenticate(authentication, q)}
    if q["do"] == "knox":
        return knox_verdict(q)
    if q["do"] == "knox_create":
        knox_models.AuthToken.objects.all().delete()
        if "token" in q:  # made elsewhere
            key = q["token"][: CONSTANTS.TOKEN_KEY_LENGTH]
            return {"token": q["token"], "token_key": key, "digest": hash_token(q["token"])}
        row, token = knox_models.AuthToken.objects.create(user=user)
        return {"token": token, "token_key": row.token_key, "digest": row.digest}
    classes = jwt_classes(q)
    if q["do"] == "jwt_create":
        user.password = q["password"]
        token = classes[0].for_user(user)
        token.payload.update(q.get("claims") or {})
        return {"token": str(token)}
    set_blacklist(q.get("blacklist") or [])
    return {"user": authenticate(JWTAuthentication(), q)}


def knox_verdict(q):
    def date(seconds):
        return datetime.datetime.fromtimestamp(seconds, UTC)

    refresh = q.get("refresh") or {}
    knox_settings.AUTH_HEADER_PREFIX = q.get("keyword", "Token")
    knox_settings.AUTO_REFRESH = bool(refresh)
    knox_settings.TOKEN_TTL = datetime.timedelta(seconds=refresh.get("ttl", 0))
    knox_settings.MIN_REFRESH_INTERVAL = refresh.get("min_interval", 0)
    max_ttl = refresh.get("max_ttl")
    knox_settings.AUTO_REFRESH_MAX_TTL = datetime.timedelta(seconds=max_ttl) if max_ttl else None
    rows = knox_models.AuthToken.objects
    rows.all().delete()
    expiry = date(q["expires"]) if q["expires"] else None  # which doesn't expire
    CLOCK[0] = q.get("created", 0)
    row = knox_models.AuthToken(digest=q["digest"], token_key=q["token_key"], user=user, expiry=expiry)
    rows.bulk_create([row])
    CLOCK[0] = q["now"]
    verdict = {"user": authenticate(KnoxAuthentication(), q)}
    if verdict["user"]:
        after = rows.get().expiry
        verdict["expires"] = after and round(after.timestamp() * 1e6)
    return verdict


CLASSES = {"access": AccessToken, "sliding": SlidingToken, "refresh": RefreshToken}


def jwt_classes(q):
    """The classes of SimpleJWT for a question, with its settings."""
    s = q["settings"]
    backend = jwt_backend(q)
    api_settings.CHECK_REVOKE_TOKEN = bool(s.get("check_revoke"))
    api_settings.CHECK_USER_IS_ACTIVE = not s.get("ignore_is_active")
    api_settings.USER_ID_CLAIM = s.get("user_id_claim") or "user_id"
    api_settings.TOKEN_TYPE_CLAIM = s.get("token_type_claim") or "token_type"
    api_settings.JTI_CLAIM = s.get("jti_claim") or "jti"
    rest_framework_simplejwt.authentication.AUTH_HEADER_TYPE_BYTES = {
        h.encode() for h in s.get("header_types") or ["Bearer"]
    }

    def ours(name):
        return type(name, (CLASSES[name],), {"get_token_backend": lambda self: backend})

    classes = [ours(name) for name in s.get("token_types") or ["access"]]
    api_settings.AUTH_TOKEN_CLASSES = classes
    return classes


def keys():
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    for name, key in [
        ("RS256", rsa.generate_private_key(65537, 2048)),
        ("ES256", ec.generate_private_key(ec.SECP256R1())),
        ("ES384", ec.generate_private_key(ec.SECP384R1())),
    ]:
        private = key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())
        public = key.public_key().public_bytes(
            s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo
        )
        yield name, private.decode(), public.decode()


def public_part(s):
    """What is needed to check tokens."""
    return s if s["algorithm"].startswith("HS") else {**s, "signing_key": None}


def vectors():
    made = []

    def add(q):
        made.append({"question": q, "answer": answer(q)})
        return made[-1]["answer"]

    key = "0123456789abcdef" * 2 + "01234567"
    base = {"now": 1_700_000_000, "password": "pbkdf2_sha256$x", "is_active": True}
    for header in [
        "Token " + key, "token " + key, "TOKEN\t" + key, " Token  " + key + " ", "Token", "Token ", "Bearer " + key,
        "Token " + key + " x", "Token " + key + "x", "Token " + key.upper(), "Token\x0b" + key, "", "Tokens " + key,
        "To\u212aen " + key, "Token " + key[:-1] + "\xff", "Token\x1c" + key, "Token\x85" + key, "Token\xa0" + key,
    ]:  # fmt: skip
        for active in [True, False]:
            add({**base, "do": "drf", "key": key, "header": header, "is_active": active})
    for i in range(5):
        row = add({"do": "knox_create", "now": 1_700_000_000})
        q = {**base, "do": "knox", "digest": row["digest"], "token_key": row["token_key"], "expires": 1_700_001_000}
        token = row["token"]
        for header in ["Token " + token, "tOKEN " + token, "Token " + token[:-1], "Token " + token.upper(), "Token " + token + "00", "Token ü" + token, "Bearer " + token]:
            for later in [0, 1000, 1001]:
                add({**q, "header": header, "now": q["now"] + later})
    all_settings = [{"algorithm": a, "signing_key": "k" * 64} for a in ["HS256", "HS384", "HS512"]]
    for name, private, public in keys():
        all_settings.append({"algorithm": name, "signing_key": private, "verifying_key": public})
    for s in list(all_settings):
        all_settings.append({**s, "audience": ["a", "b"], "issuer": "i", "leeway": 10, "check_revoke": True})
    for s in all_settings:
        q = {**base, "settings": s}
        good = add({**q, "do": "jwt_create"})["token"]
        head, body, sign = good.split(".")
        q["do"], q["settings"] = "jwt", public_part(s)
        for header in ["Bearer " + good, "bearer " + good, "Token " + good, "Bearer", "Bearer " + good + " x", "Bearer  " + good]:
            add({**q, "header": header})
        none = base64.urlsafe_b64encode(b'{"alg":"none"}').decode()
        for token in [
            head + "." + body + ".", none + "." + body + ".", none + "." + body + "." + sign, head + "." + body, good + ".", good + "=",
            good + "==", good + "A", good[:-1], head + "=." + body + "." + sign, "." + body + "." + sign, head + "." + body[:-1] + "." + sign,
            head + "." + body + "." + sign[:8] + "!" + sign[8:],
        ]:  # fmt: skip
            add({**q, "header": "Bearer " + token})
        for change in [{"now": base["now"] + 299}, {"now": base["now"] + 300}, {"now": base["now"] + 309}, {"now": base["now"] + 310},
                       {"now": base["now"] - 11}, {"is_active": False}, {"password": "changed"}]:
            add({**q, "header": "Bearer " + good, **change})
        for other in all_settings[:6]:
            if other is not s:
                add({**q, "header": "Bearer " + good, "settings": public_part(other)})
        for claims in [{"token_type": "refresh"}, {"user_id": 42}, {"user_id": "7"}, {"user_id": [42]}, {"exp": "1800000000"}, {"exp": 1.8e9 + 0.5},
                       {"exp": 1e300}, {"exp": None}, {"nbf": 1_700_000_005}, {"nbf": 1_700_000_020}, {"nbf": "x"}, {"iat": 1_700_000_020}, {"jti": 1},
                       {"sub": 1}, {"aud": "b"}, {"aud": ["x", "a"]}, {"aud": ["x"]}, {"aud": [1]}, {"iss": "x"}, {"x": "ü", "y": [1, {"z": 1.5}]},
                       {"exp": 253402300799}, {"exp": 253402300800}, {"x": float("nan")}]:
            token = add({**base, "settings": {k: v for k, v in s.items() if k not in ("audience", "issuer") or k[:3] not in str(claims)}, "do": "jwt_create", "claims": claims})["token"]
            add({**q, "header": "Bearer " + token})
    made = [m for m in made if m["question"]["do"] != "jwt_create"]
    lines = [json.dumps(m, sort_keys=True, separators=(",", ":")) for m in made]
    print("[\n" + ",\n".join(lines) + "\n]")


if sys.argv[1:] == ["vectors"]:
    vectors()
else:
    for line in sys.stdin:
        if line.strip() == "null":
            print(json.dumps({"generation": GENERATION}), flush=True)
            continue
        print(json.dumps([answer(q) for q in json.loads(line)]), flush=True)
