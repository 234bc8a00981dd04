"""Parts that the settings name."""

from django.contrib.auth import hashers
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.core.signing import JSONSerializer


class Backend(ModelBackend):
    """Its sessions are Django's, its passwords aren't."""

    def authenticate(self, request, username=None, password=None):
        return None


class Banning(ModelBackend):
    def get_user(self, user_id):
        user = super().get_user(user_id)
        return None if user is None or user.username.startswith("x") else user


class Impersonating(AuthenticationMiddleware):
    def process_request(self, request):
        super().process_request(request)


class Dates(JSONSerializer):
    def dumps(self, obj):
        return super().dumps(obj)


class Pickles:
    pass


class Slow(hashers.PBKDF2PasswordHasher):
    iterations = 2_000_000


class Peppered(hashers.PBKDF2PasswordHasher):
    algorithm = "pbkdf2_sha256"

    def verify(self, password, encoded):
        return super().verify(password + "pepper", encoded)


class Elsewhere:
    """Puts sessions into a database of their own."""

    database = "same"

    def db_for_read(self, model, **hints):
        return self.database if model._meta.app_label == "sessions" else None

    db_for_write = db_for_read


class FarAway(Elsewhere):
    database = "other"
