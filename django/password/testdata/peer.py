"""
Django's side of the tests of package password.

The first line of standard output says what this Django has. Each line of
standard input is a list of questions, and gets a line with the list of answers;
see vectors_test.go. "peer.py vectors" prints vectors instead.
"""

import json
import random
import sys

import argon2
from django.conf import settings

settings.configure()

from django.contrib.auth import hashers  # noqa: E402

PATHS = "django.contrib.auth.hashers."
CLASSES = {
    "pbkdf2_sha256": "PBKDF2PasswordHasher",
    "pbkdf2_sha1": "PBKDF2SHA1PasswordHasher",
    "argon2": "Argon2PasswordHasher",
    "bcrypt_sha256": "BCryptSHA256PasswordHasher",
    "bcrypt": "BCryptPasswordHasher",
    "scrypt": "ScryptPasswordHasher",
    "md5": "MD5PasswordHasher",
    "sha1": "SHA1PasswordHasher",
    "unsalted_md5": "UnsaltedMD5PasswordHasher",
    "unsalted_sha1": "UnsaltedSHA1PasswordHasher",
}
CLASSES = {name: c for name, c in CLASSES.items() if hasattr(hashers, c)}
QUICK = {
    "pbkdf2_iterations": 20,
    "argon2_memory": 64,
    "argon2_time": 1,
    "argon2_lanes": 2,
    "bcrypt_cost": 4,
    "scrypt_n": 4,
    "scrypt_p": 1,
}


def apply(q):
    p = q["parameters"]
    hashers.PBKDF2PasswordHasher.iterations = p["pbkdf2_iterations"]
    hashers.Argon2PasswordHasher.memory_cost = p["argon2_memory"]
    hashers.Argon2PasswordHasher.time_cost = p["argon2_time"]
    hashers.Argon2PasswordHasher.parallelism = p["argon2_lanes"]
    hashers.BCryptSHA256PasswordHasher.rounds = p["bcrypt_cost"]
    hashers.ScryptPasswordHasher.work_factor = p["scrypt_n"]
    hashers.ScryptPasswordHasher.parallelism = p["scrypt_p"]
    settings.PASSWORD_HASHERS = [PATHS + CLASSES[name] for name in q["hashers"]]
    hashers.get_hashers.cache_clear()
    hashers.get_hashers_by_algorithm.cache_clear()


def answer(q):
    apply(q)
    password = q["password"]
    try:
        if q["do"] == "make":
            made = hashers.make_password(password, q.get("salt"), q["hashers"][0])
            return {"encoded": made}
        if q["do"] == "argon2":  # of any variant and sizes
            p = q["parameters"]
            made = argon2.low_level.hash_secret(
                password.encode(), q["salt"].encode(), p["argon2_time"], p["argon2_memory"],
                p["argon2_lanes"], q["hash_size"], argon2.low_level.Type(q["variant"]),
            )  # fmt: skip
            return {"encoded": "argon2" + made.decode()}
        if q["do"] == "argon2i":
            made = argon2.low_level.hash_secret(
                password.encode(), b"0123456789abcdefghijkl", 1, 64, 2, 24,
                argon2.low_level.Type.I if password != "d" else argon2.low_level.Type.D,
            )  # fmt: skip
            return {"encoded": "argon2" + made.decode()}
        updates = []
        is_correct = hashers.check_password(password, q["encoded"], updates.append)
        return {"correct": bool(is_correct), "must_update": bool(updates)}
    except Exception:
        return {"error": True}


PASSWORDS = [
    "", "secret", "pässwörd", "😀", "x" * 71, "x" * 72, "x" * 73, "é" * 40, "y" * 300,
    "a\x00b", "\x00", " lead and trail ", "A" * 64, "B" * 65, "e\u0301",
]  # fmt: skip


def vectors():
    rnd = random.Random(1)
    made = []

    def add(q):
        q = {"parameters": QUICK, **q}
        made.append({"question": q, "answer": answer(q)})
        return made[-1]["answer"].get("encoded")

    def check(password, encoded, names):
        add({"do": "check", "hashers": names, "password": password, "encoded": encoded})

    everything = list(CLASSES)
    for name in everything:
        names = [name] + [n for n in everything if n != name]
        for password in PASSWORDS:
            encoded = add({"do": "make", "hashers": names, "password": password})
            if not encoded:
                continue
            check(password, encoded, names)
            check(password + "x", encoded, names)
            check(password[:-1], encoded, names)
            check(password, encoded, everything[1:] + everything[:1])
            check(password, encoded, [n for n in everything if n != name])
            check(password, encoded[:-1], names)
            check(password, encoded + "A", names)
            check(password, encoded.replace("$", "$0", 1), names)
            at = rnd.randrange(len(encoded))
            check(password, encoded[:at] + rnd.choice("$A0=.!,") + encoded[at + 1 :], names)
        if name not in ["unsalted_md5", "unsalted_sha1", "argon2", "bcrypt", "bcrypt_sha256"]:
            for salt in ["s", "ü" * 11, "ü" * 22, "x" * 21, "x" * 22, "a:b c"]:
                q = {"do": "make", "hashers": names, "password": "pw", "salt": salt}
                check("pw", add(q), names)
    for change in [{"pbkdf2_iterations": 7}, {"argon2_time": 2}, {"bcrypt_cost": 5}, {"scrypt_n": 8}, {"scrypt_p": 2}, {"argon2_memory": 16}]:
        for name in everything[:6]:
            q = {"do": "make", "hashers": [name], "password": "pw", "parameters": {**QUICK, **change}}
            encoded = add(q)
            check("pw", encoded, [name])
            check("wrong", encoded, [name])
    for password in ["i", "", "d"]:
        encoded = add({"do": "argon2i", "hashers": ["argon2"], "password": password})
        if password != "d":
            check(password, encoded, ["argon2"])
            check("wrong", encoded, ["argon2"])
    for encoded in ["", "!", "!" + "x" * 40, "x", "$", "md5$$", "pbkdf2_sha256$$$", "bcrypt$", "crypt$$ab", "argon2$", "scrypt$$$$$", "f" * 32]:
        check("pw", encoded, everything)
        check("", encoded, everything)
    for password in ["", "pw"]:
        from hashlib import md5, sha1
        check(password, "md5$$" + md5(password.encode()).hexdigest(), everything)
        check(password, "sha1$$" + sha1(password.encode()).hexdigest(), everything)
        check(password, md5(password.encode()).hexdigest().upper(), everything)
    lines = [json.dumps(m, sort_keys=True, separators=(",", ":")) for m in made]
    print("[\n" + ",\n".join(lines) + "\n]")


if sys.argv[1:] == ["vectors"]:
    vectors()
else:
    for line in sys.stdin:
        if line.strip() == "null":
            has = {"algorithms": list(CLASSES), "argon2_hash_size": argon2.DEFAULT_HASH_LENGTH}
            print(json.dumps(has), flush=True)
            continue
        print(json.dumps([answer(q) for q in json.loads(line)]), flush=True)
