"""What crosses the cuts of a small network: ranges, bytes, and the answers on the far side."""

import dataclasses

import numpy as np
import pytest
import torch

from exporters.captured import capture_source, tail_of
from exporters.conversion import Conversion
from exporters.crossing import GATE_DB, PART, measured_cuts, measured_heads
from exporters.packing import Proof
from exporters.parity import Reference, judge, reference
from exporters.progress import Quiet
from exporters.prove import Observation
from exporters.source import from_module
from exporters.target import target
from headtail.errors import GateFailed, SourceFault
from headtail.metrics import DB_LIMIT, snr_db, wilson_interval
from headtail.offload.options import TRUSTED_CODECS
from headtail.wire.boundary import decode_boundary, encode_boundary
from headtail.wire.codecs import CODEC_IDS
from quantizers.recipe import RECIPES
from tests.exporters.conftest import PREPROCESS, photos
from tests.exporters.nets import Residual, settle


@pytest.fixture
def crossing(photo_source, captured, tail, expected):
    """`measured_cuts` with everything right; keywords put something else in its place."""

    def go(**other):
        given = {"source": photo_source, "captured": captured, "tail": tail, "expected": expected}
        return measured_cuts(*(given | other).values(), progress=Quiet())

    return go


def test_ranges_are_of_the_calibration_set_per_tensor_and_channel(cuts, photo_source):
    rows = torch.cat([torch.from_numpy(s[0]) for s in photo_source.calibration.samples])
    with torch.no_grad():
        stem = settle(Residual()).get_submodule("stem")(rows).numpy()
    cut, block = cuts
    (whole,), (channels,) = cut.per_tensor, cut.per_channel
    assert whole.low == pytest.approx([stem.min()])
    assert whole.high == pytest.approx([stem.max()])
    assert channels.low == pytest.approx(stem.min((0, 2, 3)))
    assert channels.high == pytest.approx(stem.max((0, 2, 3)))
    assert len(channels.low) == 8
    assert len(block.per_tensor) == 2  # the skip connection crosses it


def test_the_cut_table_holds_real_sizes(cuts, expected):
    for cut in cuts:
        assert set(cut.wire_bytes) == set(CODEC_IDS)
        for codec in ("raw32", "aq8t+deflate"):
            frames = [encode_boundary(arrays, cut, codec) for arrays in expected.cuts[cut.id]]
            assert cut.wire_bytes[codec] == int(np.median([len(frame) for frame in frames]))
            assert len(decode_boundary(frames[0], cut)) == len(cut.tensors)
        assert cut.wire_bytes["raw32"] > 2 * cut.wire_bytes["aq8t+deflate"]


def test_without_loss_a_split_is_the_model_bit_for_bit(cuts):
    for cut in cuts:
        for codec in ("raw32", "raw32+deflate"):
            found = cut.fidelity[codec]
            assert (found.n, found.top1, found.snr_db_min) == (6, 1.0, DB_LIMIT)


@pytest.mark.parametrize("codec", ["raw16", "aq8t+deflate", "aq4c", "aq2t"])
def test_what_a_codec_costs_is_what_the_modules_say(cuts, expected, codec):
    """The network's own modules behind the codec, written down here once more."""
    net = settle(Residual())
    block, down, head = map(net.get_submodule, ("block", "down", "head"))
    cut = cuts[0]
    assert cut.id == "stem"
    snrs, same = [], 0
    for arrays, (right,) in zip(expected.cuts["stem"], expected.outputs, strict=True):
        (stem,) = decode_boundary(encode_boundary(arrays, cut, codec), cut)
        with torch.no_grad():
            x = torch.tensor(stem)
            seen = head(down(x + block(x)).mean((2, 3))).numpy()
        snrs.append(snr_db(reference=right, candidate=seen))
        same += int(right.argmax()) == int(seen.argmax())
    found = cut.fidelity[codec]
    assert found.n == len(snrs)
    assert found.snr_db_min == pytest.approx(min(snrs), abs=0.01)
    assert found.snr_db_mean == pytest.approx(np.mean(snrs), abs=0.01)
    assert found.top1 == same / len(snrs)
    assert (found.low, found.high) == wilson_interval(same, len(snrs))


def test_fewer_bits_are_more_noise(cuts):
    for cut in cuts:
        noise = [cut.fidelity[f"aq{bits}c"].snr_db_mean for bits in (2, 3, 4, 5, 6, 8)]
        assert noise == sorted(noise)
        assert cut.fidelity["aq2t"].snr_db_mean < cut.fidelity["raw16"].snr_db_mean - 20


