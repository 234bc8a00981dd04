# Whose sessions Django accepts, and where it keeps them.

import importlib
import inspect

from django.conf import settings
from django.contrib.auth import load_backend
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.signing import JSONSerializer
from django.db import connections, router
from django.shortcuts import resolve_url
from django.utils.module_loading import import_string

ENGINE = "SESSION_ENGINE"


class Logins(Noted):
    """A way to log in, for the users of a table."""

    def __init__(self, users):
        super().__init__()
        self.users = users


class Unsupported(Exception):
    """Something of Django's that the gateway can't do, with the setting that it is about."""

    def __init__(self, about, text):
        self.about, self.text = about, text


def name_of(cls):
    return "%s.%s" % (cls.__module__, cls.__qualname__)


def own(cls, *methods, of=("django",)):
    """Return those methods of a class that aren't of these packages."""
    found = []
    for name in methods:
        function = inspect.getattr_static(cls, name, None)
        function = getattr(function, "__func__", getattr(function, "fget", getattr(function, "func", function)))
        module = getattr(function, "__globals__", {}).get("__name__", "django")
        if module.partition(".")[0] not in of:
            found.append(name)
    return found


def place(model, columns, about):
    """Tell where the table of a model is, which must have these columns."""
    fields = {field.column for field in model._meta.concrete_fields}
    lacking = [column for column in columns if column not in fields]
    if lacking:
        raise Unsupported(about, "the table of %s has no column %s" % (name_of(model), " and no column ".join(lacking)))
    alias = router.db_for_write(model)
    try:
        table = parts(connections[alias], model._meta.db_table)
    except Undecided as undecided:
        raise Unsupported(about, str(undecided)) from None
    return {"table": table, "database": database(alias)}


def check_rows_of(users, model, about):
    """Raise Unsupported where the manager of a model may hide rows."""
    manager = getattr(model, "objects", None)
    try:
        if manager is None:
            raise Undecided("there is no manager objects")
        Dependencies(manager).check()
        if users.hides_rows(manager.get_queryset()):
            raise Undecided("it hides some")
    except Undecided as undecided:
        raise Unsupported(about, "which rows of %s count is decided by its manager: %s" % (name_of(model), undecided)) from None


class Sessions(Logins):
    """What there is to know of django.contrib.sessions and the logins in it."""

    STORES = "cached_db db signed_cookies".split()  # cached_db is a class of db's, too
    # What reads a session. What writes one differs as the salt does.
    READS = "decode load _get_session _get_session_from_db _get_session_key _validate_session_key _hash".split()

    def describe(self):
        """Return what the gateway needs, or None where Django has no sessions or they can't be read."""
        try:
            return self.found() if self.is_in_use() else None
        except Unsupported as unsupported:
            self.note(unsupported.about, "%s: the gateway can't accept Django's sessions" % unsupported.text)
        except Exception as error:
            self.note(ENGINE, "it fails with %s: nothing is known of Django's sessions" % type(error).__name__)
        return None

    def is_in_use(self):
        """Tell whether Django logs users in by sessions at all."""
        needed = {SessionMiddleware: False, AuthenticationMiddleware: False}
        for path in settings.MIDDLEWARE:
            cls = import_string(path)
            for stock in needed:
                if inspect.isclass(cls) and issubclass(cls, stock):
                    needed[stock] = True
                    if own(cls, "__call__", "process_request"):
                        raise Unsupported("MIDDLEWARE", "%s decides by its own code whose session a request has" % path)
        return all(needed.values())

    def found(self):
        store = importlib.import_module(settings.SESSION_ENGINE).SessionStore
        engine = self.engine(store)
        self.check_user()
        self.check_signing(store)
        kept = None if engine == "signed_cookies" else self.rows(store)
        salt = store("a" * 32).key_salt
        return {
            "engine": engine,
            "key_salt": None if engine == "signed_cookies" or salt == "django.contrib.sessions.SessionStore" else salt,
            "place": kept,
            "backends": self.backends(),
            "login_url": self.login_url(),
        }

    def engine(self, store):
        for name in self.STORES:
            stock = importlib.import_module("django.contrib.sessions.backends." + name).SessionStore
            if not issubclass(store, stock):
                continue
            methods = own(store, *self.READS)
            if methods:
                raise Unsupported(ENGINE, "%s reads sessions by its own %s" % (name_of(store), " and ".join(methods)))
            return name
        if settings.SESSION_ENGINE.startswith("django.contrib.sessions.backends."):
            raise Unsupported(ENGINE, "%s keeps sessions where the gateway can't read them; cached_db and db have them in the database" % settings.SESSION_ENGINE)
        raise Unsupported(ENGINE, "%s is none of Django's classes db, cached_db and signed_cookies, nor derived from one" % name_of(store))

    def check_signing(self, store):
        serializer = import_string(settings.SESSION_SERIALIZER)
        if not issubclass(serializer, JSONSerializer) or own(serializer, "loads"):
            raise Unsupported("SESSION_SERIALIZER", "%s isn't Django's JSONSerializer" % settings.SESSION_SERIALIZER)
        if getattr(settings, "DEFAULT_HASHING_ALGORITHM", "sha256") != "sha256":
            raise Unsupported("DEFAULT_HASHING_ALGORITHM", "the gateway checks no signatures by %s" % settings.DEFAULT_HASHING_ALGORITHM)

    def check_user(self):
        about = "AUTH_USER_MODEL"
        model = self.users.model
        if not hasattr(model, "get_session_auth_hash"):
            raise Unsupported(about, "the user model has no get_session_auth_hash, so that its sessions don't end with the password")
        if own(model, "get_session_auth_hash"):
            raise Unsupported(about, "the user model has its own get_session_auth_hash")
        if not self.users.columns["password"]:
            raise Unsupported(about, "the gateway doesn't read the user's password, which ends sessions")

    def rows(self, store):
        model = store.get_model_class()
        kept = place(model, ("session_key", "session_data", "expire_date"), ENGINE)
        check_rows_of(self.users, model, ENGINE)
        return kept

    def backends(self):
        """Return the backends whose users the gateway finds as they do."""
        kept = []
        for path in settings.AUTHENTICATION_BACKENDS:
            why = self.why_not(load_backend(path))
            if why:
                self.note("AUTHENTICATION_BACKENDS", "sessions of users whom %s has logged in aren't accepted: %s" % (path, why))
            else:
                kept.append(path)
        if not kept:
            raise Unsupported("AUTHENTICATION_BACKENDS", "none of them finds users as Django's own do")
        return kept

    def why_not(self, backend):
        methods = own(type(backend), "get_user", "user_can_authenticate", of=("django", "sesame"))
        if methods:
            return "it decides by its own %s who is let in, which the gateway doesn't run. If it lets in no fewer than Django's ModelBackend, add it to backends" % " and ".join(methods)
        if type(backend).get_user.__globals__["__name__"].startswith("sesame") and self.users.key != "pk":
            return "it takes the primary key in a session for the field SESAME_PRIMARY_KEY_FIELD"
        try:
            if asked_by(backend.get_user, self.users.sample_key()) is None:
                return "it finds no users"
        except Undecided:
            pass  # the import asks the operator about the manager
        if "is_active" in self.users.computed:
            return None  # which the import asks the operator about
        if self.users.ignores_active() and not self.users.is_allowed(False, True, backend):
            return "it lets in active users only, and the gateway doesn't look at is_active here"
        return None

    def login_url(self):
        try:
            with no_queries():
                return str(resolve_url(settings.LOGIN_URL))
        except (Asked, Exception):
            return None
