"""What the server counts, for Prometheus: its own registry, bounded labels, no globals.

What others call, all on the event loop's thread:

    metrics.manifests = lambda: ...   the manifests held now: their names may be label values
    metrics.observe(record)           one request was answered (5 us: `RequestRecord`)
    metrics.shed(reason)              one was not taken: a key of `SHED_REASONS`
    metrics.refused(reason)           a connection was closed: a key of `CONNECTION_REASONS`
    metrics.exposition()              the text of `/metrics`
    metrics.engine_status = engine.status
                                      read at each scrape; its keys, all of them optional:
                                      {"queue": {"jobs": int, "bytes": int},
                                       "executors": [{"restarts": int}, ...],
                                       "bundles": {id: {"memory_bytes": int, "entries": [...]}}}

A label value is one that a held manifest has, or a word of this file, or `other`; after
`MAX_LABELS` of a kind, further ones are `other` too, so that publishing for years cannot fill the
memory. Format: https://prometheus.io/docs/instrumenting/exposition_formats/.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from importlib import metadata
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

import headtail
from companion_server.operations.reasons import CONNECTION_REASONS, SHED_REASONS
from companion_server.operations.records import RequestRecord
from companion_server.operations.rolling import Rolling
from companion_server.operations.tallies import CounterTally, HistogramTally
from headtail.manifest import Manifest
from headtail.wire.codecs import CODEC_IDS

__all__ = [
    "CLIENT_GONE",
    "CONTENT_TYPE",
    "OTHER",
    "Metrics",
    "package_version",
]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OTHER = "other"
WHOLE = "whole"  # the cut of a request that was not split
PLAIN = "plain"  # its codec
MAX_LABELS = 128  # models, and cuts: each kind for itself
PROTOCOLS = ("rest", "grpc", "ws")
CLIENT_GONE = 499  # not a status that is sent: the client hung up before there was one
STATUSES = frozenset(int(status) for status in HTTPStatus) | {CLIENT_GONE}
# from the added latency of one request on loopback to beyond any deadline
SECONDS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025),
    *(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
SAMPLES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics(Collector):
    """Everything counted by one server process."""

    def __init__(self, *, window_s: float = 60.0) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self.rolling = Rolling(window_s=window_s)
        self.manifests: Callable[[], Iterable[Manifest]] = tuple
        self.engine_status: Callable[[], Mapping[str, Any]] = dict
        self.connections: Callable[[], int] = int
        self.body_bytes: Callable[[], int] = int
        self._models: set[str] = set()
        self._cuts: set[str] = set()
        self._build = _build_info()
        self._make_tallies()
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    def _make_tallies(self) -> None:
        counter, histogram = CounterTally, HistogramTally
        self._requests = counter(
            "headtail_requests", "Requests answered.", ("protocol", "status", "model")
        )
        self._inferences = counter(
            "headtail_inferences",
            "Inferences answered with 200, by cut ('whole': not split) and codec ('plain').",
            ("model", "cut", "codec"),
        )
        self._stages = histogram(
            "headtail_stage_seconds",
            "Time of one inference answered with 200 in each stage; total: from the request's head "
            "to the last byte of the reply.",
            bounds=SECONDS,
            labels=("stage", "model"),
        )
        self._batch = histogram(
            "headtail_batch_samples",
            "Samples that were computed together, once for each inference that took part.",
            bounds=SAMPLES,
        )
        self._bytes_in = counter(
            "headtail_request_body_bytes", "Bytes of request bodies as they came.", ("model",)
        )
        self._bytes_out = counter(
            "headtail_response_body_bytes", "Bytes of response bodies as they went.", ("model",)
        )
        self._boundary = counter(
            "headtail_split_request_body_bytes",
            "Bytes of the request bodies of split inferences answered with 200, as they came.",
            ("model",),
        )
        self._raw32 = counter(
            "headtail_split_input_raw32_bytes",
            "Bytes that the model's inputs of the same inferences would have taken as float32, "
            "without any head. This less headtail_split_request_body_bytes is what was saved; a "
            "compressed photo would be smaller than raw32.",
            ("model",),
        )
        self._shed = counter("headtail_shed", "Requests not taken, by reason.", ("reason",))
        self._refused = counter(
            "headtail_connections_closed", "Connections closed by the server.", ("reason",)
        )
        for reason in SHED_REASONS:
            self._shed.add((reason,), 0)
        for reason in CONNECTION_REASONS:
            self._refused.add((reason,), 0)

    def _known(self, name: str, names: set[str], of: Callable[[Manifest], Iterable[str]]) -> str:
        """`name` as a label value; one never met before is looked for in the manifests held."""
        if name in names:
            return name
        if len(names) < MAX_LABELS and any(name in of(held) for held in self.manifests()):
            names.add(name)
            return name
        return OTHER

    def observe(self, record: RequestRecord) -> None:
        """Count a finished request."""
        model = record.model and self._known(record.model, self._models, _models)
        protocol = record.protocol if record.protocol in PROTOCOLS else OTHER
        status = str(record.status) if record.status in STATUSES else OTHER
        self._requests.add((protocol, status, model))
        by_model = (model,)
        self._bytes_in.add(by_model, record.bytes_in)
        self._bytes_out.add(by_model, record.bytes_out)
        if record.shed:
            self.shed(record.shed)
        elif record.status == HTTPStatus.GATEWAY_TIMEOUT:
            self.shed("late")
        if record.batch and record.status == 200:  # OK: everything else computed nothing
            self._observe_inference(record, model)
        self.rolling.add(record)

    def _observe_inference(self, record: RequestRecord, model: str) -> None:
        observe = self._stages.observe
        observe(("decode", model), record.decode_ms / 1e3)
        observe(("queue", model), record.queue_ms / 1e3)
        observe(("compute", model), record.compute_ms / 1e3)
        observe(("encode", model), record.encode_ms / 1e3)
        observe(("total", model), record.total_ms / 1e3)
        self._batch.observe((), record.batch)
        cut = codec = ""
        if record.cut:
            cut = self._known(record.cut, self._cuts, _cuts)
            codec = record.codec if record.codec in CODEC_IDS else OTHER
            self._boundary.add((model,), record.bytes_in)
            self._raw32.add((model,), record.raw32_bytes)
        self._inferences.add((model, cut or WHOLE, codec or PLAIN))

    def shed(self, reason: str) -> None:
        """Count a request that was not taken."""
        self._shed.add((reason if reason in SHED_REASONS else OTHER,))

    def refused(self, reason: str) -> None:
        """Count a connection that the server closed."""
        self._refused.add((reason if reason in CONNECTION_REASONS else OTHER,))

    def exposition(self) -> bytes:
        """Everything in Prometheus' text format (`CONTENT_TYPE`)."""
        return generate_latest(self.registry)

    def totals(self) -> dict[str, Any]:
        """Sums since the start, for the status page."""
        requests, came = self._requests.values, self._boundary.values
        return {
            "requests": int(sum(requests.values())),
            "inferences": int(sum(self._inferences.values.values())),
            "failed": int(sum(n for key, n in requests.items() if key[1].startswith("5"))),
            "bytes_in": int(sum(self._bytes_in.values.values())),
            "bytes_out": int(sum(self._bytes_out.values.values())),
            "split_bytes_in": int(sum(came.values())),
            "split_raw32_bytes": int(sum(self._raw32.values.values())),
            "shed": {key[0]: int(count) for key, count in self._shed.values.items() if count},
            "connections_closed": {k[0]: int(n) for k, n in self._refused.values.items() if n},
        }

    def collect(self) -> Iterable[Metric]:
        """For the registry."""
        for tally in (
            self._requests,
            self._inferences,
            self._stages,
            self._batch,
            self._bytes_in,
            self._bytes_out,
            self._boundary,
            self._raw32,
            self._shed,
            self._refused,
        ):
            yield tally.family()
        yield from self._asked()

    def _asked(self) -> Iterable[Metric]:
        told = self.engine_status()
        queue = told.get("queue", {})
        yield _gauge("headtail_queue_jobs", "Jobs that wait.", queue.get("jobs", 0))
        yield _gauge("headtail_queue_bytes", "Memory of the jobs that wait.", queue.get("bytes", 0))
        yield _gauge(
            "headtail_request_bodies_in_flight_bytes",
            "Bytes promised by the request bodies being read or answered.",
            self.body_bytes(),
        )
        yield _gauge("headtail_connections", "Open connections.", self.connections())
        yield _gauge(
            "headtail_clients",
            f"Clients (keys, or addresses without keys) seen within {self.rolling.window_s:g} s.",
            self.rolling.connected,
        )
        yield CounterMetricFamily(
            "headtail_executor_restarts",
            "Times that a process that computes had to be replaced.",
            sum(executor.get("restarts", 0) for executor in told.get("executors", ())),
        )
        yield from _tail_gauges(told.get("bundles", {}))
        build = GaugeMetricFamily(
            "headtail_build_info", "Always 1; versions as labels.", labels=list(self._build)
        )
        build.add_metric(list(self._build.values()), 1)
        yield build


