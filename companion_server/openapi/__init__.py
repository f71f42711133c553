"""The page at `/openapi.json`: every route, header, status and body, as OpenAPI 3.1.

    document.py    FastAPI's own page, completed from the tables below
    operations.py  what each route takes and gives
    statuses.py    what goes wrong, and how it is told
    schemas.py     the bodies

Source: https://spec.openapis.org/oas/v3.1.0. Nothing here decides anything: a test sends requests
made from this page to a real server and holds every answer against it.
"""

from __future__ import annotations

from companion_server.openapi.document import describe, install

__all__ = ["describe", "install"]
