from django_otp.models import Device


class Pager(Device):
    """A device that django-otp doesn't ship."""
