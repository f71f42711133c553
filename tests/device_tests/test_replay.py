"""What is judged by what: an in-process target gives back what the test wants it to give back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from device_tests.replay import Replays
from device_tests.targets.base import (
    Call,
    CallResult,
    FormatSupport,
    Job,
    JobRefused,
    JobResult,
    TargetFacts,
)
from headtail.bundle import Bundle, BundleWriter
from headtail.errors import SchemaFault, TensorMismatch
from headtail.golden import GoldenSet
from headtail.manifest import FORWARD, Agreement, Artifact, Entry
from headtail.metrics import DB_LIMIT
from headtail.tensorfile import dump
from headtail.tensors import Array
from tests.support.bundles import FILES, golden_tensors, manifest_of

Change = Callable[[Array], Array]
RECORDED_DB = 20.0


class EchoTarget:
    """A stand-in for a target: answers with the golden outputs themselves, `change`d."""

    forward_limit: int | None = None
    head_limit: int | None = None
    warmup = 0
    runs = 2

    def __init__(self, bundle: Bundle, change: Change, *, timing_kind: str = "host") -> None:
        self.name = f"echo-{timing_kind}-{id(self)}"
        self.timing_kind = timing_kind
        self._bundle = bundle
        self._golden = GoldenSet(bundle)
        self._change = change
        self.jobs = 0

    def start(self) -> None:
        """Always ready."""

    def describe(self) -> TargetFacts:
        """Nothing but the kind."""
        return TargetFacts(self.name, self.timing_kind, "", "", "", {}, ())

    def formats(self) -> Mapping[str, FormatSupport]:
        """Everything."""
        return dict.fromkeys(("litert", "executorch", "coreml"), FormatSupport(version="0"))

    def run(self, job: Job) -> JobResult:
        """Golden outputs of each call."""
        self.jobs += 1
        entries = {e.name: e for a in self._bundle.manifest.artifacts for e in a.entries}
        calls = []
        for call in job.calls:
            outputs = tuple(self._change(array) for array in self._expected(entries, call))
            calls.append(CallResult(outputs, (1.0,) * job.runs))
        return JobResult("echo", "0", "", self.timing_kind, 1.0, 1, tuple(calls))

    def close(self) -> None:
        """Nothing."""

    def _expected(self, entries: Mapping[str, Entry], call: Call) -> tuple[Array, ...]:
        given = range(self._golden.count)
        sample = next(i for i in given if np.array_equal(self._golden.inputs(i), call.inputs))
        return self._golden.expected(entries[call.entry], sample)


def noisy(snr_db: float) -> Change:
    """Adds an error of exactly that SNR, spread over all elements."""
    rng = np.random.default_rng(5)

    def change(array: Array) -> Array:
        values = array.astype(np.float64)
        noise = rng.normal(size=values.shape)
        scale = np.linalg.norm(values) / np.linalg.norm(noise) * 10 ** (-snr_db / 20)
        # float64 would be refused as another dtype; float32 rounding is far below these errors
        return (values + noise * scale).astype(np.float32)

    return change


def same(array: Array) -> Array:
    return array


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """`tiny_bundle` with a second artifact, of precision w8a8 and a recorded agreement."""
    golden = golden_tensors()
    manifest = manifest_of(golden, name="tiny")
    exact, package = manifest.artifacts
    recorded = Agreement(2, None, None, None, RECORDED_DB + 5, RECORDED_DB)
    data = b"not a model: litert w8a8\n"
    poor = Artifact(
        **{
            **vars(exact),
            "path": "artifacts/tiny.w8a8.tflite",
            "precision": "w8a8",
            "bytes": len(data),
            "agreement": recorded,
        }
    )
    with BundleWriter(tmp_path_factory.mktemp("replay") / "tiny.bundle") as writer:
        for rel, content in {**FILES, poor.path: data, "golden.safetensors": dump(golden)}.items():
            writer.add(rel, content)
        return writer.publish(
            type(manifest)(**{**vars(manifest), "artifacts": (exact, poor, package)})
        )


def replays(bundle: Bundle, change: Change, *, host_change: Change | None = None) -> Replays:
    if host_change is None:
        target = EchoTarget(bundle, change)
        return Replays(bundle, target, target)
    emulated = EchoTarget(bundle, change, timing_kind="emulated")
    return Replays(bundle, emulated, EchoTarget(bundle, host_change))


@pytest.mark.parametrize(
    ("snr_db", "verdict"), [(95.0, "pass"), (85.0, "fail")], ids=["above", "below"]
)
@pytest.mark.parametrize("entry", [FORWARD, "head_early", "head_late"])
def test_fp32_is_held_to_the_gate_of_its_export(
    bundle: Bundle, entry: str, snr_db: float, verdict: str
) -> None:
    artifact = bundle.manifest.artifact("litert", "fp32")
    row = replays(bundle, noisy(snr_db)).replayed(artifact, artifact.entry(entry))
    assert row.verdict == verdict
    assert row.snr_db_min == pytest.approx(snr_db, abs=0.5)
    assert ("the gate is 90.0" in row.fault) == (verdict == "fail")


@pytest.mark.parametrize(
    ("snr_db", "verdict"), [(RECORDED_DB + 1, "pass"), (RECORDED_DB - 1, "fail")]
)
def test_other_precisions_are_held_to_what_was_recorded(
    bundle: Bundle, snr_db: float, verdict: str
) -> None:
    artifact = bundle.manifest.artifact("litert", "w8a8")
    row = replays(bundle, noisy(snr_db)).replayed(artifact, artifact.entry(FORWARD))
    assert row.verdict == verdict


def test_a_quantized_head_has_no_record_and_is_only_reported(bundle: Bundle) -> None:
    artifact = bundle.manifest.artifact("litert", "w8a8")
    row = replays(bundle, noisy(3.0)).replayed(artifact, artifact.entry("head_early"))
    assert (row.verdict, row.gate_db) == ("reported", None)


def test_on_other_kernels_a_quantized_forward_is_only_reported(bundle: Bundle) -> None:
    artifact = bundle.manifest.artifact("litert", "w8a8")
    seen = replays(bundle, noisy(3.0), host_change=same)
    row = seen.replayed(artifact, artifact.entry(FORWARD))
    assert row.verdict == "reported"
    assert row.host is not None
    assert row.host.snr_db_min == pytest.approx(3.0, abs=0.5)
    assert row.timing.kind == "emulated"


def test_equal_outputs_on_both_are_called_identical(bundle: Bundle) -> None:
    artifact = bundle.manifest.artifact("litert", "fp32")
    row = replays(bundle, same, host_change=same).replayed(artifact, artifact.entry(FORWARD))
    assert row.host is not None
    assert row.host.identical
    assert row.verdict == "pass"


def test_fp32_that_differs_from_the_host_fails_even_if_it_equals_pytorch(bundle: Bundle) -> None:
    artifact = bundle.manifest.artifact("litert", "fp32")
    seen = replays(bundle, same, host_change=noisy(50.0))
    row = seen.replayed(artifact, artifact.entry(FORWARD))
    assert "against the host, the gate is 60.0" in row.fault


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (np.zeros_like, "all zero"),
        (np.ones_like, "constant"),
        (lambda array: np.full_like(array, np.nan), "not finite"),
    ],
)
def test_a_dead_output_fails_where_nothing_else_is_judged(
    bundle: Bundle, change: Change, word: str
) -> None:
    artifact = bundle.manifest.artifact("litert", "w8a8")
    row = replays(bundle, change, host_change=same).replayed(artifact, artifact.entry(FORWARD))
    assert word in row.fault


@pytest.mark.parametrize("change", [lambda a: a.astype(np.float64), lambda a: a[..., :1]])
def test_another_shape_or_dtype_than_the_manifest_promises_is_an_error(
    bundle: Bundle, change: Change
) -> None:
    artifact = bundle.manifest.artifact("litert", "fp32")
    with pytest.raises(TensorMismatch):
        replays(bundle, change).replayed(artifact, artifact.entry(FORWARD))


def test_an_artifact_is_run_once_for_all_its_entry_points(bundle: Bundle) -> None:
    target = EchoTarget(bundle, same)
    seen = Replays(bundle, target, target)
    artifact = bundle.manifest.artifact("litert", "fp32")
    rows = [seen.replayed(artifact, entry) for entry in artifact.entries]
    assert len(rows) == 3
    assert target.jobs == 1


def test_a_slow_target_gets_the_first_samples_of_each_entry_point(bundle: Bundle) -> None:
    target = EchoTarget(bundle, same)
    target.forward_limit, target.head_limit = 2, 1
    seen = Replays(bundle, target, target)
    artifact = bundle.manifest.artifact("litert", "fp32")
    rows = [seen.replayed(artifact, entry) for entry in artifact.entries]
    assert [row.samples for row in rows] == [2, 1, 1]
    # the outputs of another sample or entry point would be far from equal
    assert {row.snr_db_min for row in rows} == {DB_LIMIT}


def test_an_artifact_that_failed_is_not_tried_again(bundle: Bundle) -> None:
    def refuse(array: Array) -> Array:
        raise JobRefused("No.", expected="Yes.", remedy="None.")

    target = EchoTarget(bundle, refuse)
    seen = Replays(bundle, target, target)
    artifact = bundle.manifest.artifact("litert", "fp32")
    for entry in artifact.entries:
        with pytest.raises(JobRefused):
            seen.replayed(artifact, entry)
    assert target.jobs == 1


def test_golden_vectors_that_lack_a_tensor_are_refused_by_name(tmp_path: Path) -> None:
    golden = golden_tensors()
    manifest = manifest_of(golden, name="tiny")
    lacking = {key: array for key, array in golden.items() if key != "cut.late.1.gate"}
    with BundleWriter(tmp_path / "tiny.bundle") as writer:
        for rel, content in {**FILES, "golden.safetensors": dump(lacking)}.items():
            writer.add(rel, content)
        holed = writer.publish(manifest)
    entry = manifest.artifacts[0].entry("head_late")
    with pytest.raises(SchemaFault, match=r"cut\.late\.1\.gate"):
        GoldenSet(holed).expected(entry, 1)
