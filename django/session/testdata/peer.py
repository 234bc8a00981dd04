"""
Django's side of the tests of package session.

Each line of standard input is a list of questions, and gets a line with the
list of answers; see vectors_test.go. "peer.py vectors" prints vectors instead.
Sessions and users are in a real database, SQLite's in memory.
"""

import datetime
import json
import random
import sys
import time

import django
from django.conf import settings

settings.configure(
    INSTALLED_APPS=[
        "django.contrib.contenttypes",
        "django.contrib.auth",
        "django.contrib.sessions",
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    SECRET_KEY="another with each question",
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
)
django.setup()

from django.contrib.auth import backends, get_user, login  # noqa: E402
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.contrib.sessions.backends import cached_db, db, signed_cookies  # noqa: E402
from django.contrib.sessions.models import Session  # noqa: E402
from django.core.cache import cache  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection, models  # noqa: E402
from django.http import HttpRequest  # noqa: E402
from django.utils import timezone  # noqa: E402



class OtherUser(AbstractBaseUser):
    """A user whose primary key isn't Django's."""

    is_active = models.BooleanField(default=True)
    USERNAME_FIELD = "id"
    objects = BaseUserManager()

    class Meta:
        abstract = True


class UUIDUser(OtherUser):
    id = models.UUIDField(primary_key=True)

    class Meta:
        app_label = "auth"


class TextUser(OtherUser):
    id = models.CharField(primary_key=True, max_length=40)

    class Meta:
        app_label = "auth"


class BigUser(OtherUser):
    id = models.BigIntegerField(primary_key=True)

    class Meta:
        app_label = "auth"


call_command("migrate", verbosity=0, run_syncdb=True)
for pk in [1, 2, 42]:
    User.objects.create(pk=pk, username="user%d" % pk)
with connection.schema_editor() as editor:
    for model in [UUIDUser, TextUser, BigUser]:
        editor.create_model(model)
MODELS = {"": User, "uuid": UUIDUser, "text": TextUser, "big": BigUser}
USERS = {}

UTC = datetime.timezone.utc
MODEL = "django.contrib.auth.backends.ModelBackend"
ALL_USERS = "django.contrib.auth.backends.AllowAllUsersModelBackend"
KEY = "k" * 32


def apply(q):
    settings.SECRET_KEY = q["secret_key"]
    settings.SECRET_KEY_FALLBACKS = q.get("fallbacks") or []
    settings.SESSION_COOKIE_AGE = q.get("cookie_age") or 1209600
    settings.AUTHENTICATION_BACKENDS = q.get("backends") or [MODEL]
    time.time = lambda: q["now"]
    timezone.now = lambda: datetime.datetime.fromtimestamp(q["now"], UTC)
    user = q.get("user")
    if user:
        model = model_of(user)
        settings.AUTH_USER_MODEL = model._meta.label
        backends.UserModel = model  # which is looked up only once
        state = [user["password"], user["is_active"]]
        key = (model, user["id"])
        if USERS.get(key) != state:
            row = {"password": state[0], "is_active": state[1]}
            if not model.objects.filter(pk=user["id"]).update(**row):
                model.objects.create(pk=user["id"], **row)
            USERS[key] = state


def model_of(user):
    return MODELS[user.get("model", "")]


def store(q):
    if q["engine"] == "signed_cookies":
        return signed_cookies.SessionStore(q["data"] or None)
    Session.objects.all().delete()
    cache.clear()
    if q["data"]:
        expires = datetime.datetime.fromtimestamp(q["expires"], UTC)
        Session.objects.create(session_key=KEY, session_data=q["data"], expire_date=expires)
    of = {"db": db, "cached_db": cached_db}[q["engine"]].SessionStore
    if q.get("class"):  # one of the application's own
        of = type(q["class"], (of,), {"__qualname__": q["class"]})
    return of(KEY)


def request(q):
    r = HttpRequest()
    r.session = store(q)
    return r


def answer(q):
    apply(q)
    try:
        if q["do"] == "check":  # the user, or an empty text
            user = get_user(request(q))
            # Others may be in the database, but the question has only one.
            is_there = user.is_authenticated and str(user.pk) == str(q["user"]["id"])
            return {"user": str(user.pk) if is_there else ""}
        if q["do"] == "login":
            r = request(q)
            user = model_of(q["user"]).objects.get(pk=q["user"]["id"])
            login(r, user, backend=q["backend"])
            if "set_expiry" in q:
                r.session.set_expiry(q["set_expiry"])
                return {
                    "session": json.dumps(dict(r.session.items())),
                    "keeps_key": r.session.session_key == KEY,
                    "expires": round(r.session.get_expiry_date().timestamp() * 1e6),
                    "at_close": r.session.get_expire_at_browser_close(),
                }
            return {
                "session": json.dumps(dict(r.session.items())),
                "keeps_key": r.session.session_key == KEY,
            }
        if q["do"] == "hash":
            user = model_of(q["user"]).objects.get(pk=q["user"]["id"])
            return {"hash": user.get_session_auth_hash()}
        if q["do"] == "encode":
            module = {"db": db, "cached_db": cached_db, "signed_cookies": signed_cookies}
            s = module[q["engine"]].SessionStore()
            if q["engine"] == "signed_cookies":
                s.update(json.loads(q["session"]))
                s.save()
                return {"encoded": s.session_key}
            return {"encoded": s.encode(json.loads(q["session"]))}
        if q["do"] == "expiry":
            s = store(q)
            date = s.get_expiry_date()
            if timezone.is_naive(date):
                date = date.replace(tzinfo=UTC)
            return {
                "expires": round(date.timestamp() * 1e6),
                "at_close": bool(s.get_expire_at_browser_close()),
            }
    except Exception:
        return {"error": True}


EXPIRIES = [
    None, 0, 1, 300, -5, 1.5, 0.000001, 1e300, True, False, "", "x", [], {},
    "2024-05-06T07:08:09", "2024-05-06T07:08:09.000123", "2024-05-06T07:08:09+00:00",
    "2024-05-06T07:08:09.5+05:30", "2024-05-06T07:08:09-11:00", "1999-01-01T00:00:00",
]  # fmt: skip


def vectors():
    rnd = random.Random(1)
    made = []

    def add(q):
        q = {k: v for k, v in q.items() if v is not None or k == "data"}
        made.append({"question": q, "answer": answer(q)})
        return made[-1]["answer"]

    for i in range(30):
        q = {
            "secret_key": "key%dä" % i,
            "engine": rnd.choice(["db", "signed_cookies"]),
            "now": 1_700_000_000 + i,
            "expires": 1_700_001_000,
            "user": {
                "id": rnd.choice([1, 2, 42]),
                "password": rnd.choice(["!unusable", "pbkdf2_sha256$1$a$b", "", "ü"]),
                "is_active": rnd.random() < 0.8,
            },
            "backend": rnd.choice([MODEL, MODEL, MODEL, ALL_USERS, "app.Backend"]),
            "data": "",
        }
        add({**q, "do": "hash"})
        session = json.loads(add({**q, "do": "login"})["session"])
        session.update(
            rnd.choice([{}, {"cart": [1, {"ü": None}]}, {"n": "x" * 500}, {"f": float("nan")}])
        )
        session = json.dumps(session)
        encoded = add({**q, "do": "encode", "session": session})["encoded"]
        add({**q, "do": "encode", "engine": "cached_db", "session": session})
        q["data"] = encoded
        backends = [MODEL, ALL_USERS]
        user = q["user"]
        for change in [
            {},
            {"backends": backends},
            {"now": q["now"] + 1000 - i - 1},
            {"now": q["now"] + 1000 - i},
            {"cookie_age": 10, "now": q["now"] + 10},
            {"cookie_age": 10, "now": q["now"] + 11},
            {"secret_key": "new", "fallbacks": ["other", q["secret_key"]]},
            {"secret_key": "new"},
            {"user": {**user, "password": "changed"}},
            {"user": {**user, "is_active": False}},
            {"user": {**user, "is_active": False}, "backends": backends},
            {"engine": "db"},
            {"engine": "signed_cookies"},
            {"data": encoded[:-1]},
            {"data": encoded.replace(":", ".", 1)},
        ]:
            add({**q, "do": "check", **change})
        for change in [{}, {"user": {**user, "id": 1}}, {"user": {**user, "password": "changed"}}]:
            add({**q, "do": "login", **change})
    for expiry in EXPIRIES:
        q = {"secret_key": "key", "engine": "db", "now": 1_700_000_000, "expires": 1_700_001_000, "data": ""}
        q["data"] = add({**q, "do": "encode", "session": json.dumps({"_session_expiry": expiry, "x": 1})})["encoded"]
        add({**q, "do": "expiry"})
    lines = [json.dumps(m, sort_keys=True, separators=(",", ":")) for m in made]
    print("[\n" + ",\n".join(lines) + "\n]")


if sys.argv[1:] == ["vectors"]:
    vectors()
else:
    for line in sys.stdin:
        print(json.dumps([answer(q) for q in json.loads(line)]), flush=True)
