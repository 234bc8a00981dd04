"""
Prints one hash with default parameters for each hasher of this Django, as a
line of JSON. defaults.json is a list of these lines.
"""

import json

import argon2
import django
from django.conf import settings

settings.configure()

from django.contrib.auth import hashers  # noqa: E402

print(
    json.dumps(
        {
            "django": "%d.%d" % django.VERSION[:2],
            "argon2_hash_size": argon2.DEFAULT_HASH_LENGTH,
            "hashes": [
                hashers.make_password("pässword", hasher=h) for h in hashers.get_hashers()
            ],
        }
    )
)
