"""An application: python3 app.py PORT KEYS_URL AUDIENCE"""

import sys
from wsgiref.simple_server import make_server

from assertion import Assertions, Refused


def main(port, keys_url, audience):
    assertions = Assertions(keys_url, audience)

    def app(environ, start_response):
        try:
            claims = assertions.verify(environ.get("HTTP_AUTHORIZATION"))
        except Refused as refused:
            start_response("401 Unauthorized", [("Content-Type", "text/plain")])
            return [f"refused: {refused}\n".encode()]
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [f"user {claims['sub']}, {claims.get('preferred_username', '')}\n".encode()]

    make_server("127.0.0.1", int(port), app).serve_forever()


main(*sys.argv[1:])
