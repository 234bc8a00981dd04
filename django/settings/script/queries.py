# What Django asks the database for, found out without asking it.

import contextlib
import decimal
import dis
import enum
import importlib
import inspect
import re
import types
import uuid

from django.conf import settings
from django.db import connections, models
from django.db.models.sql import compiler as sql_compiler


class Undecided(Exception):
    """What Django does can't be found out, or can't be expressed in SQL."""


class Asked(BaseException):
    """A query that Django was about to send. `except Exception` doesn't hide it."""

    def __init__(self, query=None, using=None):
        self.query, self.using = query, using


@contextlib.contextmanager
def no_queries():
    """Raise Asked in the place of every query."""

    def execute_sql(self, *args, **kwargs):
        raise Asked(self.query, self.using)

    def execute(*args):
        raise Asked()

    compilers = [sql_compiler.SQLCompiler, sql_compiler.SQLInsertCompiler]
    originals = [compiler.execute_sql for compiler in compilers]
    with contextlib.ExitStack() as stack:
        for connection in connections.all():
            stack.enter_context(connection.execute_wrapper(execute))
        for compiler in compilers:
            compiler.execute_sql = execute_sql
        try:
            yield
        finally:
            for compiler, original in zip(compilers, originals):
                compiler.execute_sql = original


def asked_by(function, *arguments):
    """Return the first query that a function would send, or None."""
    with no_queries():
        try:
            function(*arguments)
        except Asked as asked:
            return asked
    return None


def compiled(query, using):
    """Return the SQL of a query without its order and limit, and its parameters."""
    query = query.clone()
    query.clear_ordering(True)
    query.clear_limits()
    return query.get_compiler(using).as_sql()


def literal(value):
    """Write a parameter of a query as MySQL does."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, (int, decimal.Decimal)) and not isinstance(value, enum.Enum):
        return str(value)
    if isinstance(value, enum.Enum):
        return literal(value.value)
    if isinstance(value, uuid.UUID):
        return "'%s'" % value.hex
    if isinstance(value, str):
        if value.isprintable() and "\\" not in value:
            return "'%s'" % value.replace("'", "''")
        return "_utf8mb4 X'%s'" % value.encode().hex()
    if isinstance(value, bytes):
        return "X'%s'" % value.hex()
    raise Undecided("it compares with a value of type %s, which may change with time" % type(value).__name__)


def parts(connection, name):
    """Split the name of a table, as Django writes it in SQL, into schema and table."""
    quoted = connection.ops.quote_name(name)
    if not re.fullmatch(r"(`[^`]+`\.)?`[^`]+`", quoted):
        raise Undecided("MySQL can't read the name %s" % ascii(name))
    return re.findall("`([^`]+)`", quoted)


def is_known(cls, name):
    """Tell whether a method or a property is one of Django's or django-sesame's."""
    function = inspect.getattr_static(cls, name, None)
    if isinstance(function, (staticmethod, classmethod)):
        function = function.__func__
    if isinstance(function, property):
        function = function.fget
    # Where its globals are, and not __module__, which decorators copy.
    module = getattr(function, "__globals__", {}).get("__name__", "")
    return module.partition(".")[0] in ("django", "sesame")


class Dependencies:
    """
    What the code of a manager depends on, besides its model and constants.

    A manager that asks a thread, a request or the clock what to filter by can't
    be told by its query, which is right for this moment only. So its code is
    read: the methods that make a queryset, and what they refer to by name.
    """

    ROOTS = """
        get_queryset __init__ __new__ __getattr__ __getattribute__ __iter__
        __len__ __getitem__ all get filter db query iterator order_by _clone
        _chain _fetch_all _filter_or_exclude _filter_or_exclude_inplace
    """.split()
    # Modules whose code gives the same for every request.
    STATELESS = """
        django.db.models django.conf django.apps django.contrib sesame
        django.utils.functional collections functools itertools logging
        operator re typing warnings
    """.split()
    CLASSES = (models.Model, models.QuerySet, models.Manager, models.Q, models.Field, enum.Enum, BaseException)
    CONSTANTS = (type(None), bool, int, float, str, bytes, tuple, frozenset, list, dict, set, decimal.Decimal, uuid.UUID, enum.Enum)

    def __init__(self, manager):
        self.names, self.classes, self.codes, self.found = [], [], set(), set()
        self.model = manager.model
        for name in self.ROOTS:
            self.methods(name)
        self.add_class(type(manager))
        self.add_class(getattr(manager, "_queryset_class", models.QuerySet))
        for name, value in vars(manager).items():
            if isinstance(value, types.FunctionType):
                self.refers_to(value, name)

    def add_class(self, cls):
        if cls not in self.classes:
            self.classes.append(cls)
            for name in list(self.names):
                self.method(cls, name)

    def methods(self, name):
        if name not in self.names:
            self.names.append(name)
            for cls in [*self.classes, *([] if name in self.ROOTS else [self.model])]:
                self.method(cls, name)

    def method(self, cls, name):
        for ancestor in cls.__mro__:
            value = vars(ancestor).get(name)
            if isinstance(value, (staticmethod, classmethod)):
                value = value.__func__
            if isinstance(value, property):
                value = value.fget
            if isinstance(value, types.FunctionType):
                self.refers_to(value, name)

    def refers_to(self, value, name):
        """Look at what code refers to by a name."""
        if value is settings or isinstance(value, self.CONSTANTS):
            return
        if isinstance(value, type) and issubclass(value, self.CLASSES):
            if issubclass(value, (models.QuerySet, models.Manager)):
                self.add_class(value)
            return
        if isinstance(value, types.FunctionType):
            module = value.__globals__.get("__name__", "")
        elif isinstance(value, types.ModuleType):
            module = value.__name__
        else:
            module = str(getattr(value, "__module__", ""))
        if any((module + ".").startswith(known + ".") for known in self.STATELESS):
            return
        if isinstance(value, types.FunctionType) and not module.startswith("django."):
            self.function(value)
        else:
            self.found.add(name)

    def function(self, function):
        if function.__code__ in self.codes:
            return
        closure = dict(zip(function.__code__.co_freevars, function.__closure__ or ()))
        codes = [function.__code__]
        for code in codes:
            self.codes.add(code)
            codes.extend(constant for constant in code.co_consts if isinstance(constant, types.CodeType))
            for name in code.co_names:
                if name in function.__globals__:
                    self.refers_to(function.__globals__[name], name)
                else:
                    self.methods(name)
            self.imports(code, function.__globals__)
        for name, cell in closure.items():
            if name != "__class__":
                self.refers_to(cell.cell_contents, name)

    def imports(self, code, namespace):
        """Look at what code imports while it runs."""
        instructions = list(dis.get_instructions(code))
        for i, instruction in enumerate(instructions):
            if instruction.opname != "IMPORT_NAME":
                continue
            level, names = instructions[i - 2].argval, instructions[i - 1].argval
            module = importlib.import_module("." * level + instruction.argval, namespace.get("__package__"))
            if not names:
                self.refers_to(module, instruction.argval)
            for name in names or ():
                self.refers_to(getattr(module, name, module), name)
