"""
The side of django-otp and allauth in the tests of package secondfactor.

Each line of standard input is a question in JSON, and gets a line with the answer;
see differential_test.go. The first question has the database.
"""

import datetime
import json
import random
import sys
import time

import django
import pymysql
from django.conf import settings

pymysql.version_info = (2, 2, 8, "final", 0)
pymysql.install_as_MySQLdb()
settings.configure(
    INSTALLED_APPS=[
        "django.contrib.contenttypes",
        "django.contrib.auth",
        "django_otp",
        "django_otp.plugins.otp_totp",
        "django_otp.plugins.otp_static",
        "allauth",
        "allauth.account",
        "allauth.mfa",
    ],
    DATABASES={"default": json.loads(sys.stdin.readline())},
    MIDDLEWARE=["allauth.account.middleware.AccountMiddleware"],
    SECRET_KEY="key",
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
)
django.setup()

from base64 import b32encode  # noqa: E402

from allauth.mfa.models import Authenticator  # noqa: E402
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes  # noqa: E402
from allauth.mfa.totp.internal.auth import TOTP  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.core.cache import cache  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import transaction  # noqa: E402
from django.utils import timezone  # noqa: E402
from django_otp.oath import hotp  # noqa: E402
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken  # noqa: E402
from django_otp.plugins.otp_totp.models import TOTPDevice  # noqa: E402

call_command("migrate", verbosity=0)
user = User.objects.create(pk=1, username="user")
tables = [TOTPDevice, StaticDevice, StaticToken, Authenticator]


def rows():
    return json.dumps({m.__name__: list(m.objects.order_by("pk").values()) for m in tables}, default=str, sort_keys=True)


def throttle(rnd, now):
    ago = rnd.choice([0, 1, 2, 8, 9])
    return {
        "throttling_failure_count": rnd.choice([0, 0, 0, 1, 4, 20]),
        "throttling_failure_timestamp": rnd.choice([None, now - datetime.timedelta(seconds=ago)]),
    }


def totp(rnd, now):
    key, step, digits = rnd.randbytes(20), rnd.choice([30, 60]), rnd.choice([6, 8])
    drift = rnd.choice([0, 0, -3, 4])
    t = int(now.timestamp()) // step + drift
    device = TOTPDevice.objects.create(
        user=user, key=key.hex(), step=step, digits=digits, tolerance=rnd.choice([0, 1, 5]), drift=drift,
        last_t=rnd.choice([-1, t - 2, t - 1, t]), **throttle(rnd, now),
    )  # fmt: skip
    code = "%0*d" % (digits, hotp(key, t + rnd.choice([0, 0, -1, 1, 5, 6]), digits))
    return rnd.choice([code] * 4 + [code.lstrip("0"), " " + code, code[1:], "x"]), device.verify_token


def static(rnd, now):
    devices = [StaticDevice.objects.create(user=user, **throttle(rnd, now))]
    tokens = [StaticToken.random_token() for _ in range(4)]
    for token in tokens:
        devices[0].token_set.create(token=token)
    return rnd.choice(tokens + ["x", tokens[0][1:]]), devices[0].verify_token


def allauth_totp(rnd, now):
    key = rnd.randbytes(20)
    row = Authenticator.objects.create(user=user, type="totp", data={"secret": b32encode(key).decode()})
    code = "%06d" % hotp(key, int(now.timestamp()) // 30 + rnd.choice([0, 0, 0, 1, -1]), 6)
    return rnd.choice([code] * 4 + [code[1:], "x"]), used(row, TOTP(row))


def recovery(rnd, now):
    data = {"seed": rnd.randbytes(40).hex(), "used_mask": rnd.randrange(1024)}
    if rnd.random() < 0.3:
        data["migrated_codes"] = ["abc", "def", "ghi"]
    row = Authenticator.objects.create(user=user, type="recovery_codes", data=data)
    codes = RecoveryCodes(row).generate_codes()
    return rnd.choice(codes + ["x", codes[0][1:]]), used(row, RecoveryCodes(row))


def used(row, factor):
    """A check as allauth's login makes it."""

    def check(code):
        ok = factor.validate_code(code)
        if ok:
            row.record_usage()
        return ok

    return check


def case(seed):
    rnd = random.Random(seed)
    now = datetime.datetime.fromtimestamp(1_700_000_000 + rnd.randrange(10**6), datetime.timezone.utc)
    time.time, timezone.now = now.timestamp, lambda: now
    cache.clear()
    for model in reversed(tables):
        model.objects.all().delete()
    code, check = rnd.choice([totp, static, allauth_totp, recovery])(rnd, now)
    with transaction.atomic():
        ok = check(code)
        after = rows()
        transaction.set_rollback(True)
    return {"code": code, "now": int(now.timestamp()), "ok": ok, "rows": after}


print("{}", flush=True)
for line in sys.stdin:
    question = json.loads(line)
    print(json.dumps(rows() if question is None else case(question)), flush=True)
