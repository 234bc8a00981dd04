# What the code of a project depends on, and what it changes, found out by reading it.

import datetime
import decimal
import dis
import enum
import functools
import importlib
import inspect
import types
import uuid

from django.conf import settings
from django.db import models
from django.utils.functional import LazyObject, Promise, cached_property


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


def is_in(module, known):
    return any((str(module) + ".").startswith(name + ".") for name in known)


def codes_of(function):
    """Return the code of a function, and of the functions in it."""
    codes = [function.__code__]
    for code in codes:
        codes.extend(constant for constant in code.co_consts if isinstance(constant, types.CodeType))
    return codes


def stored(code, *operations):
    """Return the names that code assigns by some operations."""
    names = set()
    for instruction in dis.get_instructions(code):
        if instruction.opname.startswith(operations):
            argument = instruction.argval
            names.update(argument if isinstance(argument, tuple) else [argument])
    return names


class Code:
    """
    The code that runs by way of methods of classes, as far as the project has
    it: the methods, and what they refer to by name. Code of Django isn't read.
    """

    ROOTS = ()  # the names of the methods
    # Modules whose code gives the same for every request.
    STATELESS = """
        django.db.models django.conf django.apps django.contrib sesame
        django.utils.functional collections functools itertools logging
        operator re typing warnings
    """.split()
    CLASSES = (models.Model, models.QuerySet, models.Manager, models.Q, models.Field, enum.Enum, BaseException)
    CONSTANTS = (bool, int, float, str, bytes, range, decimal.Decimal, uuid.UUID)
    CONSTANTS += (datetime.date, datetime.datetime, datetime.time, datetime.timedelta, datetime.timezone)
    CONTAINERS = (tuple, frozenset, list, dict, set)

    def __init__(self, *classes):
        self.names, self.classes = [], []
        self.codes, self.found, self.exceptions = [], set(), set()
        for name in self.ROOTS:
            self.methods(name)
        for cls in classes:
            self.add_class(cls)

    def add_class(self, cls):
        if cls not in self.classes:
            self.classes.append(cls)
            for name in list(self.names):
                self.method(cls, name)

    def methods(self, name):
        if name not in self.names:
            self.names.append(name)
            for cls in list(self.classes):
                self.method(cls, name)

    def method(self, cls, name):
        for ancestor in cls.__mro__:
            if name not in vars(ancestor):
                continue
            value = vars(ancestor)[name]
            # Classes of Django may have got methods of the project.
            if isinstance(value, types.FunctionType) or not is_in(ancestor.__module__, ["builtins", *self.STATELESS]):
                self.refers_to(value, name)
                self.is_attribute(ancestor, name, value)

    def is_attribute(self, cls, name, value):
        """Note an attribute of a class that code names."""

    def is_global(self, function, name, value):
        """Note a global variable that code names."""

    def refers_to(self, value, name):
        """Look at what code refers to by a name."""
        kind = type(value)  # isinstance would believe a lazy object
        if value is settings or value is None or kind in self.CONSTANTS or isinstance(kind, enum.EnumMeta):
            return
        if issubclass(kind, (Promise, LazyObject)):
            self.found.add(name)
        elif kind in self.CONTAINERS:
            for item in value.values() if kind is dict else value:
                self.refers_to(item, name)
        elif issubclass(kind, (staticmethod, classmethod)):
            self.refers_to(value.__func__, name)
        elif issubclass(kind, property):
            for function in (value.fget, value.fset):
                self.refers_to(function, name)
        elif issubclass(kind, (functools.partial, functools.partialmethod)):
            for part in (value.func, value.args, dict(value.keywords)):
                self.refers_to(part, name)
        elif issubclass(kind, cached_property) or kind.__module__ == "functools" and hasattr(value, "func"):
            self.refers_to(value.func, name)
        elif issubclass(kind, types.MethodType):
            self.refers_to(value.__func__, name)
            self.refers_to(value.__self__, name)
        elif issubclass(kind, type) and issubclass(value, self.CLASSES):
            self.is_class(value)
        else:
            self.is_other(value, name)

    def is_class(self, cls):
        if issubclass(cls, (models.QuerySet, models.Manager)):
            self.add_class(cls)
        elif issubclass(cls, BaseException):
            self.exceptions.add(cls)

    def is_other(self, value, name):
        """Look at a function, a module or an object."""
        if isinstance(value, types.FunctionType):
            module = value.__globals__.get("__name__", "")
        elif isinstance(value, types.ModuleType):
            module = value.__name__
        else:
            module = getattr(value, "__module__", None) or type(value).__module__
        if is_in(module, self.STATELESS):
            return
        if isinstance(value, types.FunctionType) and not is_in(module, ["django"]):
            self.function(value)
        elif module != "builtins" or not isinstance(value, types.BuiltinFunctionType):
            self.found.add(name)

    def function(self, function):
        if function.__code__ in self.codes:
            return
        for code in codes_of(function):
            self.codes.append(code)
            for name in code.co_names:
                if name in function.__globals__:
                    self.refers_to(function.__globals__[name], name)
                    self.is_global(function, name, function.__globals__[name])
                self.methods(name)
            self.imports(code, function.__globals__)
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or ()):
            if name != "__class__":
                self.refers_to(cell.cell_contents, name)
        for default in (function.__defaults__, function.__kwdefaults__):
            self.refers_to(default, function.__name__)

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


