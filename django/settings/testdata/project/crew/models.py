import uuid

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models


class Member(AbstractBaseUser):
    """A table where hardly anything is called as in auth_user."""

    number = models.PositiveIntegerField(unique=True, db_column="member no")
    password = models.CharField(max_length=128, db_column="hash")
    last_login = models.DateTimeField(null=True, db_column="seen")
    login = models.CharField(max_length=150, unique=True)
    mail = models.EmailField()

    objects = BaseUserManager()

    USERNAME_FIELD = "login"
    EMAIL_FIELD = "mail"

    class Meta:
        db_table = "ship's.crew"


class Guest(AbstractBaseUser):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    username = models.CharField(max_length=150, unique=True)
    email = models.EmailField()
    is_active = models.BooleanField(default=True)

    objects = BaseUserManager()

    USERNAME_FIELD = "username"


class Document(AbstractBaseUser):
    id = models.CharField(primary_key=True, max_length=24)
    username = models.CharField(max_length=150, unique=True)
    email = models.EmailField()
    is_active = models.BooleanField(default=True)

    objects = BaseUserManager()

    USERNAME_FIELD = "username"
