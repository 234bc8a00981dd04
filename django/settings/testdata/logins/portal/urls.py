from django.conf import settings
from django.http import HttpResponse
from django.urls import include, path


def page(request):
    return HttpResponse()


urlpatterns = [path("accounts/", include([path("sign-in/", page, name="login")]))]

if "rest_framework" in settings.INSTALLED_APPS:
    from rest_framework.views import APIView

    from portal import api

    class Reports(APIView):
        authentication_classes = [getattr(api, name) for name in getattr(settings, "PORTAL_REPORTS", ())]

    urlpatterns.append(path("reports/", Reports.as_view()))
