"""Models and managers that decide by way of something else."""

import functools

from django.apps.registry import Apps
from django.contrib.auth.backends import BaseBackend
from django.contrib.auth.models import UserManager
from django.core.exceptions import PermissionDenied
from django.db import models
from django.db.models.functions import Now
from django.db.models.signals import post_init
from django.utils.functional import cached_property, lazy

from .attributes import Minimal
from .states import Base, current_tenant, local


class WithStatus(Minimal):
    is_active = models.BooleanField(default=True)
    status = models.CharField(max_length=10, default="good")
    ROWS = {"alice": {}, "mallory": {"status": "banned"}}

    class Meta:
        abstract = True


class ChangedByHelper(WithStatus):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.apply()

    def apply(self):
        if self.status == "banned":
            self.is_active = False


class ChangedBySetattr(WithStatus):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if self.status == "banned":
            setattr(self, "is_active", False)


class ChangedByDict(WithStatus):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if self.status == "banned":
            self.__dict__.update(is_active=False)


class ChangedByArguments(WithStatus):
    @classmethod
    def from_db(cls, db, field_names, values, **kwargs):
        row = dict(zip(field_names, values))
        if row["status"] == "banned":
            row["is_active"] = False
        return super().from_db(db, list(row), list(row.values()), **kwargs)


class ChangedBySetter(WithStatus):
    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        if name == "status" and value == "banned":
            super().__setattr__("is_active", False)
        if name == "is_active" and self.__dict__.get("status") == "banned":
            super().__setattr__("is_active", False)


class ChangedByReceiver(WithStatus):
    pass


def receive(sender, instance, **kwargs):
    if instance.status == "banned":
        instance.is_active = False


post_init.connect(receive, sender=ChangedByReceiver)


class BannedMixin:
    is_active = property(lambda self: False, lambda self, value: None)


class ChangedByClass(WithStatus):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if self.status == "banned":
            meta = type("Meta", (), {"proxy": True, "app_label": "people", "apps": Apps()})
            self.__class__ = type("Banned", (BannedMixin, ChangedByClass), {"__module__": __name__, "Meta": meta})


tenant = None


def set_tenant(value):
    global tenant
    tenant = value


class GlobalManager(UserManager):
    def get_queryset(self):
        queryset = super().get_queryset()
        return queryset if tenant is None else queryset.filter(tenant=tenant)


class ByGlobal(Base):
    objects = GlobalManager()


state = {"tenant": None}


class DictionaryManager(UserManager):
    def get_queryset(self):
        queryset = super().get_queryset()
        return queryset.filter(tenant=state["tenant"]) if state["tenant"] else queryset


class ByDictionary(Base):
    objects = DictionaryManager()


class AttributeManager(UserManager):
    tenant = None

    def get_queryset(self):
        queryset = super().get_queryset()
        return queryset.filter(tenant=self.tenant) if self.tenant else queryset


class ByAttribute(Base):
    objects = AttributeManager()


class ModelAttributeManager(UserManager):
    def get_queryset(self):
        queryset = super().get_queryset()
        return queryset.filter(tenant=self.model.current) if self.model.current else queryset


class ByModelAttribute(Base):
    current = None
    objects = ModelAttributeManager()


class DefaultManager(UserManager):
    def get_queryset(self, get=current_tenant):
        queryset = super().get_queryset()
        return queryset.filter(tenant=get()) if get() else queryset


class ByDefault(Base):
    objects = DefaultManager()


class HoldingManager(UserManager):
    def __init__(self, place):
        super().__init__()
        self.place = place

    def get_queryset(self):
        queryset = super().get_queryset()
        found = getattr(self.place, "tenant", None)
        return queryset.filter(tenant=found) if found else queryset


class ByHeld(Base):
    objects = HoldingManager(local)


class CachedManager(UserManager):
    @cached_property
    def tenant(self):
        return current_tenant()

    def get_queryset(self):
        queryset = super().get_queryset()
        return queryset.filter(tenant=self.tenant) if self.tenant else queryset


class ByCached(Base):
    objects = CachedManager()


lazy_tenant = lazy(lambda: current_tenant() or 0, int)()


class LazyManager(UserManager):
    def get_queryset(self):
        return super().get_queryset().exclude(tenant=lazy_tenant)


class ByLazy(Base):
    objects = LazyManager()


def by_tenant(manager, get):
    queryset = models.QuerySet(manager.model, using=manager._db)
    return queryset.filter(tenant=get()) if get() else queryset


class PartialManager(UserManager):
    get_queryset = functools.partialmethod(by_tenant, get=current_tenant)


class ByPartial(Base):
    objects = PartialManager()




class Refusing(BaseBackend):
    def authenticate(self, request, **credentials):
        raise PermissionDenied


class ByRefusal(Base):
    BACKENDS = ["people.indirect.Refusing", "django.contrib.auth.backends.ModelBackend"]


class CallingBase(type(models.Model)):
    def __call__(cls, *args, **kwargs):
        user = super().__call__(*args, **kwargs)
        if cls.__name__ == "ChangedByMetaclass" and user.status == "banned":
            user.is_active = False
        return user


class ChangedByMetaclass(WithStatus, metaclass=CallingBase):
    pass


class LocalNowManager(UserManager):
    def get_queryset(self):
        return super().get_queryset().exclude(expires__lt=Now())


class ByLocalNow(Base):
    USE_TZ = False
    objects = LocalNowManager()


class AccountManager(UserManager):
    def get_queryset(self):
        return super().get_queryset().extra(where=["USER() NOT LIKE CONCAT(username, '@%%')"])


class ByAccount(Base):
    objects = AccountManager()


class FilteringManager(UserManager):
    """One whose variables are constants."""

    LIVING = {"is_deleted": False, "tenant": None}
    BANNED = ["banned", "spam"]

    def get_queryset(self):
        return super().get_queryset().filter(**self.LIVING).exclude(username__in=self.BANNED).exclude(first_name__in=names)


names = ["nobody"]


class ByConstants(Base):
    objects = FilteringManager()


class ReadingBackend(BaseBackend):
    def authenticate(self, request, **credentials):
        return None


class ByReading(Base):
    BACKENDS = ["people.indirect.ReadingBackend", "django.contrib.auth.backends.ModelBackend"]
    ROWS = {"alice": {}, "ivan": {"is_active": False}}


class TenantRouter:
    def db_for_read(self, model, **hints):
        return current_tenant()

    db_for_write = db_for_read


class ByRouter(Base):
    ROUTERS = ["people.indirect.TenantRouter"]


class PlainRouter:
    def db_for_read(self, model, **hints):
        return "default" if model._meta.app_label == "people" else None


class ByPlainRouter(Base):
    ROUTERS = ["people.indirect.PlainRouter"]
    ROWS = {"alice": {}, "ivan": {"is_active": False}}
