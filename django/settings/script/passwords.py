# Which passwords Django accepts, and who needs more than a password.

import inspect
import re

from django.apps import apps
from django.conf import global_settings, settings
from django.contrib.auth import load_backend
from django.db import connections
from django.utils.module_loading import import_string

# Parts of the names of applications that may ask for a second factor.
SECOND_FACTOR = re.compile(r"(?i)(^|[._])(mfa2?|otp|totp|2fa|twofactor|two_factor|multifactor|u2f|fido2?|webauthn|passkeys?|trench|yubi\w*|duo)($|[._])")


class Passwords(Logins):
    """What there is to know of passwords."""

    # What checks a password, and the attributes that only new hashes depend on.
    CHECKS = "verify encode decode _check_encode_args".split()
    PARAMETERS = "iterations time_cost memory_cost parallelism rounds work_factor block_size salt_entropy".split()

    def describe(self):
        """Return what the gateway needs, or None where Django checks no passwords in the users' table."""
        try:
            identifiers = self.identifiers()
            if not identifiers or not self.users.columns["password"]:
                return None
            return {"identifiers": identifiers, "hashers": self.hashers(), "second_factors": self.second_factors()}
        except Exception as error:
            self.note("PASSWORD_HASHERS", "nothing is known of Django's passwords: it fails with %s" % type(error).__name__)
            return None

    def identifiers(self):
        """Return what users type with their passwords: username, email or both."""
        from django.contrib.auth.backends import ModelBackend

        found = []
        for path in settings.AUTHENTICATION_BACKENDS:
            cls = type(load_backend(path))
            if cls.authenticate is ModelBackend.authenticate:
                found.append("username")
            elif cls.authenticate.__globals__["__name__"] == "allauth.account.auth_backends":
                found.extend(self.allauths())
            elif self.takes_passwords(cls):
                self.note("AUTHENTICATION_BACKENDS", "%s checks passwords by its own code, which option password doesn't run" % path)
        if "username" in found and own(type(self.users.manager), "get_by_natural_key"):
            self.note("AUTH_USER_MODEL", "the model's manager has its own get_by_natural_key to find users by name; option password compares names as the column's collation does")
        return [name for name in ("username", "email") if name in found]

    def takes_passwords(self, cls):
        try:
            inspect.signature(cls.authenticate).bind(None, None, username="", password="")
        except TypeError:
            return False
        return bool(own(cls, "authenticate", of=("django", "sesame")))

    def allauths(self):
        from allauth.account import app_settings

        methods = getattr(app_settings, "LOGIN_METHODS", None) or str(app_settings.AUTHENTICATION_METHOD)
        methods = " ".join(str(getattr(method, "value", method)).lower() for method in ([methods] if isinstance(methods, str) else methods))
        return [name for name in ("username", "email") if name in methods]

    def hashers(self):
        """Describe PASSWORD_HASHERS, or return None for Django's default."""
        if list(settings.PASSWORD_HASHERS) == list(global_settings.PASSWORD_HASHERS):
            return None
        return [self.hasher(path) for path in settings.PASSWORD_HASHERS]

    def hasher(self, path):
        try:
            cls = import_string(path)
        except ImportError:
            return {"path": path, "algorithm": None, "own": [], "changed": []}
        stock = next((base for base in cls.__mro__ if base.__module__.partition(".")[0] == "django"), cls)
        differs = [name for name in self.PARAMETERS if getattr(cls, name, None) != getattr(stock, name, None)]
        methods = own(cls, *self.CHECKS)
        if getattr(cls, "digest", None) != getattr(stock, "digest", None):
            methods.append("digest")
        return {"path": path, "algorithm": getattr(cls, "algorithm", None), "own": methods, "changed": differs}

    def second_factors(self):
        """Tell which tables say that users have second factors, and which applications might ask for some."""
        tables, unknown = [], []
        for model in apps.get_models():
            names = {name_of(base) for base in model.__mro__}
            if "django_otp.models.Device" in names or "allauth.mfa.models.Authenticator" in names:
                tables.append(".".join(parts(connections[self.users.using], model._meta.db_table)))
        for app in apps.get_app_configs():
            if SECOND_FACTOR.search(app.name) and app.name.partition(".")[0] not in ("django_otp", "allauth"):
                unknown.append(app.name)
        return {"tables": sorted(set(tables)), "unknown": sorted(unknown)}
