"""Reads hexadecimal queries, one a line, and prints how Python reads the
parameter id of each."""
import json
import sys
import urllib.parse

from django.conf import settings
from django.http import QueryDict

settings.configure()


def one(values):
    return values[0].encode("utf-8", "surrogateescape").hex() if len(values) == 1 else None


def read(query):
    text = query.decode("latin-1")
    return {
        "parse_qs": one(urllib.parse.parse_qs(text).get("id", [])),
        "QueryDict": one(QueryDict(query).getlist("id")),
    }


for line in sys.stdin:
    print(json.dumps(read(bytes.fromhex(line.strip()))))
