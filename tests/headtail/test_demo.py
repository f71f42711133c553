"""The demo's second half: its choice of a cut, and split and fallback against a real server."""

import dataclasses

import pytest

from headtail.demo import (
    CODEC,
    DEADLINE_MS,
    FIRST_FLIGHT_BYTES,
    demo_cut,
    run_fallback,
    run_split,
    serving,
)
from headtail.errors import EnvironmentFault, GateFailed
from tests.companion_server.conftest import SAMPLES, write_bundle
from tests.headtail.offload.test_companion_server import TorchSession
from tests.support.bundles import tiny_bundle

ROUNDS = 3


@pytest.fixture
def manifest(tmp_path):
    return tiny_bundle(tmp_path).manifest


def with_cuts(manifest, **cuts):
    """The manifest with made-up cuts: id=(bytes of a frame, share of the work in the head)."""
    made = [
        dataclasses.replace(
            manifest.cuts[0], id=name, wire_bytes={CODEC: size, "raw32": 1}, head_flops=flops
        )
        for name, (size, flops) in cuts.items()
    ]
    return dataclasses.replace(manifest, cuts=tuple(made))


@pytest.mark.parametrize(
    ("cuts", "chosen"),
    [
        ({"early": (9_000, 0.3), "late": (500, 0.8)}, "early"),
        ({"late": (500, 0.8), "early": (9_000, 0.3)}, "early"),
        ({"early": (FIRST_FLIGHT_BYTES, 0.3), "late": (500, 0.8)}, "early"),
        ({"early": (FIRST_FLIGHT_BYTES + 1, 0.3), "late": (500, 0.8)}, "late"),
        ({"early": (90_000, 0.3), "late": (50_000, 0.8)}, "late"),
    ],
    ids=["least work", "in any order", "just fits", "just does not", "none fits: the smallest"],
)
def test_the_cut_of_the_demo(manifest, cuts, chosen):
    assert demo_cut(with_cuts(manifest, **cuts)).id == chosen


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    return write_bundle(tmp_path_factory.mktemp("real"))


@pytest.fixture(scope="module")
def newer(tmp_path_factory):
    return write_bundle(tmp_path_factory.mktemp("newer"), seed=1)


def golden(bundle):
    """Inputs and the whole model's first output, each sample several times."""
    tensors = bundle.golden()
    samples = [[tensors[f"input.{i}.x"]] for i in range(SAMPLES)] * ROUNDS
    return samples, [tensors[f"output.{i}.output_0"] for i in range(SAMPLES)] * ROUNDS


@pytest.mark.slow
def test_split_then_the_server_is_killed_and_everybody_is_answered(real):
    samples, expected = golden(real)
    session = TorchSession(0)
    with serving(real.path) as served:
        split = run_split(real, session, served.url, samples, expected=expected)
        fallback = run_fallback(real, session, served, samples, expected=expected)
        assert served.process.returncode == -9
    cut = demo_cut(real.manifest)
    assert (split.cut, split.codec, split.n) == (cut.id, CODEC, len(samples))
    assert split.agreement == 1.0
    assert 0 < split.low < split.high <= 1.0
    assert split.fp32_bytes == sum(spec.nbytes for spec in cut.tensors)
    assert split.bytes_on_wire > 0
    assert 0 < split.added_ms_p50 < split.split_ms_p50
    assert split.local_ms_p50 > 0
    assert (fallback.before, fallback.asked) == (3, 3)
    assert fallback.answered == fallback.right == fallback.marked_lost == fallback.asked
    assert fallback.deadline_ms == DEADLINE_MS
    assert (fallback.in_time == fallback.asked) == (fallback.slowest_ms <= DEADLINE_MS)


@pytest.mark.slow
def test_inputs_that_were_not_split_are_no_demo_of_splitting(real, newer):
    samples, expected = golden(newer)
    with (
        serving(real.path) as served,
        pytest.raises(GateFailed, match=r"6 of 6 inputs were not split \(local \(bundle mismatch"),
    ):
        run_split(newer, TorchSession(1), served.url, samples, expected=expected)


@pytest.mark.slow
def test_a_server_that_does_not_start_is_told(tmp_path, capfd):
    with (
        pytest.raises(EnvironmentFault, match="The companion server did not start"),
        serving(tmp_path / "absent.bundle"),
    ):
        pytest.fail("there is no such bundle")
    assert "absent.bundle" in capfd.readouterr().err
