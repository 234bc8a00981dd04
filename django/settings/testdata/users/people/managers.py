"""Managers whose queries say whom they hide."""

import uuid

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AbstractUser, UserManager
from django.db import models
from django.db.models import Case, Count, Q, Value, When
from django.db.models.functions import Lower, Now


class Status(models.TextChoices):
    GOOD = "good"
    BAD = "bad"


class Plain(AbstractUser):
    ROWS = {"alice": {}, "ivan": {"is_active": False}}


class EmptyManager(UserManager):
    pass


class WithEmptyManager(AbstractUser):
    objects = EmptyManager()
    ROWS = {"alice": {}, "ivan": {"is_active": False}}


class LivingManager(UserManager):
    def get_queryset(self):
        return super().get_queryset().filter(deleted_at=None)


class SoftDeleted(AbstractUser):
    deleted_at = models.DateTimeField(null=True)
    objects = LivingManager()
    ROWS = {"alice": {}, "mallory": {"deleted_at": "2024-01-02T03:04:05Z"}, "ivan": {"is_active": False}}


class LivingQuerySet(models.QuerySet):
    def living(self):
        return self.filter(is_deleted=False)


class ChainedManager(UserManager.from_queryset(LivingQuerySet)):
    def get_queryset(self):
        return super().get_queryset().living()


class SoftDeletedByQuerySet(AbstractUser):
    is_deleted = models.BooleanField(default=False)
    objects = ChainedManager()
    ROWS = {"alice": {}, "mallory": {"is_deleted": True}}


class SwitchedManager(UserManager):
    def __init__(self, living_only=True):
        super().__init__()
        self.living_only = living_only

    def get_queryset(self):
        if self.living_only:
            return LivingQuerySet(self.model, using=self._db).living()
        return LivingQuerySet(self.model, using=self._db)


class SoftDeletedBySwitch(AbstractUser):
    is_deleted = models.BooleanField(default=False)
    objects = SwitchedManager()
    everybody = SwitchedManager(living_only=False)
    ROWS = {"alice": {}, "mallory": {"is_deleted": True}}


class EverybodyFirst(AbstractUser):
    is_deleted = models.BooleanField(default=False)
    everybody = SwitchedManager(living_only=False)
    objects = SwitchedManager()
    ROWS = {"alice": {}, "mallory": {"is_deleted": True}}


class DefaultByMeta(AbstractUser):
    is_deleted = models.BooleanField(default=False)
    everybody = SwitchedManager(living_only=False)
    objects = SwitchedManager()
    ROWS = {"alice": {}, "mallory": {"is_deleted": True}}

    class Meta:
        default_manager_name = "objects"


class ChoiceManager(UserManager):
    def get_queryset(self):
        return super().get_queryset().exclude(Q(status=Status.BAD) | Q(note__contains="50%'\\"))


class ByChoice(AbstractUser):
    status = models.CharField(max_length=10, null=True)
    note = models.CharField(max_length=50, default="")
    objects = ChoiceManager()
    ROWS = {"alice": {"status": "good"}, "nina": {}, "mallory": {"status": "bad"}, "oscar": {"status": "good", "note": "a 50%'\\ b"}}


class Office(models.Model):
    is_open = models.BooleanField(default=True)
    name = models.CharField(max_length=10)


class OfficeManager(UserManager):
    def get_queryset(self):
        return super().get_queryset().filter(office__is_open=True)


class ByOffice(AbstractUser):
    office = models.ForeignKey(Office, models.CASCADE, null=True)
    objects = OfficeManager()
    ROWS = {"nina": {}}


class Badge(models.Model):
    name = models.CharField(max_length=10)


class BadgeManager(UserManager):
    def get_queryset(self):
        return super().get_queryset().exclude(badges__name="revoked")


class ByBadge(AbstractUser):
    badges = models.ManyToManyField(Badge)
    objects = BadgeManager()
    ROWS = {"alice": {}}


class DistinctManager(UserManager):
    def get_queryset(self):
        return super().get_queryset().filter(Q(badges=None) | Q(badges__name="good")).distinct()


