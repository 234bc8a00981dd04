# What Django asks the database for, found out without asking it.

import contextlib
import decimal
import enum
import re
import uuid

from django.db import connections
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