def test_what_nobody_takes_unasked_is_measured_on_a_part(crossing, captured, photo_source):
    """And what the planner takes unasked on all of the set."""
    more = from_module(
        photo_source.module,
        photo_source.example,
        preprocess=PREPROCESS,
        evaluation=photos(PART + 3, 2),
    )
    every = reference(captured.graph, more.evaluation.samples, captured.cuts)
    for cut in crossing(source=more, expected=every):
        counts = {codec: found.n for codec, found in cut.fidelity.items()}
        rest = set(CODEC_IDS) - {*TRUSTED_CODECS, "raw32+deflate"}
        assert {counts[codec] for codec in TRUSTED_CODECS} == {PART + 3}
        assert {counts[codec] for codec in rest} == {PART}


def test_what_does_not_classify_has_its_noise_only(crossing, photo_source):
    other = dataclasses.replace(photo_source, labels=())
    found = crossing(source=other)[0].fidelity["aq8t"]
    assert (found.top1, found.low, found.high) == (None, None, None)
    assert found.snr_db_min > 20


def proof_of(captured, expected, precision, *, loss, path):
    """An artifact whose heads give what `loss` makes of the model's values."""
    heads = {
        f"head_{cut}": [[loss(array) for array in arrays] for arrays in samples[:4]]
        for cut, samples in expected.cuts.items()
    }
    outputs = {"forward": expected.outputs, **heads}
    aim = target("litert")
    return Proof(
        Conversion("litert", RECIPES[precision], path, {}, None, 1.5, 10**9),
        captured.entries,
        15,
        aim,
        judge(aim, precision, expected, outputs, classifies=True),
        Observation(outputs, {}, 3.0, "2.3", {}),
    )


def halved(array):
    return array.astype(np.float16).astype(np.float32)


def test_heads_of_another_precision_have_figures_of_their_own(
    captured, cuts, tail, expected, tmp_path
):
    proofs = [
        proof_of(captured, expected, "fp32", loss=np.copy, path=tmp_path / "a.tflite"),
        proof_of(captured, expected, "fp16", loss=halved, path=tmp_path / "b.tflite"),
        proof_of(captured, expected, "w8", loss=np.zeros_like, path=tmp_path / "c.tflite"),
    ]
    exact, half, poor = measured_heads(proofs, cuts, tail, expected, classifies=True)
    assert exact.splits == poor.splits == {}  # the cuts' own figures; and nothing takes it unasked
    for cut in cuts:
        own = half.splits[cut.id]
        assert set(own) == set(TRUSTED_CODECS)
        assert {found.n for found in own.values()} == {4}
        assert own["aq8t"].snr_db_mean < own["raw32"].snr_db_mean < 100
        assert half.artifact(None).splits[cut.id] == own


def test_a_split_without_loss_that_answers_otherwise_ends_the_export(
    crossing, photo_source, tmp_path
):
    changed = settle(Residual())
    changed.load_state_dict(photo_source.module.state_dict())
    changed.get_parameter(
        "head.bias"
    ).data *= 1.001  # every answer the same, and less than the gate's decibels
    source = dataclasses.replace(photo_source, module=changed)
    wrong, _ = capture_source(source, tmp_path, cuts=("stem", "block"))
    with pytest.raises(GateFailed, match="The split at stem with raw32, which loses nothing") as it:
        crossing(tail=tail_of(source, wrong)[0])
    assert f"At least {GATE_DB:.0f} dB" in str(it.value)


def test_activations_that_are_not_finite_are_no_cut(crossing, expected):
    cuts = {
        cut: [[np.full_like(a, np.inf) if cut == "block" else a for a in s] for s in samples]
        for cut, samples in expected.cuts.items()
    }
    with pytest.raises(SourceFault, match="No codec takes what crosses at block"):
        crossing(expected=Reference(expected.outputs, cuts))


def test_a_codec_that_the_values_do_not_fit_is_left_out(crossing, tmp_path):
    """float16 ends at 65,504."""

    class Loud(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.loud = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
            for parameter in self.loud.parameters():
                parameter.data *= 1e6

        def forward(self, x):
            return self.loud(x).mean((2, 3)) * 1e-6

    source = from_module(
        Loud().eval(), (torch.rand(1, 3, 32, 32),), preprocess=PREPROCESS, evaluation=photos(3, 2)
    )
    made, _ = capture_source(source, tmp_path, cuts=("loud",))
    (cut,) = crossing(
        source=source,
        captured=made,
        tail=tail_of(source, made)[0],
        expected=reference(made.graph, source.evaluation.samples, made.cuts),
    )
    for table in (cut.wire_bytes, cut.fidelity):
        assert set(CODEC_IDS) - set(table) == {"raw16", "raw16+deflate"}
