from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import PermissionsMixin, UserManager
from django.db import models


class LivingManager(UserManager):
    def get_queryset(self):
        return super().get_queryset().filter(deleted_at__isnull=True)


class Person(AbstractBaseUser, PermissionsMixin):
    password = models.CharField(max_length=128, db_column="hash")
    login = models.CharField(max_length=150, unique=True)
    is_active = models.BooleanField(default=True, db_column="enabled")
    deleted_at = models.DateTimeField(null=True)

    objects = LivingManager()

    USERNAME_FIELD = "login"

    class Meta:
        managed = False
        db_table = "staff`.`people"
