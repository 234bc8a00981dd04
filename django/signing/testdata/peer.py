"""
Django's side of the tests of package signing.

Each line of standard input is a list of questions, and gets a line with the
list of answers: ["text", what was signed, in base64 if it was bytes] or
["error", what it was refused for]. "peer.py vectors" prints vectors instead.
"""

import base64
import json
import random
import string
import sys
import time
import zlib

from django.conf import settings

settings.configure()

from django.core import signing  # noqa: E402


class Raw:
    """A serializer that leaves bytes as they are."""

    def dumps(self, obj):
        return obj

    def loads(self, data):
        return data


def signer(q):
    return signing.TimestampSigner(
        key=q["key"],
        fallback_keys=q.get("fallbacks", []),
        salt=q["salt"],
        sep=q.get("separator") or ":",
    )


def answer(q):
    time.time = lambda: q["now"]
    what = q["do"]
    try:
        if what == "sign":
            return ["text", signer(q).sign(q["value"])]
        if what == "dumps":
            data = base64.b64decode(q["value"])
            made = signer(q).sign_object(data, serializer=Raw, compress=q["compress"])
            return ["text", made]
        if what == "raw":  # a signature over what no TimestampSigner makes
            key = signer(q)
            return ["text", signing.Signer.sign(key, q["value"])]
        if what == "unsign":
            return ["text", signer(q).unsign(q["value"], max_age=q["max_age"])]
        data = signer(q).unsign_object(
            q["value"], serializer=Raw, max_age=q["max_age"]
        )
        return ["text", base64.b64encode(data).decode()]
    except signing.SignatureExpired:
        return ["error", "expired"]
    except signing.BadSignature:
        return ["error", "bad_signature"]
    except Exception:
        return ["error", "malformed"]


def vectors():
    rnd = random.Random(1)
    made = []

    def add(q):
        made.append({"question": q, "answer": answer(q)})
        return made[-1]["answer"][1]

    for i in range(60):
        base = {
            "key": "".join(rnd.choices(string.printable + "äß€😀", k=rnd.randint(1, 80))),
            "salt": "".join(rnd.choices(string.ascii_letters + ".ü", k=rnd.randint(1, 30))),
            "separator": rnd.choice([":", ":", "::", "é", "~"]),
            "now": rnd.choice([0, -5, 1_700_000_000, 4_000_000_000, rnd.randint(1, 2**33)]),
        }
        text = "".join(rnd.choices(string.printable + "äß€😀", k=rnd.randint(0, 40)))
        data = bytes(rnd.choices(b'{"a":1}\xe4\x00', k=rnd.choice([0, 1, 9, 50, 400])))
        signed = add({**base, "do": "sign", "value": text})
        dumped = add(
            {
                **base,
                "do": "dumps",
                "value": base64.b64encode(data).decode(),
                "compress": i % 2 == 1,
            }
        )
        for age, later in [(None, 10**9), (10, 10), (10, 11), (0, 0), (10, -100)]:
            check = {**base, "now": base["now"] + later, "max_age": age}
            add({**check, "do": "unsign", "value": signed})
            add({**check, "do": "loads", "value": dumped})
        for other in [
            {"key": base["key"] + "x"},
            {"key": "new", "fallbacks": ["old", base["key"]]},
            {"salt": base["salt"] + "x"},
            {"separator": "!"},
        ]:
            check = {**base, "max_age": None, **other}
            add({**check, "do": "unsign", "value": signed})
            add({**check, "do": "loads", "value": dumped})
    base = {"key": "key", "salt": "salt", "now": 1_700_000_000}
    zipped = base64.urlsafe_b64encode(zlib.compress(b"x" * 1000)).decode()
    for value in [
        "no timestamp", "x:", ":", "x:-", "x:-0", "x:1ueoL4!", "x:1:", "é:1",
        "eA:zzzzzzzzzzzzzzzzzzzzzz", "eA:-zzzzzzzzzzzzzzzzzzzzzz", "eA==:1", "e A:1", "e:1",
        "eA=:1", "eA===:1", "=eA:1", "e=A:1", "eA=A:1", "eAA=A:1", "eAB:1", "eA\n:1", "+/+/:1",
        ".:1", ".eA:1", "." + zipped + ":1", "." + zipped[:-8] + ":1", "." + zipped + "AAAA:1",
        ".." + zipped + ":1", "." + zipped.replace("A", "B", 1) + ":1", "👍eA:1",
    ]:  # fmt: skip
        signed = add({**base, "do": "raw", "value": value})
        for age in [None, 100, 4 * 10**9]:
            add({**base, "do": "unsign", "value": signed, "max_age": age})
            add({**base, "do": "loads", "value": signed, "max_age": age})
    for value in ["", ":", "x", "x:y", "x:1ueoL4:" + "A" * 43, "\x00"]:
        add({**base, "do": "unsign", "value": value, "max_age": None})
    lines = [json.dumps(m, sort_keys=True, separators=(",", ":")) for m in made]
    print("[\n" + ",\n".join(lines) + "\n]")


if sys.argv[1:] == ["vectors"]:
    vectors()
else:
    for line in sys.stdin:
        print(json.dumps([answer(q) for q in json.loads(line)]), flush=True)
