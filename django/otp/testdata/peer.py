"""
The side of django-otp and allauth in the tests of package otp.

Each line of standard input is a list of questions, and gets a line with the
list of answers; see vectors_test.go. "peer.py vectors" prints vectors instead.
"""

import datetime
import importlib.util
import json
import random
import sys
import time
from base64 import b32encode

import django
from django.conf import settings

# Without allauth, as where Debian's packages are used, the questions are about
# django-otp alone.
has_allauth = importlib.util.find_spec("allauth") is not None and importlib.util.find_spec("allauth.mfa") is not None
of_allauth = ["allauth", "allauth.account", "allauth.mfa"]
settings.configure(
    INSTALLED_APPS=[
        "django.contrib.contenttypes",
        "django.contrib.auth",
        "django_otp",
        "django_otp.plugins.otp_totp",
        *(of_allauth if has_allauth else []),
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    MIDDLEWARE=["allauth.account.middleware.AccountMiddleware"] if has_allauth else [],
    SECRET_KEY="key",
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
)
django.setup()

if has_allauth:
    from allauth.mfa.models import Authenticator  # noqa: E402
    from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes  # noqa: E402
    from allauth.mfa.totp.internal.auth import validate_totp_code  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.utils import timezone  # noqa: E402
from django_otp.oath import hotp  # noqa: E402
from django_otp.plugins.otp_totp.models import TOTPDevice  # noqa: E402

call_command("migrate", verbosity=0, run_syncdb=True)
user = User.objects.create(pk=42, username="user")
UTC = datetime.timezone.utc


def answer(q):
    time.time = lambda: q["now"]
    timezone.now = lambda: datetime.datetime.fromtimestamp(q["now"], UTC)
    try:
        if q["do"] == "totp":
            settings.OTP_TOTP_SYNC = q["sync"]
            settings.OTP_TOTP_THROTTLE_FACTOR = q["factor"]
            row = dict(q["device"])
            failed = row.pop("failed")
            if failed is not None:
                failed = datetime.datetime.fromtimestamp(failed, UTC)
            TOTPDevice.objects.all().delete()
            d = TOTPDevice.objects.create(user=user, throttling_failure_timestamp=failed, **row)
            ok = d.verify_token(q["code"])
            d = TOTPDevice.objects.get()
            return {
                "ok": ok, "drift": d.drift, "last_t": d.last_t,
                "throttling_failure_count": d.throttling_failure_count,
            }  # fmt: skip
        if q["do"] == "allauth_totp":
            settings.MFA_TOTP_TOLERANCE = q["tolerance"]
            settings.MFA_TOTP_DIGITS = q["digits"]
            return {"ok": validate_totp_code(json.loads(q["data"])["secret"], q["code"])}
        settings.MFA_RECOVERY_CODE_DIGITS = q["digits"]
        Authenticator.objects.all().delete()
        row = Authenticator.objects.create(user=user, type="recovery_codes", data=json.loads(q["data"]))
        ok = RecoveryCodes(row).validate_code(q["code"])
        return {"ok": ok, "data": json.dumps(Authenticator.objects.get().data)}
    except Exception:
        return {"ok": False, "error": True}


def question(rnd):
    """A code that is right, mostly, or was right, or will be."""
    q = {"now": 1_700_000_000 + rnd.randrange(10**6), "do": rnd.choice(["totp", "allauth_totp", "recovery"] if has_allauth else ["totp"])}
    if q["do"] == "totp":
        d = {
            "key": rnd.randbytes(rnd.choice([1, 20, 40])).hex(), "step": rnd.choice([30, 60, 7]), "t0": rnd.choice([0, 0, 1000, 1_800_000_000]),
            "digits": rnd.choice([6, 8]), "tolerance": rnd.choice([0, 1, 5]), "drift": rnd.choice([0, 0, -3, 4]), "last_t": -1,
            "throttling_failure_count": rnd.choice([0, 0, 0, 1, 4, 70]), "failed": rnd.choice([None, q["now"], q["now"] - 1, q["now"] - 8, q["now"] - 9]),
        }  # fmt: skip
        t = (q["now"] - d["t0"]) // d["step"] + d["drift"]
        if rnd.random() < 0.5 and t > 0:
            d["last_t"] = t + rnd.randrange(-3, 3)
        at = max(t + rnd.choice([0, 0, 0, -1, 1, -5, 5, 6]), 0)
        code = "%0*d" % (d["digits"], hotp(bytes.fromhex(d["key"]), at, d["digits"]))
        code = rnd.choice([code] * 5 + [code.lstrip("0"), " " + code, code + "0", "", "x", code[1:], "-" + code])
        return {**q, "device": d, "code": code, "sync": rnd.random() < 0.7, "factor": rnd.choice([0, 1, 1, 3])}
    q["digits"] = rnd.choice([6, 8])
    if q["do"] == "allauth_totp":
        key = rnd.randbytes(20)
        secret = b32encode(key).decode()
        counter = q["now"] // 30 + rnd.choice([0, 0, 1, -1, 2])
        code = "%0*d" % (q["digits"], hotp(key, counter, q["digits"]))
        code = rnd.choice([code] * 5 + [code[1:], code + " ", "", "x", "é"])
        return {**q, "data": json.dumps({"secret": rnd.choice([secret, secret.lower()])}), "tolerance": rnd.choice([0, 1]), "code": code}
    data = {"seed": rnd.randbytes(40).hex(), "used_mask": rnd.randrange(1024), "viewed_at": 1.5}
    if rnd.random() < 0.2:
        data["migrated_codes"] = ["abc", "def", "ghi"]
        return {**q, "data": json.dumps(data), "code": rnd.choice(["abc", "def", "x"])}
    settings.MFA_RECOVERY_CODE_DIGITS = q["digits"]
    codes = RecoveryCodes(Authenticator(user=user, data=data)).generate_codes()
    code = rnd.choice(codes)
    return {**q, "data": json.dumps(data), "code": rnd.choice([code] * 5 + [code[1:], "", "0" + code])}


def vectors(seed, n):
    rnd = random.Random(seed)
    made = [{"question": q, "answer": answer(q)} for q in (question(rnd) for _ in range(n))]
    return made


if sys.argv[1:] == ["vectors"]:
    lines = [json.dumps(m, sort_keys=True, separators=(",", ":")) for m in vectors(1, 400)]
    print("[\n" + ",\n".join(lines) + "\n]")
else:
    for line in sys.stdin:
        print(json.dumps(vectors(*json.loads(line))), flush=True)
