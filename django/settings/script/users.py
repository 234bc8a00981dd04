# Which users Django lets in, and where the database has what Django reads of them.

import inspect
import re
import uuid

from django.conf import settings
from django.contrib.auth import get_user_model, load_backend
from django.core.exceptions import EmptyResultSet, FieldDoesNotExist, PermissionDenied
from django.db import connections, models, router
from django.db.models.expressions import RawSQL
from django.db.models.query import ModelIterable
from django.db.models.query_utils import DeferredAttribute

MODEL, BACKENDS = "AUTH_USER_MODEL", "AUTHENTICATION_BACKENDS"

# Functions of MySQL that differ from connection to connection.
LOCAL_TIME = re.compile(r"(?i)\b(current_(timestamp|date|time)|localtime(stamp)?|(now|curdate|curtime|sysdate|unix_timestamp|from_unixtime) *\()")
OF_SESSION = re.compile(r"(?i)@|\bcurrent_(user|role)\b|\b(user|session_user|system_user|connection_id|database|schema|last_insert_id|rand|uuid(_short)?) *\(")


class Noted:
    """What notes for the operator come with."""

    def __init__(self):
        self.notes = []

    def note(self, about, text):
        self.notes.append({"setting": about, "text": text})


class Users(Noted):
    """The user model, compared with what a gateway can read from a table."""

    def __init__(self):
        self.model = get_user_model()
        self.manager = self.model._default_manager
        self.using = router.db_for_read(self.model)
        self.key = getattr(settings, "SESAME_PRIMARY_KEY_FIELD", "pk")
        super().__init__()
        self.undecided = []
        self.asked = None
        self.is_opaque = False  # whether the backend decides about users by code of the project
        # The gateway's columns, and the attributes of the model that they stand for.
        self.names = {
            "primary_key": self.key,
            "password": "password",
            "last_login": "last_login",
            "is_active": "is_active",
            "email": self.model.get_email_field_name(),
            "username": self.model.USERNAME_FIELD,
            "is_staff": "is_staff",
            "is_superuser": "is_superuser",
        }

    def describe(self):
        self.backend = self.choose_backend()
        self.annotated = self.find_annotated()
        self.columns = {name: None if name in self.annotated else self.column(name) for name in self.names}
        self.check_attributes()
        self.check_active()
        self.check_routers()
        return {
            "table": self.guarded(self.parts, self.model._meta.db_table),
            "columns": self.columns,
            "view": self.check_rows(),
            "groups": self.membership("groups", "auth.Group"),
            "permissions": self.membership("user_permissions", "auth.Permission"),
            "computed": sorted(self.computed),
            "undecided": self.undecided,
            "notes": self.notes,
        }

    def decide(self, about, text):
        self.undecided.append({"setting": about, "text": text})

    def guarded(self, function, *arguments):
        """Call a function, and have the operator decide where it can't tell."""
        try:
            return function(*arguments)
        except Undecided as undecided:
            self.decide(MODEL, str(undecided))
            return None

    def parts(self, name):
        return parts(connections[self.using], name)

    def check_routers(self):
        for chosen in router.routers:
            found = Routing(type(chosen)).found
            if found:
                name = "%s.%s" % (type(chosen).__module__, type(chosen).__qualname__)
                self.decide("DATABASE_ROUTERS", "%s chooses the database of users by %s, which may differ between requests" % (name, ", ".join(sorted(found))))

    # The backend, which reads the user of a token, and decides about it.

    def choose_backend(self):
        """Choose the backend that accepts every user whom Django accepts with a token."""
        backends = [load_backend(path) for path in settings.AUTHENTICATION_BACKENDS]
        try:
            from sesame import backends as sesame

            accepts = getattr(sesame, "SesameBackendMixin", sesame.ModelBackend)
        except ImportError:
            accepts = ()
        chosen = [backend for backend in backends if isinstance(backend, accepts)]
        methods = ("authenticate", "get_user", "user_can_authenticate")
        if not chosen:
            self.note(BACKENDS, "none of them accepts tokens of django-sesame. The gateway does, of users whom they let in otherwise: set max_age, so that the tokens expire")
            chosen, methods = backends, methods[1:]
        for backend in chosen:
            if all(is_known(type(backend), method) for method in methods):
                self.check_refusals(backends[: backends.index(backend)])
                return backend
        if not chosen:
            self.decide(BACKENDS, "it is empty: Django lets no user in")
            return None
        cls = type(chosen[0])
        unknown = [method for method in methods if not is_known(cls, method)]
        self.decide(
            BACKENDS,
            "%s.%s decides which users are let in by its own %s, which the gateway doesn't run"
            % (cls.__module__, cls.__qualname__, " and ".join(unknown)),
        )
        self.is_opaque = True
        return chosen[0]

    def check_refusals(self, backends):
        """Find backends that are asked before, and may end a login of django-sesame's."""
        for backend in backends:
            cls = type(backend)
            if is_known(cls, "authenticate"):
                continue
            try:
                inspect.signature(backend.authenticate).bind(None, sesame="")
            except TypeError:
                continue  # Django doesn't ask it about tokens
            if any(issubclass(raised, PermissionDenied) for raised in Authentication(cls).exceptions):
                self.decide(BACKENDS, "%s.%s may reject users before django-sesame is asked, which the gateway doesn't know" % (cls.__module__, cls.__qualname__))

    # The rows, which the default manager chooses.

    def check_rows(self):
        """Find out which rows Django finds users in; describe a view if that isn't all rows of one table."""
        name = "%s.%s" % (type(self.manager).__module__, type(self.manager).__qualname__)
        try:
            self.ask()
            queryset = self.manager.get_queryset()
            if self.hides_rows(queryset):
                view = self.view(queryset)
                self.note(MODEL, "Django doesn't find all users: its manager %s hides some. The view hides the same" % name)
                return view
            if self.needs_view():
                return self.view(queryset)
            return None
        except Undecided as undecided:
            why = str(undecided)
        except Exception as error:
            why = "outside of a request it fails with %s" % type(error).__name__
        self.decide(MODEL, "Django's manager %s may hide users, and which isn't known: %s" % (name, why))
        condition = "0 /* write here which users Django finds */"
        try:
            return self.view(models.QuerySet(self.model).using(self.using).extra(where=[condition]), complete=False)
        except Exception:
            return None

    def ask(self):
        """Have Django look a user up, and compare that with the queryset of the manager."""
        dependencies = Dependencies(self.manager)
        dependencies.check()
        key = self.sample_key()
        name = self.key
        if self.backend is not None and is_known(type(self.backend), "get_user"):
            self.asked = asked_by(self.backend.get_user, key)
            # Django's own backends know nothing of SESAME_PRIMARY_KEY_FIELD.
            if not type(self.backend).get_user.__globals__["__name__"].startswith("sesame"):
                name = "pk"
        else:
            self.asked = asked_by(lambda: self.manager.get(**{name: key}))
        asked = self.asked
        if asked is None or asked.query is None or asked.query.model._meta.concrete_model is not self.model._meta.concrete_model:
            raise Undecided("before users are looked up, something else is asked for")
        queryset = self.manager.get_queryset()
        dependencies.add_class(type(queryset))
        dependencies.check()
        if queryset._iterable_class is not ModelIterable:
            raise Undecided("it makes no plain instances of the model")
        for cls in (type(self.manager), type(queryset)):
            for method in ("get", "iterator", "_fetch_all", "__iter__", "__len__", "__getitem__"):
                if inspect.getattr_static(cls, method, None) is not None and not is_known(cls, method):
                    raise Undecided("%s has its own %s" % (cls.__qualname__, method))
        try:
            expected = compiled(models.QuerySet.filter(queryset, **{name: key}).query, asked.using)
            if compiled(asked.query, asked.using) != expected:
                raise Undecided("it doesn't look users up as Django's managers do")
        except EmptyResultSet:
            raise Undecided("outside of a request it finds no users") from None

    def sample_key(self):
        """Return something that can be looked up as a primary key."""
        for value in (1, uuid.UUID(int=1), b"1", "1" * 24):
            try:
                compiled(models.QuerySet(self.model).filter(**{self.key: value}).query, self.using)
            except Exception:
                continue
            return value
        raise Undecided("no primary key could be looked up")

    def hides_rows(self, queryset):
        """Tell whether a queryset leaves rows of the model's table out."""
        query = queryset.query.clone()
        chosen = set(query.alias_map)
        query.get_compiler(queryset.db).pre_sql_setup()  # makes the joins of select_related
        for alias, join in query.alias_map.items():
            field = getattr(join, "join_field", None)
            if alias in chosen or field is None or join.join_type != "INNER JOIN":
                continue
            is_parent = getattr(field.remote_field, "parent_link", False)
            if not is_parent and not getattr(field, "db_constraint", False):
                raise Undecided("its select_related hides users whose %s doesn't exist" % field.name)
        return bool(query.where or query.is_sliced or query.combinator or query.extra_tables)

    def needs_view(self):
        """Tell whether what the gateway reads is computed in SQL, or in several tables."""
        tables = {tuple(column["table"]) for column in self.columns.values() if column}
        return bool(self.annotated) or len(tables) > 1 or "is_active" in self.computed

    def view(self, queryset, complete=True):
        """Write the SELECT of a view whose columns have the names of auth_user's."""
        fields = {name: self.names[name] for name, column in self.columns.items() if column}
        if self.key != "pk":
            fields["pk"] = "pk"
        computed = {name: self.names[name] for name in self.annotated}
        if "is_active" in self.computed:
            condition = RawSQL("0 /* write here when is_active is true */", (), models.IntegerField())
            queryset = queryset.annotate(gateway_is_active=condition)
            computed["is_active"] = "gateway_is_active"
            complete = False
        query = queryset.order_by().values_list(*fields.values(), *computed.values()).query
        sql, parameters = compiled(query, queryset.db)
        self.check_session(sql)
        columns = ["id" if name == "primary_key" else name for name in [*fields, *computed]]
        is_grouped = query.distinct or query.group_by is not None or query.combinator
        return {
            "select": sql % tuple(literal(parameter) for parameter in parameters),
            "columns": columns,
            "writable": not is_grouped and sql.count("SELECT") == 1,
            "complete": complete,
        }

    def check_session(self, sql):
        """Find what the gateway's connections compute otherwise than Django's. They are in UTC."""
        if OF_SESSION.search(sql):
            raise Undecided("its SQL depends on who is connected")
        if not LOCAL_TIME.search(sql):
            return
        if not settings.USE_TZ:
            raise Undecided("its SQL compares with the time in the time zone of the connection, which is UTC for the gateway")
        self.note(MODEL, "the view compares with the current time in UTC, and Django in the time zone of the MySQL server: see that it is UTC, too")

    # The columns, which hold what Django reads of a user.

    def field(self, name):
        attribute = self.names[name]
        try:
            field = self.model._meta.pk if attribute == "pk" else self.model._meta.get_field(attribute)
        except FieldDoesNotExist:
            return None
        return field if getattr(field, "column", None) else None

    def find_annotated(self):
        """Return the columns that the manager computes in SQL, in the place of attributes without a field."""
        try:
            query = self.manager.get_queryset().query
        except Exception:
            return []
        return [
            name
            for name, attribute in self.names.items()
            # Annotations can't have the name of a field.
            if attribute in query.extra or attribute in query.annotations and self.field(name) is None
        ]

    def column(self, name):
        """Describe the column with an attribute, or return None where there is none."""
        field = self.field(name)
        if field is None:
            return None
        table = self.guarded(self.parts, field.model._meta.db_table)
        kind = getattr(field, "output_field", None) or field
        return table and {"column": field.column, "table": table, "type": kind.get_internal_type(), "null": field.null}

    def check_attributes(self):
        """Find out which attributes aren't what is in their columns."""
        self.computed = {}
        for name in self.names:
            why = None if name in self.annotated else self.why_computed(name)
            if why:
                self.computed[name] = why
                self.columns[name] = None
        one_time = getattr(settings, "SESAME_ONE_TIME", False)
        needed = {"primary_key", "username"}
        if getattr(settings, "SESAME_INVALIDATE_ON_PASSWORD_CHANGE", True):
            needed.add("password")
        if getattr(settings, "SESAME_INVALIDATE_ON_EMAIL_CHANGE", False):
            needed.add("email")
        if one_time:
            needed.add("last_login")
        for name, why in self.computed.items():
            if name in needed:
                self.decide(MODEL, "%s isn't what is in a column: %s" % (self.names[name], why))
            elif name != "is_active":
                self.note(MODEL, "%s isn't what is in a column, and the gateway doesn't read it: %s" % (self.names[name], why))
        for name in ("get_session_auth_hash", "get_username", "has_perm", "get_all_permissions"):
            function = inspect.getattr_static(self.model, name, None)
            if function is not None and not is_known(self.model, name):
                self.note(MODEL, "the gateway doesn't run the model's own %s" % name)

    def why_computed(self, name):
        """Tell why an attribute isn't what is in the column of its name, if it isn't."""
        attribute, field = self.names[name], self.field(name)
        if field is None:
            value = inspect.getattr_static(self.model, attribute, None)
            if value is None or isinstance(value, bool):
                return None
            return "the model computes it (%s)" % type(value).__name__
        if attribute == "pk" and not is_known(self.model, "pk"):
            return "the model has its own property"
        for attr in (field.attname, field.name):
            descriptor = inspect.getattr_static(self.model, attr, None)
            # A constant, as AbstractBaseUser.is_active, is hidden by what a row has.
            if hasattr(descriptor, "__get__") and not type(descriptor).__module__.startswith("django.db.models."):
                return "the model computes it (%s)" % type(descriptor).__name__
        for method in ("from_db_value", "get_db_converters", "get_prep_value", "get_db_prep_value"):
            if hasattr(field, method) and not is_known(type(field), method):
                return "its field %s.%s converts it" % (type(field).__module__, type(field).__qualname__)
        return None

    def check_active(self):
        """Find out whom the backend lets in, by is_active."""
        if "is_active" in self.computed:
            self.decide(MODEL, "is_active isn't what is in a column: %s" % self.computed["is_active"])
        elif self.is_opaque:
            self.computed["is_active"] = "the backend decides"
        elif self.backend is not None:
            try:
                self.check_instances()
                self.check_verdict({value: self.is_allowed(value, True) for value in (True, False, None)})
            except Undecided as undecided:
                self.computed["is_active"] = str(undecided)
                self.decide(MODEL, str(undecided))
            except (Asked, Exception) as error:
                self.computed["is_active"] = "unknown"
                self.decide(MODEL, "which users may log in isn't known: an instance of the model fails with %s" % type(error).__name__)
        if "is_active" in self.computed:
            self.columns["is_active"] = None

    def check_verdict(self, allowed):
        """Compare what the backend makes of values of is_active with what the gateway does."""
        column = self.columns["is_active"]
        if not allowed[True]:
            raise Undecided("Django lets no user in, whatever is_active is")
        if allowed[False] and (column or "is_active" in self.annotated):
            self.columns["is_active"] = None
            self.annotated = [name for name in self.annotated if name != "is_active"]
            self.note(BACKENDS, "%s doesn't look at is_active, so the gateway doesn't either" % type(self.backend).__qualname__)
            return
        if column and not column["type"].endswith(("BooleanField", "IntegerField", "DecimalField")):
            raise Undecided("is_active is a %s, and must be a number or a boolean" % column["type"])
        if column and column["null"] and allowed[None]:
            self.note(MODEL, "Django lets users in whose is_active is NULL, and the gateway doesn't")

    def check_instances(self):
        """Find out whether the model changes what it reads from a row."""
        function = inspect.getattr_static(self.model, "__getattribute__")
        if function is not object.__getattribute__:
            raise Undecided("its __getattribute__ decides what Django reads of a user")
        read = {self.names[name] for name in self.names if self.columns[name]}
        if any("__call__" in vars(cls) for cls in type(self.model).__mro__ if cls is not type):
            raise Undecided("its metaclass decides what an instance is")
        for function, name in Instances(self.model, read).changed():
            raise Undecided("its %s may change what Django reads of a user, by %s" % (function, name))

    def ignores_active(self):
        """Tell whether the gateway doesn't look at an is_active that there is."""
        return self.field("is_active") is not None and not self.columns["is_active"]

    def is_allowed(self, active, sample, backend=None):
        """Tell whether a backend lets a user in with this value of is_active."""
        if self.field("is_active") is None and "is_active" not in self.annotated and active is not True:
            return False  # there is only the class's constant
        fields = self.model._meta.concrete_fields
        values = [active if field is self.field("is_active") else self.sample(field, sample) for field in fields]
        read = {self.field(name) for name in self.names if self.columns[name]}
        with no_queries():
            user = self.model.from_db(self.using, [field.attname for field in fields], values)
            if "is_active" in self.annotated:
                user.is_active = active
            for field, value in zip(fields, values):
                if field in read and getattr(user, field.attname) != value:
                    raise Undecided("the model changes %s when it reads a row" % field.attname)
            is_allowed = bool((backend or self.backend).user_can_authenticate(user))
        return is_allowed if not sample else is_allowed or self.is_allowed(active, False, backend)

    @staticmethod
    def sample(field, sample):
        """Return a value that the database may have for a field."""
        kind = (getattr(field, "output_field", None) or field).get_internal_type()
        if kind == "UUIDField":
            return uuid.UUID(int=int(sample))
        if kind in ("CharField", "TextField", "EmailField", "SlugField", "URLField"):
            return "1" if sample else ""
        if kind.endswith(("IntegerField", "AutoField", "ForeignKey", "OneToOneField")):
            return int(sample)
        if kind == "BooleanField":
            return sample
        return None

    # Groups and permissions, which options of the gateway may ask for.

    def membership(self, name, label):
        """Describe the table that says which groups or permissions a user has."""
        try:
            field = self.model._meta.get_field(name)
        except FieldDoesNotExist:
            return None
        if not field.many_to_many or field.remote_field.model._meta.label != label:
            return None
        try:
            return {
                "table": self.parts(field.m2m_db_table()),
                "user": field.m2m_column_name(),
                "other": field.m2m_reverse_name(),
                "names": self.parts(field.remote_field.model._meta.db_table),
            }
        except Undecided as undecided:
            self.note(MODEL, "%s: %s" % (name, undecided))
            return None
