"""Verdicts on made-up numbers: every branch, what proves nothing, and heads."""

import numpy as np
import pytest

from exporters.capture import capture, flat_graph
from exporters.parity import FP16_GATE_DB, Reference, judge, reference
from exporters.splitting import cut_points, find_cut
from exporters.target import target
from headtail.errors import TensorMismatch, UsageFault
from tests.exporters.awkward import IMAGE
from tests.exporters.nets import TwoOutputs, settle

LITERT, COREML = target("litert"), target("coreml")


def scores(count=4, seed=0):
    generator = np.random.default_rng(seed)
    return [[generator.standard_normal((1, 5)).astype(np.float32)] for _ in range(count)]


def at_db(samples, db, seed=9):
    """The samples with noise of that SNR in dB, each output by itself."""
    generator = np.random.default_rng(seed)
    out = []
    for sample in samples:
        noisy = []
        for array in sample:
            noise = generator.standard_normal(array.shape)
            noise *= np.linalg.norm(array) / np.linalg.norm(noise) * 10 ** (-db / 20)
            noisy.append(array + noise)  # float64, so that 120 dB can be told from 100
        out.append(noisy)
    return out


def only(outputs, cuts=None):
    return Reference(outputs, cuts or {})


def verdict(precision, given, right, *, aim=LITERT, classifies=True, cuts=None, **heads):
    entries = {"forward": given, **{f"head_{cut}": arrays for cut, arrays in heads.items()}}
    return judge(aim, precision, only(right, cuts), entries, classifies=classifies)


def turned(samples, wrong):
    """The first `wrong` samples with another class in front, barely."""
    out = [[array.copy() for array in sample] for sample in samples]
    for sample in out[:wrong]:
        order = np.argsort(sample[0][0])
        first, second = order[-1], order[-2]
        sample[0][0, second] = sample[0][0, first] + 1e-6
    return out


def test_equal_outputs_pass():
    judged = verdict("fp32", scores(), scores())
    assert (judged.verdict, judged.note) == ("pass", "")
    assert judged.agreement.n == 4
    assert judged.agreement.top1 == 1.0
    assert judged.agreement.low == pytest.approx(0.51, abs=0.01)  # four of four prove little
    assert judged.agreement.snr_db_min == 400.0  # JSON has no infinity


@pytest.mark.parametrize(("aim", "gate"), [(LITERT, 90), (COREML, 85)])
def test_fp32_must_reach_its_gate_on_every_input(aim, gate):
    assert verdict("fp32", at_db(scores(), gate + 1), scores(), aim=aim).verdict == "pass"
    one_bad = at_db(scores(), gate + 20)[:3] + at_db(scores(), gate - 1)[3:]
    judged = verdict("fp32", one_bad, scores(), aim=aim)
    assert judged.verdict == "failed"
    assert judged.note == f"SNR {gate - 1:.1f} dB, the gate is {gate}"


def test_fp32_must_agree_on_every_class():
    right = [[np.array([[1.0, 1.0 - 1e-7, 0, 0]])] for _ in range(3)] + [[np.eye(4)[:1]]]
    judged = verdict("fp32", turned(right, 1), right)
    assert judged.verdict == "failed"
    assert judged.note == "agrees on 0.750, fp32 must agree on every input"
    assert verdict("fp32", turned(right, 1), right, classifies=False).verdict == "pass"


def test_fp16_is_judged_by_its_mean():
    given = at_db(scores(), FP16_GATE_DB + 10)[:3] + at_db(scores(), FP16_GATE_DB - 5)[3:]
    assert verdict("fp16", given, scores()).verdict == "pass"
    judged = verdict("fp16", at_db(scores(), FP16_GATE_DB - 1), scores())
    assert (judged.verdict, judged.note) == ("poor", "SNR 39.0 dB, fp16 should reach 40")


def test_a_quantized_classifier_is_judged_by_its_answers():
    assert verdict("w8a8", at_db(scores(), 25), scores()).verdict == "pass"
    judged = verdict("w8a8", turned(scores(20), 2), scores(20))
    assert (judged.verdict, judged.note) == ("poor", "agrees with fp32 on 0.900, good is 0.95")
    assert verdict("w8a8", turned(scores(20), 1), scores(20)).verdict == "pass"


def test_a_quantized_regressor_is_judged_by_snr():
    def judged(db):
        return verdict("w8", at_db(scores(), db), scores(), classifies=False)

    assert judged(21).verdict == "pass"
    assert judged(21).agreement.top1 is None
    assert (judged(19).verdict, judged(19).note) == ("poor", "SNR 19.0 dB, good is 20")


