"""Managers and backends that decide in Python."""

import contextvars
import datetime
import functools
import threading

from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import AbstractUser, UserManager
from django.db import connection, models
from django.utils import timezone

local = threading.local()
variable = contextvars.ContextVar("tenant", default=None)


def current_tenant():
    return getattr(local, "tenant", None)


class Base(AbstractUser):
    tenant = models.IntegerField(null=True)
    is_deleted = models.BooleanField(default=False)
    expires = models.DateTimeField(null=True)
    locked = models.BooleanField(default=False)
    ROWS = {"alice": {}, "mallory": {"tenant": 1, "is_deleted": True, "locked": True}}

    class Meta:
        abstract = True


class TenantManager(UserManager):
    def get_queryset(self):
        return super().get_queryset().filter(tenant=current_tenant())


class ByThread(Base):
    objects = TenantManager()


class OptionalTenantManager(UserManager):
    def get_queryset(self):
        queryset = super().get_queryset()
        if variable.get() is not None:
            queryset = queryset.filter(tenant=variable.get())
        return queryset


class ByContext(Base):
    objects = OptionalTenantManager()


class ImportingManager(UserManager):
    def get_queryset(self):
        from .states import current_tenant as get

        queryset = super().get_queryset()
        return queryset.filter(tenant=get()) if get() else queryset


class ByImport(Base):
    objects = ImportingManager()


class TenantQuerySet(models.QuerySet):
    def allowed(self):
        return self.filter(tenant=local.tenant) if hasattr(local, "tenant") else self


class QuerySetManager(UserManager):
    def get_queryset(self):
        return TenantQuerySet(self.model, using=self._db).allowed()


class ByQuerySet(Base):
    objects = QuerySetManager()


class ConnectionManager(UserManager):
    def get_queryset(self):
        queryset = super().get_queryset()
        tenant = getattr(connection, "tenant", None)
        return queryset.filter(tenant=tenant) if tenant else queryset


class ByConnection(Base):
    objects = ConnectionManager()


class ClockManager(UserManager):
    def get_queryset(self):
        return super().get_queryset().exclude(expires__lt=timezone.now())


class ByClock(Base):
    objects = ClockManager()


class FixedDateManager(UserManager):
    since = datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc)

    def get_queryset(self):
        return super().get_queryset().exclude(expires__lt=self.since)


class ByFixedDate(Base):
    objects = FixedDateManager()


class NoneManager(UserManager):
    def get_queryset(self):
        return super().get_queryset().none()


class NoneOutside(Base):
    objects = NoneManager()


class FailingManager(UserManager):
    def get_queryset(self):
        raise RuntimeError("there is no request")


class Failing(Base):
    objects = FailingManager()


class GetManager(UserManager):
    def get(self, *args, **kwargs):
        return super().get(*args, is_deleted=False, **kwargs)


class ByGet(Base):
    objects = GetManager()


class FilterQuerySet(models.QuerySet):
    def filter(self, *args, **kwargs):
        return super().filter(*args, is_deleted=False, **kwargs)


class ByFilter(Base):
    objects = UserManager.from_queryset(FilterQuerySet)()


class FetchQuerySet(models.QuerySet):
    def get(self, *args, **kwargs):
        user = super().get(*args, **kwargs)
        if user.locked:
            raise self.model.DoesNotExist
        return user


class ByFetch(Base):
    objects = UserManager.from_queryset(FetchQuerySet)()


class AskingManager(UserManager):
    def get_queryset(self):
        queryset = super().get_queryset()
        return queryset.filter(is_deleted=False) if ByThread._base_manager.exists() else queryset


class Asking(Base):
    objects = AskingManager()


class DictManager(UserManager):
    def get_queryset(self):
        return super().get_queryset().values()


class Dicts(Base):
    objects = DictManager()


class LockedBackend(ModelBackend):
    def user_can_authenticate(self, user):
        return super().user_can_authenticate(user) and not user.locked


class ByBackend(Base):
    BACKENDS = ["people.states.LockedBackend"]


class FindingBackend(ModelBackend):
    def get_user(self, user_id):
        user = super().get_user(user_id)
        return user if user and not user.locked else None


class ByGetUser(Base):
    BACKENDS = ["people.states.FindingBackend"]


def wrapped(function):
    @functools.wraps(function)
    def wrapper(self, user_id):
        user = function(self, user_id)
        return user if user and not user.locked else None

    return wrapper


class WrappedBackend(ModelBackend):
    get_user = wrapped(ModelBackend.get_user)


class ByWrapper(Base):
    BACKENDS = ["people.states.WrappedBackend"]


class MailBackend(ModelBackend):
    def authenticate(self, request, email=None, password=None):
        return None


class ByMail(Base):
    BACKENDS = ["people.states.MailBackend"]
    ROWS = {"alice": {}, "ivan": {"is_active": False}}


class AllowAll(Base):
    BACKENDS = ["django.contrib.auth.backends.AllowAllUsersModelBackend"]
    ROWS = {"alice": {}, "ivan": {"is_active": False}}


class StrictAndStock(Base):
    BACKENDS = ["people.states.LockedBackend", "django.contrib.auth.backends.ModelBackend"]
    ROWS = {"alice": {}, "ivan": {"is_active": False}, "lara": {"locked": True}}
