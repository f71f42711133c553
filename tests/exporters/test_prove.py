"""A real artifact in a real process: what is seen of it, and what becomes of bad ones."""

import numpy as np
import pytest

from exporters.prove import Protocol, observe, size_of
from headtail.errors import ConversionFailed, GateFailed, TensorMismatch
from headtail.metrics import snr_db
from quantizers.recipe import RECIPES


def test_the_size_of_a_folder_is_that_of_its_files(tmp_path):
    (tmp_path / "net.mlpackage" / "Data").mkdir(parents=True)
    (tmp_path / "net.mlpackage" / "Manifest.json").write_bytes(b"12345")
    (tmp_path / "net.mlpackage" / "Data" / "weights.bin").write_bytes(b"1234567")
    assert size_of(tmp_path / "net.mlpackage") == 12
    assert size_of(tmp_path / "net.mlpackage" / "Manifest.json") == 5


def test_samples_that_the_model_does_not_take_are_refused_before_a_process(captured, tmp_path):
    with pytest.raises(TensorMismatch, match=r"float32\[1, 3\]"):
        observe(
            tmp_path / "absent.tflite",
            ("litert", RECIPES["fp32"]),
            captured.entries,
            [(np.zeros((1, 3), np.float32),)],
            folder=tmp_path,
            protocol=Protocol(heads=1),
        )


@pytest.mark.slow
def test_forward_sees_every_sample_and_heads_the_first(observation, expected, captured):
    assert {name: len(runs) for name, runs in observation.outputs.items()} == {
        "forward": 6,
        "head_stem": 4,
        "head_block": 4,
    }
    for right, seen in zip(expected.outputs, observation.outputs["forward"], strict=True):
        assert snr_db(reference=right[0], candidate=seen[0]) > 90
    for right, seen in zip(expected.cuts["block"], observation.outputs["head_block"], strict=False):
        assert len(seen) == 2
        for a, b in zip(right, seen, strict=True):
            assert snr_db(reference=a, candidate=b) > 90


@pytest.mark.slow
def test_every_entry_point_is_timed_on_the_host(observation):
    assert set(observation.timings) == set(observation.outputs)
    for timing in observation.timings.values():
        assert (timing["kind"], timing["runs"], timing["warmup"]) == ("host", 3, 0)
        assert 0 < timing["min_ms"] <= timing["p50_ms"] <= timing["p90_ms"]
    assert observation.load_ms > 0
    assert observation.version
    assert observation.dtypes["f32"] > 0
    assert observation.audit == "asked fp32, got 100.0 % float32 weights"


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",  # precision, bytes kept of the file, the error and words of it
    [
        ("w8", None, GateFailed, "w8"),  # a float file that is said to be quantized
        ("fp32", 1000, ConversionFailed, "residual.fp32.tflite"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_refused(
    litert_file, captured, photo_source, tmp_path, case
):
    precision, cut_to, fault, words = case
    path = tmp_path / litert_file.name
    path.write_bytes(litert_file.read_bytes()[:cut_to])
    with pytest.raises(fault, match=words) as caught:
        observe(
            path,
            ("litert", RECIPES[precision]),
            captured.entries,
            photo_source.evaluation.samples[:1],
            folder=tmp_path / "work",
            protocol=Protocol(heads=1, warmup=0, runs=1),
        )
    assert caught.value.remedy
    if fault is ConversionFailed:  # what a library raised
        assert "Traceback" in caught.value.log
