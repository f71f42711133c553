import dataclasses

import pytest

from app.live.selection import check_classifier, choose_artifact, choose_cut, usable_formats
from headtail.errors import RuntimeUnavailable, UsageFault
from headtail.manifest import head_entry
from headtail.runtimes.base import Capability
from headtail.tensors import TensorSpec
from tests.support.bundles import golden_tensors, manifest_of

CODEC = "aq8t+deflate"


@pytest.fixture(scope="module")
def manifest():
    return manifest_of(golden_tensors(), name="tiny")


def variant(artifact, **changes):
    return dataclasses.replace(artifact, **changes)


def with_artifacts(manifest, *artifacts):
    return dataclasses.replace(manifest, artifacts=artifacts)


class Probed:
    """A runtime of which only the probe is asked."""

    name = format = "probed"
    timing_kind = "host"
    accelerators = ("cpu",)

    def __init__(self, capability):
        self.capability = capability

    def probe(self):
        return self.capability

    def load(self, path, *, entries, threads=1, accelerator="cpu"):
        raise NotImplementedError(path, entries, threads, accelerator)


def test_usable_formats_keep_order_and_reasons():
    runtimes = {
        "litert": Probed(Capability(True, version="2")),
        "executorch": Probed(Capability(False, reason="it is not installed")),
    }
    assert list(usable_formats(runtimes).items()) == [
        ("litert", ""),
        ("executorch", "it is not installed"),
    ]


def test_the_first_format_with_its_smallest_passing_artifact_is_chosen(manifest):
    litert = manifest.artifact("litert", "fp32")
    artifacts = (
        variant(litert, format="executorch", bytes=1),
        variant(litert, precision="w8a8", bytes=2, verdict="poor"),
        variant(litert, precision="fp16", bytes=3),
        variant(litert, bytes=4),
    )
    formats = {"litert": "", "executorch": ""}
    chosen = choose_artifact(with_artifacts(manifest, *artifacts), formats)
    assert (chosen.format, chosen.precision) == ("litert", "fp16")


def test_without_a_runtime_each_artifact_says_why(manifest):
    litert = manifest.artifact("litert", "fp32")
    poor = variant(litert, precision="w8a8", verdict="poor")
    with pytest.raises(RuntimeUnavailable) as caught:
        choose_artifact(
            with_artifacts(manifest, litert, poor, manifest.artifact("coreml", "fp32")),
            {"litert": "ai-edge-litert is not installed"},
        )
    assert caught.value.expected.split("; ") == [
        "litert fp32: ai-edge-litert is not installed",
        "litert w8a8: verdict poor",
        "coreml fp32: no runtime for this format here",
    ]


def test_the_cut_with_the_fewest_bytes_among_the_heads_that_are_there(manifest):
    early, late = (
        dataclasses.replace(cut, wire_bytes={CODEC: size})
        for cut, size in zip(manifest.cuts, (50, 100), strict=True)
    )
    both = dataclasses.replace(manifest, cuts=(early, late))
    heads = [head_entry(early.id), head_entry(late.id)]
    assert choose_cut(both, heads, CODEC) == early
    assert choose_cut(both, heads[1:], CODEC) == late
    assert choose_cut(both, [], CODEC) is None
    assert choose_cut(both, heads, "raw32") is None


def test_a_cut_that_costs_more_than_the_input_is_not_taken(manifest):
    whole = manifest.inputs[0].nbytes
    cut = dataclasses.replace(manifest.cuts[0], wire_bytes={CODEC: whole})
    dear = dataclasses.replace(manifest, cuts=(cut,))
    assert choose_cut(dear, [head_entry(cut.id)], CODEC) is None


def test_other_models_than_classifiers_are_refused(manifest):
    check_classifier(manifest)
    mask = TensorSpec("mask", "f32", (1, 2, 8, 8))
    for wrong in (
        dataclasses.replace(manifest, preprocess=None),
        dataclasses.replace(manifest, outputs=(mask,)),
        dataclasses.replace(manifest, outputs=(*manifest.outputs, mask)),
        dataclasses.replace(manifest, inputs=manifest.inputs * 2),
    ):
        with pytest.raises(UsageFault, match="models that take one image"):
            check_classifier(wrong)
