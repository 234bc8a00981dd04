from django.contrib.auth.models import AbstractUser
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models


class Visit(AbstractBaseSession):
    """A session with the address that it was last seen at."""

    address = models.CharField(max_length=45, null=True)

    class Meta:
        db_table = "visits"


class Renamed(AbstractBaseSession):
    expire_date = models.DateTimeField(db_column="ends")


class Open(models.Manager):
    def get_queryset(self):
        return super().get_queryset().filter(address=None)


class Hidden(AbstractBaseSession):
    address = models.CharField(max_length=45, null=True)
    objects = Open()


class Member(AbstractUser):
    """A user whose sessions end with something other than the password."""

    groups = user_permissions = None

    def get_session_auth_hash(self):
        return "x"
