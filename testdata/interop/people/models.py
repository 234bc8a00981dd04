"""User models of every kind of primary key that Django has a field for."""

import secrets
import uuid

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models


class Person(AbstractBaseUser):
    username = models.CharField(max_length=150, unique=True)
    email = models.EmailField(blank=True)
    is_active = models.BooleanField(default=True)

    objects = BaseUserManager()

    USERNAME_FIELD = "username"
    EMAIL_FIELD = "email"

    class Meta:
        abstract = True


class SmallPerson(Person):
    id = models.SmallAutoField(primary_key=True)


class BigPerson(Person):
    id = models.BigAutoField(primary_key=True)


class PositiveBigPerson(Person):
    # More than a signed integer of 64 bits could hold would be out of
    # Django's range; this is out of what a float could.
    id = models.PositiveBigIntegerField(
        primary_key=True, default=lambda: 2**62 + secrets.randbits(32)
    )


class UUIDPerson(Person):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)


class NamedPerson(Person):
    """A table where nothing is called as in auth_user."""

    code = models.CharField(
        primary_key=True, max_length=40, default=lambda: "ä " + secrets.token_hex(8)
    )
    password = models.CharField(max_length=128, db_column="hash")
    last_login = models.DateTimeField(null=True, db_column="seen")
    username = models.CharField(max_length=150, unique=True, db_column="login")
    email = models.EmailField(blank=True, db_column="mail")
    is_active = models.BooleanField(default=True, db_column="enabled")

    class Meta:
        db_table = "crew"


class HexPerson(Person):
    id = models.CharField(
        primary_key=True, max_length=24, default=lambda: secrets.token_hex(12)
    )


class NumberedPerson(Person):
    """Tokens hold the number, not the primary key."""

    number = models.PositiveIntegerField(
        unique=True, default=lambda: 2**31 - 1 - secrets.randbits(30)
    )
