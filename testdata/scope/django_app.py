"""An application that finds its report by the path or the query, with Django.
Its arguments are a host and a port."""
import posixpath
import sys
from wsgiref.simple_server import WSGIRequestHandler, make_server

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import re_path

settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="none")


def report(request):
    name = posixpath.basename(posixpath.normpath(request.path_info))
    return HttpResponse(f"report {name} id {request.GET.get('id')}")


urlpatterns = [re_path("", report)]


class Quiet(WSGIRequestHandler):
    def log_message(self, *args):
        pass


host, port = sys.argv[1:]
make_server(host, int(port), get_wsgi_application(), handler_class=Quiet).serve_forever()
