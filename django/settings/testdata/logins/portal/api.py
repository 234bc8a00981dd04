"""Classes of rest_framework that authenticate."""

import hashlib

from django.conf import settings
from rest_framework.authentication import BaseAuthentication, TokenAuthentication


def sha256(data=b""):
    """A digest for knox 5, which calls it, and for 4, which gives it to cryptography."""
    if not data:
        from cryptography.hazmat.primitives import hashes

        return hashes.SHA256()
    return hashlib.sha256(data)


class BearerAuthentication(TokenAuthentication):
    keyword = "Bearer"


class KeyAuthentication(BaseAuthentication):
    def authenticate(self, request):
        return None


if "SIMPLE_JWT" in dir(settings) or "rest_framework_simplejwt" in settings.INSTALLED_APPS:
    from rest_framework_simplejwt.authentication import JWTAuthentication

    class CookieAuthentication(JWTAuthentication):
        def authenticate(self, request):
            return None