def _models(manifest: Manifest) -> Iterable[str]:
    return (manifest.name,)


def _cuts(manifest: Manifest) -> Iterable[str]:
    return (cut.id for cut in manifest.cuts)


def _gauge(name: str, documentation: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, documentation, value=value)


def _tail_gauges(bundles: Mapping[str, Mapping[str, Any]]) -> Iterable[Metric]:
    loaded = GaugeMetricFamily(
        "headtail_tail_entries",
        "Cuts (and the whole model) at which a loaded bundle can be entered.",
        labels=["bundle"],
    )
    memory = GaugeMetricFamily(
        "headtail_tail_memory_bytes",
        "Memory that a loaded bundle's tail takes, weights shared by its cuts.",
        labels=["bundle"],
    )
    for bundle_id, info in bundles.items():
        labels = [bundle_id[:12]]  # as everywhere on the status page: enough to tell them apart
        loaded.add_metric(labels, len(info.get("entries", ())))
        memory.add_metric(labels, info.get("memory_bytes", 0))
    return loaded, memory


def _build_info() -> dict[str, str]:
    return {
        "version": headtail.__version__,
        "python": platform.python_version(),
        "torch": package_version("torch"),  # importing it would cost this process 300 MB
    }


def package_version(package: str) -> str:
    """Version of an installed package, empty without it; it is not imported."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