def test_the_worst_output_of_a_sample_counts():
    right = [[a[0], b[0]] for a, b in zip(scores(), scores(seed=1), strict=True)]
    given = [[a[0], b[1]] for a, b in zip(right, at_db(right, 50), strict=True)]
    assert verdict("fp32", given, right).agreement.snr_db_min == pytest.approx(50, abs=0.1)


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.0, "all zero"), (3.0, "constant"), (np.nan, "not finite"), (np.inf, "not finite")],
)
@pytest.mark.parametrize("precision", ["fp32", "fp16", "w8a8"])
def test_broken_outputs_fail_in_any_precision(value, words, precision):
    given = [[np.full_like(s[0], value)] for s in scores()]
    judged = verdict(precision, given, scores())
    assert judged.verdict == "failed"
    assert judged.note.startswith("forward: ")
    assert words in judged.note


def test_the_same_answer_to_everything_fails():
    judged = verdict("w8", [scores()[0]] * 4, scores())
    assert (judged.verdict, judged.note) == ("failed", "forward: all 4 outputs are the same")


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_agreement_with_a_model_that_says_nothing_proves_nothing(value):
    same = [[np.full_like(s[0], value)] for s in scores()]
    assert verdict("fp32", same, same).verdict == "failed"


def test_one_constant_output_beside_a_real_one_is_the_models_own():
    anchors = np.ones((1, 7), np.float32)
    right = [[s[0], anchors] for s in scores()]
    assert verdict("fp32", right, right).verdict == "pass"
    lost = [[s[0], np.ones_like(s[0])] for s in scores()]
    live = [[s[0], s[0]] for s in scores()]
    judged = verdict("w8", lost, live)
    assert (judged.verdict, judged.note) == ("failed", "forward: output 0 is constant")


def test_a_reference_that_is_not_finite_is_refused():
    nan = [[np.full_like(s[0], np.nan)] for s in scores()]
    with pytest.raises(UsageFault, match="empty or not finite"):
        verdict("fp32", scores(), nan)


def test_other_shapes_are_refused():
    given = [[s[0][:, :4]] for s in scores()]
    with pytest.raises(TensorMismatch, match=r"shape \[1, 4\]"):
        verdict("fp32", given, scores())


def features(count=4):
    generator = np.random.default_rng(3)
    return [
        [generator.standard_normal((1, 2, 3)), generator.standard_normal((1, 4))]
        for _ in range(count)
    ]


@pytest.mark.parametrize(
    ("precision", "db", "expected", "words"),
    [
        ("fp32", 91, "pass", ""),
        ("fp32", 89, "failed", "head at stem: SNR 89.0 dB, the gate is 90"),
        ("fp16", 41, "pass", ""),
        ("fp16", 39, "poor", "head at stem: SNR 39.0 dB, over 40 is usable"),
        ("w8a8", 3, "pass", ""),
        ("w8a8", -1, "poor", "head at stem: SNR -1.0 dB, over 0 is usable"),
    ],
)
def test_heads_are_judged_too(precision, db, expected, words):
    cuts = {"stem": features()}
    judged = verdict(
        precision, scores(), scores(), cuts=cuts, stem=at_db(features(), db)[:3]
    )  # heads are run on the first samples only
    assert judged.verdict == expected
    assert judged.note == words


def test_a_dead_head_fails_even_if_forward_is_right():
    dead = [[np.zeros_like(a) for a in sample] for sample in features()]
    judged = verdict("w8a8", scores(), scores(), cuts={"stem": features()}, stem=dead)
    assert judged.verdict == "failed"
    assert judged.note == "head_stem: output 0 is all zero"


def test_a_head_that_the_file_lacks_is_not_judged():
    assert verdict("fp32", scores(), scores(), cuts={"stem": features()}).verdict == "pass"


def test_the_reference_is_the_model_and_its_heads():
    model = settle(TwoOutputs())
    graph = flat_graph(capture(model, (IMAGE,)))
    cut = find_cut(cut_points(graph, (IMAGE,)), "encode")
    found = reference(graph, [(IMAGE.numpy(),), (IMAGE.numpy() * 2,)], [cut])
    assert len(found.outputs) == 2
    for right, seen in zip(model(IMAGE * 2), found.outputs[1], strict=True):
        np.testing.assert_array_equal(right.detach().numpy(), seen)
    inner = model.get_submodule("encode")(IMAGE).detach().numpy()
    np.testing.assert_array_equal(found.cuts["encode"][0][0], inner)
