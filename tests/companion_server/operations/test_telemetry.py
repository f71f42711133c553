"""The middleware behind a real uvicorn."""

import http.client
import socket

from companion_server.operations.metrics import CLIENT_GONE, Metrics
from companion_server.operations.records import current_record
from companion_server.operations.telemetry import Telemetry, TelemetryMiddleware
from companion_server.security.scopes import PRINCIPAL, Principal
from tests.companion_server.operations.conftest import poll

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class Kept(Metrics):
    """Metrics that also keep the records."""

    def __init__(self):
        super().__init__()
        self.records = []

    def observe(self, record):
        super().observe(record)
        self.records.append(record)


def application(seen):
    async def app(scope, receive, send):
        record = current_record.get()
        assert record is not None
        seen.append(record.trace and record.trace.trace_id)
        if scope["path"] == "/broken":
            raise RuntimeError("broken")
        if scope["path"] == "/wait":
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        while (await receive()).get("more_body"):
            pass
        scope[PRINCIPAL] = Principal("k1", "Pixel 9", ())
        record.model, record.batch = "toy", 2
        headers = [(b"content-length", b"6")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"abc", "more_body": True})
        await send({"type": "http.response.body", "body": b"def"})

    return app


def test_sizes_status_trace_and_client_of_a_request(serve):
    metrics = Kept()
    seen: list[str | None] = []
    port = serve(TelemetryMiddleware(application(seen), Telemetry(metrics)))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    headers = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    connection.request("POST", "/", b"x" * 200_000, headers)
    assert connection.getresponse().read() == b"abcdef"
    connection.request("GET", "/", headers={"traceparent": "nonsense"})
    connection.getresponse().read()
    connection.close()
    first, second = poll(lambda: len(metrics.records) == 2 and metrics.records)
    assert (first.status, first.bytes_in, first.bytes_out) == (200, 200_000, 6)
    assert (first.client, first.client_name) == ("k1", "Pixel 9")
    assert first.trace.trace_id == TRACE
    assert first.total_ms > 0
    assert second.trace is None
    assert seen == [TRACE, None]  # one task's trace is not the next one's


def test_a_failure_is_counted_as_what_the_server_answers(serve, caplog):
    metrics = Kept()
    port = serve(TelemetryMiddleware(application([]), Telemetry(metrics)))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/broken")
    assert connection.getresponse().status == 500
    connection.close()
    (record,) = poll(lambda: metrics.records)
    assert (record.status, record.client) == (500, "127.0.0.1")
    assert "broken" in caplog.text


def test_a_client_that_hung_up_is_told_from_a_failure(serve):
    metrics = Kept()
    port = serve(TelemetryMiddleware(application([]), Telemetry(metrics)))
    with socket.create_connection(("127.0.0.1", port)) as phone:
        phone.sendall(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
    (record,) = poll(lambda: metrics.records)
    assert record.status == CLIENT_GONE
    assert metrics.totals()["failed"] == 0
