"""`python -m companion_server.operations.probe`: is the server of this machine ready? For Docker.

Asks `/v2/health/ready` on the port of the settings (environment and defaults), or at the address
given as its only argument. Exit code 0: ready; 1: it answers, but not ready; 2: nothing answers.

Over TLS the certificate is not checked: the question goes to this very machine and carries nothing.
"""

from __future__ import annotations

import http.client
import ssl
import sys
from urllib.parse import urlsplit

__all__ = ["probe"]

READY, NOT_READY, NO_ANSWER = 0, 1, 2
TIMEOUT_S = 5.0
PATH = "/v2/health/ready"


def probe(url: str) -> int:
    """The exit code for the server at `url`."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", PATH)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        print(f"{url} does not answer: {error}", file=sys.stderr)
        return NO_ANSWER
    finally:
        connection.close()
    print(f"{url}{PATH}: {status}")
    return READY if status == http.HTTPStatus.OK else NOT_READY


def _own_url() -> str:
    from companion_server.settings import Settings

    settings = Settings.from_env()
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    named = f"[{host}]" if ":" in host else host
    return f"{'https' if settings.tls else 'http'}://{named}:{settings.port}"


if __name__ == "__main__":
    sys.exit(probe(sys.argv[1] if len(sys.argv) > 1 else _own_url()))