class Dependencies(Code):
    """
    What the code of a manager depends on, besides its model and constants.

    A manager that asks a thread, a request or the clock what to filter by can't
    be told by its query, which is right for this moment only. So its code is
    read: the methods that make a queryset. Variables may change as well: those
    that code of the project assigns, and those without a value so far.
    """

    ROOTS = """
        get_queryset __init__ __new__ __getattr__ __getattribute__ __iter__
        __len__ __getitem__ all get filter db query iterator order_by _clone
        _chain _fetch_all _filter_or_exclude _filter_or_exclude_inplace
    """.split()
    CHANGING = "add append clear discard extend insert pop popitem remove setdefault update".split()

    def __init__(self, manager):
        self.models = [manager.model]
        super().__init__(type(manager), getattr(manager, "_queryset_class", models.QuerySet))
        for name, value in vars(manager).items():
            if name not in vars(models.Manager()):
                self.refers_to(value, name)
                self.is_attribute(type(manager), name, True)  # None may be an argument

    def methods(self, name):
        if name not in self.names and name not in self.ROOTS:
            for model in self.models:
                self.method(model, name)
        super().methods(name)

    def check(self):
        if self.found:
            raise Undecided("it depends on %s, which may differ between requests" % ", ".join(sorted(self.found)))

    def is_class(self, cls):
        super().is_class(cls)
        if issubclass(cls, models.Model) and cls not in self.models:
            self.models.append(cls)
            for name in self.names:
                if name not in self.ROOTS:
                    self.method(cls, name)

    def is_attribute(self, cls, name, value):
        if self.is_empty(value) or any(name in stored(code, "STORE_ATTR") for code in self.setters(cls)):
            self.found.add(name)

    def is_global(self, function, name, value):
        if self.is_empty(value) or any(self.changes(code, name) for code in self.setters(function.__globals__)):
            self.found.add(name)

    def is_empty(self, value):
        """Tell whether a variable has no value so far, or a place for one."""
        kind = type(value)
        return value is None or kind in (list, dict, set) and (not value or kind is dict and list(value.values()).count(None) == len(value))

    def changes(self, code, name):
        """Tell whether code changes a global variable."""
        if name in stored(code, "STORE_GLOBAL"):
            return True
        is_changing = any(changing in code.co_names for changing in self.CHANGING)
        return name in code.co_names and (is_changing or any(i.opname == "STORE_SUBSCR" for i in dis.get_instructions(code)))

    def setters(self, where):
        """Return the code of a module, or of a class without its constructor."""
        classes = [ancestor for ancestor in getattr(where, "__mro__", ()) if not is_in(ancestor.__module__, self.STATELESS)]
        found = [(name, value) for cls in classes for name, value in vars(cls).items() if name != "__init__"]
        if not classes and isinstance(where, dict):
            found = list(where.items())
            for value in where.values():
                if isinstance(value, type) and value.__module__ == where.get("__name__"):
                    found.extend(vars(value).items())
        functions = [getattr(value, "__func__", value) for name, value in found]
        return [code for function in functions if isinstance(function, types.FunctionType) for code in codes_of(function)]


class Instances(Code):
    """
    What the code of a model changes when an instance is made of a row: its
    methods, and the receivers of its signals.
    """

    ROOTS = "__init__ __new__ __setattr__ __delattr__ from_db".split()
    # Modules that don't know the model.
    STATELESS = [*Code.STATELESS, *"django copy dataclasses datetime decimal enum hashlib json math secrets string time uuid".split()]
    # By these, code may change attributes that it doesn't name.
    CHANGING = "__class__ __delattr__ __dict__ __setattr__ delattr eval exec setattr vars".split()

    def __init__(self, model, read):
        super().__init__(model)
        self.read = read  # the names of attributes that matter
        self.receivers(model, models.signals.pre_init, models.signals.post_init)

    def receivers(self, model, *signals):
        for signal in signals:
            receivers = signal._live_receivers(model)
            if isinstance(receivers, tuple):  # those that wait, and others
                receivers = [receiver for group in receivers for receiver in group]
            for receiver in receivers:
                self.refers_to(receiver, getattr(receiver, "__name__", type(receiver).__name__))

    def changed(self):
        """Tell which attributes the code may change, by the name of the function that does."""
        for code in self.codes:
            names = stored(code, "STORE_ATTR", "DELETE_ATTR")
            yield from ((code.co_name, name) for name in sorted(names & self.read))
            changing = [name for name in self.CHANGING if name in code.co_names]
            named = [constant for constant in code.co_consts if isinstance(constant, str) and constant in self.read]
            if changing or named or self.changes_arguments(code):
                yield code.co_name, " and ".join(changing + named) or "its arguments"
        yield from (("code of the project", name) for name in sorted(self.found))

    def changes_arguments(self, code):
        """Tell whether a method gives Django other values than it got."""
        if code.co_name not in self.ROOTS:
            return False
        count = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & inspect.CO_VARARGS) + bool(code.co_flags & inspect.CO_VARKEYWORDS)
        arguments = set(code.co_varnames[1:count])
        return bool(stored(code, "STORE_FAST", "STORE_DEREF", "STORE_SUBSCR") & arguments) or any(
            instruction.opname == "STORE_SUBSCR" for instruction in dis.get_instructions(code)
        )


class Authentication(Code):
    """What a backend does where it is asked whether it knows credentials."""

    ROOTS = ["authenticate"]


class Routing(Code):
    """What a router depends on. By chance, it may choose among replicas."""

    ROOTS = ["db_for_read", "db_for_write"]
    STATELESS = [*Code.STATELESS, "random"]
