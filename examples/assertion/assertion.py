"""Identifies the user by caddy-sesame's assertions.

Needs PyJWT and cryptography (Debian: python3-jwt python3-cryptography).
"""

import json
import threading
import time
import urllib.request

import jwt


class Refused(Exception):
    """The request has no assertion that holds. Answer 401."""


class Assertions:
    """Verifies assertions for one application. Make one, and use it for all requests."""

    LEEWAY = 5  # seconds by which the clocks may differ
    FRESH = 300  # seconds after which the keys are read again
    STALE = 3600  # seconds after which keys that can't be read again are no good
    PAUSE = 10  # seconds between two attempts to read the keys

    def __init__(self, keys_url, audience, issuer="caddy-sesame"):
        self.keys_url, self.audience, self.issuer = keys_url, audience, issuer
        self._lock = threading.Lock()
        self._keys, self._read, self._tried = {}, float("-inf"), float("-inf")

    def verify(self, authorization):
        """Returns the claims of the value of Authorization, or raises Refused.

        Servers join the values of a field that comes twice, and those don't hold.
        """
        scheme, _, assertion = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not assertion:
            raise Refused("there is no assertion")
        try:
            header = jwt.get_unverified_header(assertion)
            # The algorithm is ours to say, not the assertion's.
            return jwt.decode(
                assertion,
                self._key(header.get("kid")),
                algorithms=["EdDSA"],
                audience=self.audience,
                issuer=self.issuer,
                leeway=self.LEEWAY,
                options={"require": ["iss", "sub", "aud", "iat", "nbf", "exp"]},
            )
        except jwt.PyJWTError as err:
            raise Refused(str(err)) from err

    def _key(self, kid):
        with self._lock:
            now = time.monotonic()
            if kid not in self._keys or now - self._read > self.FRESH:
                self._read_keys(now)
            if kid not in self._keys or now - self._read > self.STALE:
                raise Refused("no key has this id")
            return self._keys[kid]

    def _read_keys(self, now):
        # Clients can name keys that don't exist: this must not cause a request
        # each time.
        if now - self._tried < self.PAUSE:
            return
        self._tried = now
        try:
            with urllib.request.urlopen(self.keys_url, timeout=3) as answer:
                keys = json.loads(answer.read(1 << 16))["keys"]
            self._keys = {
                key["kid"]: jwt.PyJWK(key).key
                for key in keys
                if key.get("kty") == "OKP" and key.get("crv") == "Ed25519"
            }
            self._read = now
        except (OSError, ValueError, KeyError, TypeError, AttributeError, jwt.PyJWTError):
            pass  # those of before serve for a while
