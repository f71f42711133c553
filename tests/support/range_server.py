"""A threaded HTTP server of one downloadable bundle, with ranges, that can be told to misbehave."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import threading
from typing import Any


class RangeServer:
    """`ranges` collects the `Range` header of every download, None where there was none."""

    def __init__(self, bundle_id: str, data: bytes) -> None:
        self.data = b""
        self.etag = ""
        self.listing: list[dict[str, Any]] = []
        self.hold(bundle_id, data)
        self.ranges: list[str | None] = []
        self.stop_after: int | None = None  # close the connection after so many bytes of the body
        self.honours_ranges = True
        self.content_range: str | None = ""  # sent instead of the right one; None sends none
        self.stall: threading.Event | None = None  # wait for it in the middle of the body,
        self.stall_after = 100  # after so many bytes
        self.gone = False
        self._http = _Server(self)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))

    def hold(self, bundle_id: str, data: bytes) -> None:
        """Offer `data` as the zip of `bundle_id`, listed truthfully."""
        digest = hashlib.sha256(data).hexdigest()
        self.data, self.etag = data, f'"{digest}"'
        self.listing = [
            {"bundle_id": bundle_id, "name": "tiny", "bytes": len(data), "sha256": digest}
        ]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> RangeServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.stall is not None:
            self.stall.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self, origin: RangeServer) -> None:
        self.origin = origin
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(http.server.BaseHTTPRequestHandler):
    # HTTP/1.0 closes after every reply, so no handler thread outlives its request

    @property
    def origin(self) -> RangeServer:
        assert isinstance(self.server, _Server)
        return self.server.origin

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base's word
        pass

    def do_GET(self) -> None:
        if self.path == "/v2/bundles":
            self._send(200, {}, json.dumps(self.origin.listing).encode())
            return
        self.origin.ranges.append(self.headers["Range"])
        if self.origin.gone:
            self._send(404, {}, b'{"error":"gone"}')
            return
        headers = {"ETag": self.origin.etag}
        start = self._start()
        status = 206 if start is not None else 200
        size = len(self.origin.data)
        if start is not None:
            right = f"bytes {start}-{size - 1}/{size}"
            told = right if self.origin.content_range == "" else self.origin.content_range
            headers |= {} if told is None else {"Content-Range": told}
        self._send(status, headers, self.origin.data[start or 0 :])

    def _start(self) -> int | None:
        wanted = self.headers["Range"]
        if wanted is None or not self.origin.honours_ranges:
            return None
        if self.headers["If-Range"] != self.origin.etag:
            return None
        return int(wanted.removeprefix("bytes=").removesuffix("-"))

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        is_download = self.path != "/v2/bundles"
        body = body[: self.origin.stop_after] if is_download else body
        with contextlib.suppress(OSError):  # the client may have had enough
            if is_download and self.origin.stall is not None:
                self.wfile.write(body[: self.origin.stall_after])
                self.origin.stall.wait()
                body = body[self.origin.stall_after :]
            self.wfile.write(body)
