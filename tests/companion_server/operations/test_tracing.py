"""With the real SDK: its in-memory exporter, and a real OTLP/HTTP receiver in this process."""

import gzip
import http.server
import logging
import subprocess
import sys
import threading
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from companion_server.operations.metrics import Metrics
from companion_server.operations.records import RequestRecord
from companion_server.operations.telemetry import Telemetry
from companion_server.operations.tracing import open_tracer, tracer_of
from headtail.errors import UsageFault
from headtail.wire.traceparent import TraceParent

PHONE = TraceParent("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", sampled=True)
STAGES = {"decode": 0.5, "queue": 2.0, "compute": 4.0, "encode": 0.25}


def finished(trace=PHONE, **changes):
    record = RequestRecord(trace=trace, model="toy", cut="c1", codec="aq8t", batch=3, bytes_in=77)
    for name, ms in STAGES.items():
        setattr(record, f"{name}_ms", ms)
    record.started -= 0.010  # it began 10 ms ago: 3.25 ms went by before it was decoded
    for name, value in changes.items():
        setattr(record, name, value)
    return record


@pytest.fixture
def spans():
    """`(telemetry, spans by name)` with the in-memory exporter."""
    exporter = InMemorySpanExporter()
    tracer = tracer_of(SimpleSpanProcessor(exporter))
    yield (
        Telemetry(Metrics(), tracer=tracer),
        lambda: {span.name: span for span in exporter.get_finished_spans()},
    )
    tracer.close()


def test_the_stages_hang_under_the_phone_s_span(spans):
    telemetry, found = spans
    telemetry.finish(finished(), 200)
    named = found()
    root = named.pop("infer")
    assert f"{root.context.trace_id:032x}" == PHONE.trace_id
    assert f"{root.parent.span_id:016x}" == PHONE.span_id
    assert root.parent.is_remote
    assert root.attributes["headtail.cut"] == "c1"
    assert root.attributes["headtail.codec"] == "aq8t"
    assert root.attributes["headtail.batch"] == 3
    assert root.attributes["http.request.body.size"] == 77
    assert set(named) == set(STAGES)
    for name, span in named.items():
        assert span.parent.span_id == root.context.span_id
        assert span.context.trace_id == root.context.trace_id
        assert (span.end_time - span.start_time) / 1e6 == pytest.approx(STAGES[name], abs=1e-3)
    order = [named[name] for name in STAGES]
    assert [span.start_time for span in order[1:]] == [span.end_time for span in order[:-1]]
    assert root.start_time < order[0].start_time
    assert abs(order[-1].end_time - root.end_time) < 1000  # ns, of rounding


def test_without_a_parent_a_trace_begins_here(spans):
    telemetry, found = spans
    telemetry.finish(finished(trace=None), 200)
    assert found()["infer"].parent is None


def test_what_the_phone_does_not_record_is_not_recorded(spans):
    telemetry, found = spans
    silent = TraceParent(PHONE.trace_id, PHONE.span_id, sampled=False)
    telemetry.finish(finished(trace=silent), 200)
    assert found() == {}


def test_a_refused_request_has_no_stages_and_a_failed_one_an_error(spans):
    telemetry, found = spans
    telemetry.finish(finished(batch=0, shed="queue"), 429)
    (span,) = found().values()
    assert span.attributes["headtail.shed"] == "queue"
    assert span.status.is_unset
    telemetry.finish(finished(batch=0), 503)
    assert found()["infer"].status.status_code is StatusCode.ERROR


def test_health_and_metrics_make_no_spans(spans):
    telemetry, found = spans
    telemetry.finish(RequestRecord(), 200)
    assert found() == {}


def test_a_share_of_the_rest():
    exporter = InMemorySpanExporter()
    tracer = tracer_of(SimpleSpanProcessor(exporter), ratio=0.0)
    tracer.record(finished(trace=None))
    assert exporter.get_finished_spans() == ()
    tracer.record(finished())  # the phone's word goes first
    assert len(exporter.get_finished_spans()) == 5
    tracer.close()


class Collector(http.server.HTTPServer):
    def __init__(self):
        super().__init__(("127.0.0.1", 0), Receiver)
        self.got: list[tuple[str, Any]] = []


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        assert isinstance(self.server, Collector)
        self.server.got.append((self.path, ExportTraceServiceRequest.FromString(body)))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_args):
        pass


def test_a_real_receiver_gets_them():
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            tracer = open_tracer(f"http://127.0.0.1:{server.server_port}/")
            tracer.record(finished())
            tracer.close()  # sends what waits
        finally:
            server.shutdown()
            thread.join()
    ((path, request),) = server.got
    assert path == "/v1/traces"
    (resource,) = request.resource_spans
    attributes = {a.key: a.value.string_value for a in resource.resource.attributes}
    assert attributes["service.name"] == "headtail"
    sent = [span for scope in resource.scope_spans for span in scope.spans]
    assert {span.name for span in sent} == {"infer", *STAGES}
    assert {span.trace_id.hex() for span in sent} == {PHONE.trace_id}
    root = next(span for span in sent if span.name == "infer")
    assert root.parent_span_id.hex() == PHONE.span_id


@pytest.mark.slow
def test_a_receiver_that_is_not_there_costs_no_request(caplog):
    caplog.set_level(logging.CRITICAL, "opentelemetry")
    tracer = open_tracer("http://127.0.0.1:9")
    tracer.record(finished())
    tracer.close()


def test_what_is_no_address_is_refused():
    with pytest.raises(UsageFault, match="OTLP/HTTP receiver is http://HOST:PORT"):
        open_tracer("localhost:4317")


def test_without_an_exporter_opentelemetry_is_not_imported():
    header = str(PHONE)
    code = (
        "import sys, companion_server.operations.telemetry as t\n"
        "from companion_server.operations.metrics import Metrics\n"
        f"x = t.Telemetry(Metrics()); x.finish(x.begin('rest', '{header}'), 200)\n"
        "print([m for m in sys.modules if m.startswith('opentelemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
