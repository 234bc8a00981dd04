# Which tokens of APIs Django accepts: those of Django REST framework, of knox
# and of SimpleJWT.

import hashlib
import sys

from django.apps import apps
from django.conf import settings
from django.core.exceptions import FieldDoesNotExist
from django.urls import get_resolver

REST = "REST_FRAMEWORK"


class APITokens(Logins):
    """The classes of rest_framework that authenticate, and what the gateway can do of it."""

    LIBRARIES = ("django", "rest_framework", "knox", "rest_framework_simplejwt")
    METHODS = "authenticate authenticate_credentials authenticate_header get_model get_header get_raw_token get_validated_token get_user validate_user renew_token".split()
    KINDS = {
        "rest_framework.authentication.TokenAuthentication": "drf",
        "knox.auth.TokenAuthentication": "knox",
        "rest_framework_simplejwt.authentication.JWTAuthentication": "simplejwt",
        "rest_framework.authentication.BasicAuthentication": "basic",
        "rest_framework.authentication.SessionAuthentication": "session",
    }
    # These are printed; the keys aren't.
    JWT = """
        ALGORITHM AUDIENCE ISSUER LEEWAY AUTH_HEADER_TYPES USER_ID_CLAIM
        TOKEN_TYPE_CLAIM JTI_CLAIM CHECK_REVOKE_TOKEN REVOKE_TOKEN_CLAIM
        CHECK_USER_IS_ACTIVE
    """.split()

    def describe(self):
        if "rest_framework" not in sys.modules and not apps.is_installed("rest_framework"):
            return {"tokens": [], "basic": False}
        tokens, basic = [], False
        for cls, scope in self.classes():
            kind = next((self.KINDS[name_of(base)] for base in cls.__mro__ if name_of(base) in self.KINDS), None)
            try:
                if kind is None or kind != "session" and own(cls, *self.METHODS, of=self.LIBRARIES):
                    raise Unsupported(REST, "%s authenticates by its own code, which the gateway doesn't run" % name_of(cls))
                basic = basic or kind == "basic" and scope == "all"
                if kind not in ("basic", "session"):
                    self.check_user(kind)
                    token = {"kind": kind, "scope": scope, **getattr(self, kind)(cls)}
                    if not any({**token, "scope": ""} == {**other, "scope": ""} for other in tokens):
                        tokens.append(token)
            except Unsupported as unsupported:
                self.note(unsupported.about, unsupported.text)
            except Exception as error:
                self.note(REST, "nothing is known of the tokens of %s: it fails with %s" % (name_of(cls), type(error).__name__))
        return {"tokens": tokens, "basic": basic}

    def classes(self):
        """Return the classes that authenticate, those of the settings first, with where they do."""
        try:
            from rest_framework.settings import api_settings

            everywhere = list(api_settings.DEFAULT_AUTHENTICATION_CLASSES)
        except Exception as error:
            self.note(REST, "its DEFAULT_AUTHENTICATION_CLASSES fail with %s" % type(error).__name__)
            everywhere = []
        some = []
        try:
            with no_queries():
                self.walk(get_resolver().url_patterns, some)
        except (Asked, Exception) as error:
            self.note("ROOT_URLCONF", "its views can't be looked at for tokens that only some of them accept: it fails with %s" % type(error).__name__)
        return [(cls, "all") for cls in everywhere] + [(cls, "some") for cls in some if cls not in everywhere]

    def walk(self, patterns, found):
        for pattern in patterns:
            if hasattr(pattern, "url_patterns"):
                self.walk(pattern.url_patterns, found)
                continue
            view = getattr(pattern, "callback", None)
            cls = getattr(view, "cls", getattr(view, "view_class", None))
            given = getattr(view, "initkwargs", getattr(view, "view_initkwargs", None)) or {}
            for authenticating in given.get("authentication_classes", getattr(cls, "authentication_classes", ())):
                if isinstance(authenticating, type) and authenticating not in found:
                    found.append(authenticating)

    def check_user(self, kind):
        if self.users.ignores_active():
            raise Unsupported("AUTHENTICATION_BACKENDS", "tokens (%s) are accepted of active users only, and the gateway doesn't look at is_active here: it can't accept them" % kind)

    def table(self, model, columns, about):
        """Tell where tokens are, which refer to users by user_id."""
        kept = place(model, columns, about)
        check_rows_of(self.users, model, about)
        field = model._meta.get_field("user")
        if field.column != "user_id" or field.target_field is not self.users.model._meta.pk:
            raise Unsupported(about, "the table of %s doesn't refer to the primary key of users by user_id" % name_of(model))
        return kept

    def drf(self, cls):
        model = cls().get_model()
        if model._meta.abstract:
            raise Unsupported("INSTALLED_APPS", "%s authenticates, and rest_framework.authtoken isn't installed" % name_of(cls))
        return {"keyword": cls.keyword, "place": self.table(model, ("key", "user_id"), REST)}

    def knox(self, cls):
        from knox import crypto, models
        from knox.settings import knox_settings

        about = "REST_KNOX"
        model = models.get_token_model() if hasattr(models, "get_token_model") else models.AuthToken
        digest = crypto.hash_token("ab")
        generations = {hashlib.sha512(b"ab").hexdigest(): 5, hashlib.sha512(b"\xab").hexdigest(): 4}
        if digest not in generations:
            raise Unsupported(about, "its SECURE_HASH_ALGORITHM isn't SHA-512")
        return {
            "generation": generations[digest],
            "place": self.table(model, ("digest", "token_key", "user_id", "created", "expiry"), about),
            "settings": {
                name: plain(getattr(knox_settings, name, None))
                for name in ("AUTH_HEADER_PREFIX", "AUTO_REFRESH", "AUTO_REFRESH_MAX_TTL", "MIN_REFRESH_INTERVAL", "TOKEN_TTL")
            },
        }

    def simplejwt(self, cls):
        from rest_framework_simplejwt.settings import api_settings

        about = "SIMPLE_JWT"
        if "stateless" in cls.get_user.__qualname__.lower() or "TokenUser" in cls.get_user.__qualname__:
            self.note(REST, "%s accepts tokens of users who were deleted or aren't active, and the gateway doesn't" % name_of(cls))
        elif self.users.model._default_manager is not getattr(self.users.model, "objects", None):
            raise Unsupported(about, "SimpleJWT finds users by another manager than Django's backends")
        if getattr(api_settings, "JWK_URL", None):
            raise Unsupported(about, "JWK_URL: the gateway fetches no keys, so it can't accept these tokens")
        if getattr(api_settings, "AUTH_HEADER_NAME", "HTTP_AUTHORIZATION") != "HTTP_AUTHORIZATION":
            raise Unsupported(about, "AUTH_HEADER_NAME: the gateway looks for tokens in Authorization only")
        classes = api_settings.AUTH_TOKEN_CLASSES
        for token in classes:
            if own(token, "__init__", "verify", "verify_token_type", "check_exp", "get_token_backend", "check_blacklist", of=self.LIBRARIES):
                raise Unsupported(about, "%s checks tokens by its own code, which the gateway doesn't run" % name_of(token))
        return {
            "settings": {name: plain(getattr(api_settings, name)) for name in self.JWT if hasattr(api_settings, name)},
            "types": [str(token.token_type) for token in classes],
            "own_key": api_settings.SIGNING_KEY != settings.SECRET_KEY,
            "user_column": self.user_column(api_settings.USER_ID_FIELD),
            "blacklist": self.blacklist(classes),
        }

    def user_column(self, name):
        """Return the column that SimpleJWT finds users by, or None for Django's primary key."""
        model = self.users.model
        try:
            column = (model._meta.pk if name == "pk" else model._meta.get_field(name)).column
        except FieldDoesNotExist:
            raise Unsupported("SIMPLE_JWT", "USER_ID_FIELD: the user model has no such field") from None
        return None if column == model._meta.pk.column else column

    def blacklist(self, classes):
        """Tell where tokens are listed that were ended before their time, if Django looks there."""
        if not any(hasattr(token, "check_blacklist") for token in classes) or not apps.is_installed("rest_framework_simplejwt.token_blacklist"):
            return None
        from rest_framework_simplejwt.token_blacklist import models

        return {
            "outstanding": place(models.OutstandingToken, ("id", "jti"), "SIMPLE_JWT"),
            "blacklisted": place(models.BlacklistedToken, ("token_id",), "SIMPLE_JWT"),
        }
