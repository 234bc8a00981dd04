"""
A Django site of its own, with the admin and a page for logging in, which is as
`startproject` makes it but for its settings.

The first line of standard input has Django's settings. The answer is a line with
the port. Every further line is a command as for django_side.py. All of it is
JSON.
"""

import json
import os
import sys
import threading
import traceback
import types
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pymysql

pymysql.install_as_MySQLdb()
# Django asks for the version of mysqlclient.
pymysql.version_info = (2, 2, 1, "final", 0)

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]


def configure(given):
    # A settings module and not settings.configure(), which doesn't put
    # TIME_ZONE into effect for naive times.
    module = types.ModuleType("project_settings")
    module.DEBUG = False
    module.ALLOWED_HOSTS = ["*"]
    module.INSTALLED_APPS = [
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.messages",
        "django.contrib.staticfiles",
    ]
    module.MIDDLEWARE = MIDDLEWARE
    module.TEMPLATES = TEMPLATES
    module.ROOT_URLCONF = "project_urls"
    module.STATIC_URL = "/static/"
    module.DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
    module.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    for name, value in given.items():
        setattr(module, name, value)
    sys.modules["project_settings"] = module
    os.environ["DJANGO_SETTINGS_MODULE"] = "project_settings"

    import django

    django.setup()


def urls(gateway):
    from django.contrib import admin
    from django.contrib.auth.views import LoginView, LogoutView
    from django.http import HttpResponse
    from django.urls import path

    # What docs/django-session.md says.
    class GatewayLoginView(LoginView):
        success_url_allowed_hosts = {gateway}
        template_name = "admin/login.html"
        redirect_authenticated_user = True

    def whoami(request):
        return HttpResponse(request.user.get_username())

    def remember(request):
        request.session["cart"] = "7 apples"
        return HttpResponse("remembered")

    def recall(request):
        return HttpResponse(request.session.get("cart", "nothing"))

    module = types.ModuleType("project_urls")
    module.urlpatterns = [
        path("admin/", admin.site.urls),
        path("accounts/login/", GatewayLoginView.as_view()),
        path("accounts/logout/", LogoutView.as_view(next_page="/whoami/")),
        path("whoami/", whoami),
        path("remember/", remember),
        path("recall/", recall),
    ]
    sys.modules["project_urls"] = module


class Quiet(WSGIRequestHandler):
    def log_message(self, *arguments):
        pass


COMMANDS = {}


def command(function):
    COMMANDS[function.__name__] = function
    return function


def find(username):
    from django.contrib.auth import get_user_model

    return get_user_model().objects.get(username=username)


@command
def create(username, password):
    from django.contrib.auth import get_user_model

    user = get_user_model().objects.create_superuser(username, "", password)
    return {"id": user.pk, "password": user.password}


@command
def set_password(username, password):
    user = find(username)
    user.set_password(password)
    user.save()


@command
def set_active(username, is_active):
    user = find(username)
    user.is_active = is_active
    user.save()


@command
def version():
    import django

    return {"version": django.get_version()}


def main():
    given = json.loads(sys.stdin.readline())
    configure(given)
    urls(given.get("GATEWAY"))

    from django.contrib.staticfiles.handlers import StaticFilesHandler
    from django.core.management import call_command
    from django.core.wsgi import get_wsgi_application
    from django.db import connection

    call_command("migrate", run_syncdb=True, verbosity=0)
    # As `runserver` has it, so that a browser gets the admin's styles.
    site = StaticFilesHandler(get_wsgi_application())
    server = make_server("127.0.0.1", 0, site, handler_class=Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"port": server.server_port}), flush=True)
    for line in sys.stdin:
        arguments = json.loads(line)
        try:
            result = COMMANDS[arguments.pop("do")](**arguments)
        except Exception:
            result = {"error": traceback.format_exc()}
        connection.close()
        print(json.dumps(result or {}), flush=True)


main()