class Distinct(AbstractUser):
    badges = models.ManyToManyField(Badge)
    objects = DistinctManager()
    ROWS = {"alice": {}}


class AnnotatedManager(UserManager):
    def get_queryset(self):
        return super().get_queryset().annotate(is_active=Case(When(banned=True, then=Value(0)), default=Value(1), output_field=models.IntegerField()))


class Annotated(AbstractBaseUser):
    username = models.CharField(max_length=50, unique=True)
    banned = models.BooleanField(default=False)
    objects = AnnotatedManager()
    USERNAME_FIELD = "username"
    ROWS = {"alice": {}, "mallory": {"banned": True}}


class CountingManager(UserManager):
    def get_queryset(self):
        return super().get_queryset().select_related("office").annotate(count=Count("badges"), low=Lower("email")).defer("password").order_by("?")


class NothingHidden(AbstractUser):
    office = models.ForeignKey(Office, models.CASCADE, null=True)
    badges = models.ManyToManyField(Badge)
    objects = CountingManager()
    ROWS = {"alice": {}, "ivan": {"is_active": False}}


class RequiredOfficeManager(UserManager):
    def get_queryset(self):
        return super().get_queryset().select_related("office")


class RequiredOffice(AbstractUser):
    office = models.ForeignKey(Office, models.CASCADE, default=1)
    objects = RequiredOfficeManager()
    ROWS = {}


class UncheckedOffice(AbstractUser):
    office = models.ForeignKey(Office, models.DO_NOTHING, default=99, db_constraint=False)
    objects = RequiredOfficeManager()
    ROWS = {"mallory": {}}


class Proxied(AbstractUser):
    is_deleted = models.BooleanField(default=False)


class Proxy(Proxied):
    objects = SwitchedManager()
    ROWS = {"alice": {}, "mallory": {"is_deleted": True}}

    class Meta:
        proxy = True


class Parent(AbstractUser):
    is_deleted = models.BooleanField(default=False)


class Child(Parent):
    nickname = models.CharField(max_length=10, default="")
    ROWS = {"alice": {}, "ivan": {"is_active": False}}


class SoftDeletedChild(Parent):
    nickname = models.CharField(max_length=10, default="")
    objects = SwitchedManager()
    ROWS = {"alicia": {}, "mallory": {"is_deleted": True}}


class NowManager(UserManager):
    def get_queryset(self):
        return super().get_queryset().filter(expires__gt=Now())


class ByNow(AbstractUser):
    expires = models.DateTimeField()
    objects = NowManager()
    ROWS = {"alice": {"expires": "2199-01-01T00:00:00Z"}, "mallory": {"expires": "2001-01-01T00:00:00Z"}}


class ExtraManager(UserManager):
    def get_queryset(self):
        return super().get_queryset().extra(where=["is_deleted = %s"], params=[0])


class Extra(AbstractUser):
    is_deleted = models.BooleanField(default=False)
    objects = ExtraManager()
    ROWS = {"alice": {}, "mallory": {"is_deleted": True}}


class UUIDs(AbstractUser):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    team = models.UUIDField(null=True)
    objects = LivingManager()
    deleted_at = models.DateTimeField(null=True)
    ROWS = {"alice": {}, "mallory": {"deleted_at": "2024-01-02T03:04:05Z"}}


class Elsewhere(AbstractBaseUser):
    username = models.CharField(max_length=50, unique=True)
    is_active = models.BooleanField(default=True)
    deleted_at = models.DateTimeField(null=True)
    objects = LivingManager()
    USERNAME_FIELD = "username"
    ROWS = {"alice": {}, "mallory": {"deleted_at": "2024-01-02T03:04:05Z"}}

    class Meta:
        db_table = "`elsewhere`.`people`"


class PlainElsewhere(AbstractBaseUser):
    username = models.CharField(max_length=50, unique=True)
    is_active = models.BooleanField(default=True)
    objects = UserManager()
    USERNAME_FIELD = "username"
    ROWS = {"alice": {}, "ivan": {"is_active": False}}

    class Meta:
        db_table = "elsewhere`.`plain people"
