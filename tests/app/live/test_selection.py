import dataclasses

import pytest

from app.live.selection import choose_artifact, usable_runtimes, ways
from headtail.errors import RuntimeUnavailable
from headtail.runtimes.base import Capability
from tests.support.bundles import golden_tensors, manifest_of


@pytest.fixture(scope="module")
def manifest():
    return manifest_of(golden_tensors(), name="tiny")


def variant(artifact, **changes):
    return dataclasses.replace(artifact, **changes)


def with_artifacts(manifest, *artifacts):
    return dataclasses.replace(manifest, artifacts=artifacts)


class Probed:
    """A runtime of which only the probe is asked."""

    timing_kind = "host"

    def __init__(self, name, reason="", *, format="", accelerators=("cpu",)):  # noqa: A002
        self.name, self.format, self.accelerators = name, format or name, accelerators
        self.capability = Capability(not reason, version="2", reason=reason)

    def probe(self):
        return self.capability

    def load(self, path, *, entries, threads=1, accelerator="cpu"):
        raise NotImplementedError(path, entries, threads, accelerator)


def usable(*runtimes):
    return usable_runtimes(runtimes)


def test_usable_runtimes_keep_order_and_reasons():
    found = usable(Probed("litert"), Probed("executorch", "it is not installed"))
    assert [(item.runtime.name, item.version, item.reason) for item in found] == [
        ("litert", "2", ""),
        ("executorch", "2", "it is not installed"),
    ]


def test_the_first_format_with_its_smallest_passing_artifact_is_chosen(manifest):
    litert = manifest.artifact("litert", "fp32")
    artifacts = (
        variant(litert, format="executorch", bytes=1),
        variant(litert, precision="w8a8", bytes=2, verdict="poor"),
        variant(litert, precision="fp16", bytes=3),
        variant(litert, bytes=4),
    )
    chosen = choose_artifact(
        with_artifacts(manifest, *artifacts), usable(Probed("litert"), Probed("executorch"))
    )
    assert (chosen.format, chosen.precision) == ("litert", "fp16")


def test_a_runtime_of_the_format_that_cannot_be_used_does_not_hide_one_that_can(manifest):
    found = usable(
        Probed("litert-ctypes", "no libLiteRt.so", format="litert"),
        Probed("litert-java", format="litert"),
    )
    artifact = choose_artifact(manifest, found)
    assert artifact.format == "litert"
    assert [item.runtime.name for item, _ in ways(artifact, found, "cpu")] == ["litert-java"]


def test_without_a_runtime_each_artifact_says_why(manifest):
    litert = manifest.artifact("litert", "fp32")
    poor = variant(litert, precision="w8a8", verdict="poor")
    with pytest.raises(RuntimeUnavailable) as caught:
        choose_artifact(
            with_artifacts(manifest, litert, poor, manifest.artifact("coreml", "fp32")),
            usable(
                Probed("litert-ctypes", "no library", format="litert"),
                Probed("litert", "not installed"),
            ),
        )
    assert caught.value.expected.split("; ") == [
        "LiteRT fp32: litert-ctypes: no library, litert: not installed",
        "LiteRT w8a8: verdict poor",
        "Core ML fp32: no runtime for this format here",
    ]


def test_the_asked_accelerator_on_any_runtime_comes_before_the_processor(manifest):
    artifact = manifest.artifact("litert", "fp32")
    found = usable(
        Probed("first", format="litert"),
        Probed("second", format="litert", accelerators=("cpu", "gpu")),
    )
    order = [(item.runtime.name, where) for item, where in ways(artifact, found, "gpu")]
    assert order == [("second", "gpu"), ("first", "cpu"), ("second", "cpu")]
    order = [(item.runtime.name, where) for item, where in ways(artifact, found, "cpu")]
    assert order == [("first", "cpu"), ("second", "cpu")]
