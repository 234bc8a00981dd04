"""
A project with the API tokens of Django REST framework, django-rest-knox and
SimpleJWT, for the test that compares its verdicts with the gateway's.

The first line of standard input has the settings, every further line a
question. Each gets one line in return. All of it is JSON.
"""

import json
import sys

import pymysql

pymysql.install_as_MySQLdb()

import django
from django.conf import settings

LIBRARIES = ["rest_framework", "rest_framework.authtoken", "knox", "rest_framework_simplejwt", "rest_framework_simplejwt.token_blacklist"]


def configure(given):
    settings.configure(
        ALLOWED_HOSTS=["*"],
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", *LIBRARIES],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
        REST_KNOX={"AUTH_HEADER_PREFIX": "Knox"},
        **given,
    )
    django.setup()
    from knox.settings import CONSTANTS

    print(json.dumps({"generation": 4 if CONSTANTS.TOKEN_KEY_LENGTH == 8 else 5}), flush=True)


def issue(username):
    """Tokens of a user, as each library issues them."""
    from django.contrib.auth import get_user_model
    from knox.models import AuthToken
    from rest_framework.authtoken.models import Token
    from rest_framework_simplejwt.tokens import AccessToken, RefreshToken, SlidingToken

    user = get_user_model().objects.get(username=username)
    listed = SlidingToken.for_user(user)
    listed.blacklist()
    return {
        "drf": Token.objects.get_or_create(user=user)[0].key,
        "knox": AuthToken.objects.create(user)[1],
        "access": str(AccessToken.for_user(user)),
        "refresh": str(RefreshToken.for_user(user)),
        "sliding": str(SlidingToken.for_user(user)),
        "listed": str(listed),
    }


def verdicts(headers):
    """Whose requests those with the headers are, by one view for all tokens."""
    from django.test import RequestFactory
    from knox.auth import TokenAuthentication as KnoxAuthentication
    from rest_framework.authentication import TokenAuthentication
    from rest_framework.permissions import IsAuthenticated
    from rest_framework.response import Response
    from rest_framework.views import APIView
    from rest_framework_simplejwt.authentication import JWTAuthentication

    class Whoami(APIView):
        authentication_classes = [TokenAuthentication, KnoxAuthentication, JWTAuthentication]
        permission_classes = [IsAuthenticated]

        def get(self, request):
            return Response(request.user.username)

    view = Whoami.as_view()
    users = []
    for header in headers:
        # A server passes bytes on as Latin-1 (PEP 3333).
        request = RequestFactory().get("/", HTTP_AUTHORIZATION=header.encode().decode("latin-1"))
        try:
            response = view(request)
        except ValueError:  # of knox 4, for a token that isn't ASCII: Django answers 500
            users.append("")
        else:
            users.append(response.data if response.status_code == 200 else "")
    return users


def main():
    configure(json.loads(sys.stdin.readline()))
    for line in sys.stdin:
        question = json.loads(line)
        do = {"issue": issue, "verdicts": verdicts}[question.pop("do")]
        print(json.dumps(do(**question)), flush=True)


main()
