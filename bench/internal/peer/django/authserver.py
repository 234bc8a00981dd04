"""
A Django with django-sesame that answers one question: whose token is this?

It is as quick as Django can be made with settings alone: no middleware, no
templates, and connections to the database that stay open.
"""

import os

import pymysql

# Django asks for a recent mysqlclient, which PyMySQL says that it is.
pymysql.version_info = (2, 2, 7, "final", 0)
pymysql.install_as_MySQLdb()

from django.conf import settings  # noqa: E402

host, _, port = os.environ["BENCH_DATABASE"].partition(":")

settings.configure(
    DEBUG=False,
    SECRET_KEY=os.environ["DJANGO_SECRET_KEY"],
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"],
    AUTHENTICATION_BACKENDS=["sesame.backends.ModelBackend"],
    MIDDLEWARE=[],
    USE_TZ=True,
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.mysql",
            "NAME": os.environ["BENCH_DATABASE_NAME"],
            "USER": "root",
            "HOST": host,
            "PORT": port,
            "CONN_MAX_AGE": None,
        }
    },
    SESAME_MAX_AGE=int(os.environ["SESAME_MAX_AGE"]),
)

from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.urls import path  # noqa: E402

application = get_wsgi_application()

from sesame.utils import get_user  # noqa: E402


def auth(request):
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    user = get_user(token) if scheme == "Bearer" else get_user(request)
    if user is None:
        return HttpResponse(status=401)
    response = HttpResponse()
    response["Remote-User"] = user.get_username()
    return response


urlpatterns = [path("auth", auth)]
