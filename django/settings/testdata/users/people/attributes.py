"""Models whose attributes aren't what is in the columns."""

import django
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import AbstractUser, UserManager
from django.db import models
from django.db.models import F, Q
from django.db.models.signals import post_init


class Minimal(AbstractBaseUser):
    username = models.CharField(max_length=50, unique=True)
    banned = models.BooleanField(default=False)
    objects = BaseUserManager()
    USERNAME_FIELD = "username"
    ROWS = {"alice": {}, "mallory": {"banned": True}}

    class Meta:
        abstract = True


class WithoutActive(Minimal):
    ROWS = {"alice": {}}


class NobodyActive(Minimal):
    is_active = False


class ActiveProperty(AbstractUser):
    banned = models.BooleanField(default=False)
    ROWS = {"alice": {}, "mallory": {"banned": True}}

    @property
    def is_active(self):
        return not self.banned


class MinimalProperty(Minimal):
    @property
    def is_active(self):
        return not self.banned


class ActiveMethod(Minimal):
    def is_active(self):
        return not self.banned


class ActiveDescriptor:
    def __get__(self, instance, owner=None):
        return instance is None or not instance.banned

    def __set__(self, instance, value):
        pass


class ActiveByDescriptor(Minimal):
    is_active = ActiveDescriptor()


class ActiveParent(AbstractUser):
    banned = models.BooleanField(default=False)


class ActiveOfChild(ActiveParent):
    is_active = ActiveDescriptor()
    ROWS = {"alice": {}, "mallory": {"banned": True}}


class RenamedActive(Minimal):
    is_active = models.BooleanField(default=True, db_column="enabled")
    ROWS = {"alice": {}, "ivan": {"is_active": False}}


class NumericActive(Minimal):
    is_active = models.PositiveSmallIntegerField(default=1)
    ROWS = {"alice": {}, "two": {"is_active": 2}, "ivan": {"is_active": 0}}


class NullableActive(Minimal):
    is_active = models.BooleanField(null=True)
    ROWS = {"alice": {"is_active": True}, "ivan": {"is_active": False}}


class TextActive(Minimal):
    is_active = models.CharField(max_length=3, default="yes")
    ROWS = {"alice": {}, "ivan": {"is_active": ""}}


class InvertedField(models.BooleanField):
    def from_db_value(self, value, expression, connection):
        return not value

    def get_prep_value(self, value):
        return not value


class InvertedActive(Minimal):
    is_active = InvertedField(default=True)
    ROWS = {"alice": {}, "ivan": {"is_active": False}}


class ChangedByInit(Minimal):
    is_active = models.BooleanField(default=True)

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if self.banned:
            self.is_active = False


class ChangedByFromDB(Minimal):
    is_active = models.BooleanField(default=True)

    @classmethod
    def from_db(cls, db, field_names, values, **kwargs):
        user = super().from_db(db, field_names, values, **kwargs)
        user.is_active = user.is_active and not user.banned
        return user


class ChangedBySignal(Minimal):
    is_active = models.BooleanField(default=True)


def change(sender, instance, **kwargs):
    if instance.banned:
        instance.is_active = False


post_init.connect(change, sender=ChangedBySignal)


class ChangedByAccess(Minimal):
    is_active = models.BooleanField(default=True)

    def __getattribute__(self, name):
        if name == "is_active" and self.banned:
            return False
        return super().__getattribute__(name)


class Remembering(Minimal):
    is_active = models.BooleanField(default=True)
    ROWS = {"alice": {}, "ivan": {"is_active": False}}

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.username_before = self.username


class HiddenField(models.CharField):
    def from_db_value(self, value, expression, connection):
        return value and value[::-1]

    def get_prep_value(self, value):
        return value and value[::-1]


class HiddenName(AbstractUser):
    username = HiddenField(max_length=50, unique=True)
    ROWS = {"alice": {}}


class HiddenPassword(AbstractUser):
    password = HiddenField(max_length=128)
    ROWS = {"alice": {}}


class HiddenMail(AbstractUser):
    email = HiddenField(max_length=50)
    ROWS = {"alice": {}, "ivan": {"is_active": False}}


class ComputedMail(AbstractUser):
    email = property(lambda self: self.username + "@example.com")
    is_staff = property(lambda self: self.username == "alice")
    ROWS = {"alice": {}, "ivan": {"is_active": False}}


class HiddenKey(AbstractUser):
    id = HiddenField(primary_key=True, max_length=10, default="12345")
    ROWS = {"alice": {}}


if django.VERSION >= (5, 0):

    class GeneratedActive(Minimal):
        is_active = models.GeneratedField(expression=Q(banned=False), output_field=models.BooleanField(), db_persist=True)

    class GeneratedName(AbstractUser):
        login = models.GeneratedField(expression=F("first_name"), output_field=models.CharField(max_length=50), db_persist=True)
        ROWS = {"alice": {}, "ivan": {"is_active": False}}
