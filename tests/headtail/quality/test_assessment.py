"""Figures of known outputs, and that a worse candidate has worse figures."""

import dataclasses
import itertools

import numpy as np
import pytest

from headtail.errors import GateFailed, TensorMismatch, UsageFault
from headtail.quality import Quality, QualityReport, Settings, assess
from headtail.report import Report
from headtail.strictjson import canonical_bytes, parse

KIND = ("litert", "w8a8")
QUICK = Settings(resamples=200, slice_minimum=5)


def outputs(noise, *, n=200, classes=8, seed=0):
    """Logits of a made-up classifier, the same with noise of this deviation, and its own argmax."""
    generator = np.random.default_rng(seed)
    reference = 3 * generator.normal(size=(n, classes))
    return reference, reference + noise * generator.normal(size=reference.shape)


def test_equal_outputs_are_perfect_in_every_figure():
    reference, _ = outputs(0)
    found = assess(reference, reference, kind=KIND, labels=reference.argmax(1), settings=QUICK)
    assert found.agreement is not None
    assert found.agreement.value == found.agreement.high == 1.0
    assert 0.98 < found.agreement.low < 1
    assert found.snr_db.value == found.snr_db_min == 400.0
    assert found.accuracy is not None
    assert (found.accuracy.drop.value, found.accuracy.p_value) == (0, 1)
    assert found.drift is not None
    assert found.drift.confidence.value == found.drift.kl_nats.value == 0
    assert found.calibration is not None
    assert found.calibration.candidate == found.calibration.reference
    assert found.changed == ()
    assert found.key == "litert.w8a8"


def test_more_noise_makes_every_figure_worse():
    figures = []
    for noise in (0.05, 0.5, 2.0):
        found = assess(*outputs(noise), kind=KIND, settings=QUICK)
        assert found.agreement is not None
        assert found.worst is not None
        assert found.drift is not None
        assert found.calibration is not None
        figures.append(
            [
                found.agreement.value,
                found.snr_db.value,
                found.snr_db_min,
                found.worst.agreement.value,
                -found.drift.kl_nats.value,
                -found.calibration.candidate,
            ]
        )
    for better, worse in itertools.pairwise(figures):
        assert all(b > w for b, w in zip(better, worse, strict=True))


def test_faithful_and_good_are_two_figures():
    """A file that equals its quantized program exactly is no better for it against float32."""
    reference, quantized = outputs(1.0)
    exact = assess(reference, quantized, kind=KIND, program_outputs=quantized, settings=QUICK)
    wrong = assess(reference, reference, kind=KIND, program_outputs=quantized, settings=QUICK)
    alone = assess(reference, quantized, kind=KIND, settings=QUICK)
    assert exact.faithful_db == 400.0
    assert exact.snr_db == alone.snr_db
    assert exact.snr_db.value < 15
    assert wrong.snr_db.value == 400.0
    assert wrong.faithful_db is not None
    assert wrong.faithful_db < 15
    assert alone.faithful is None
    assert alone.faithful_db is None


def test_the_changed_images_are_named_with_both_answers():
    reference = np.array([[4.0, 0, 0], [0, 4.0, 0], [0, 0, 4.0]])
    candidate = np.array([[4.0, 0, 0], [0, 1.0, 3.0], [0, 0, 5.0]])
    [one] = assess(reference, candidate, kind=KIND, labels=[0, 1, 2], settings=QUICK).changed
    assert (one.index, one.before, one.after, one.label) == (1, 1, 2, 1)
    assert one.confidence_before == pytest.approx(np.exp(4) / (np.exp(4) + 2))
    assert one.confidence_after == pytest.approx(np.exp(3) / (np.exp(3) + np.e + 1))


def test_accuracy_counts_what_was_lost_and_won():
    reference = np.eye(4)[[0, 1, 2, 3, 0]] * 5
    candidate = np.eye(4)[[0, 1, 3, 2, 1]] * 5
    found = assess(reference, candidate, kind=KIND, labels=[0, 1, 2, 3, 1], settings=QUICK)
    assert found.accuracy is not None
    assert (found.accuracy.lost, found.accuracy.won) == (2, 1)
    assert (found.accuracy.reference, found.accuracy.candidate) == (0.8, 0.6)
    assert found.accuracy.drop.value == pytest.approx(0.2)
    assert found.accuracy.drop.low < 0 < found.accuracy.drop.high


def test_the_worst_slice_is_found_and_small_ones_are_not_slices():
    reference = np.repeat(np.eye(4) * 5, [10, 10, 4, 10], axis=0)
    candidate = reference.copy()
    candidate[10:16] = np.eye(4)[3] * 5  # six of class 1
    candidate[20:24] = np.eye(4)[3] * 5  # all of class 2, but there are only four
    found = assess(reference, candidate, kind=KIND, settings=QUICK)
    assert [one.name for one in found.slices] == ["1", "0", "3"]
    assert found.worst is not None
    assert (found.worst.agreed, found.worst.n) == (4, 10)
    strict = dataclasses.replace(QUICK, slice_minimum=11)
    assert assess(reference, candidate, kind=KIND, settings=strict).worst is None


def test_slices_of_the_users_naming_stand_beside_the_classes():
    reference = np.repeat(np.eye(3) * 5, 10, axis=0)
    candidate = reference.copy()
    candidate[[0, 10, 20, 21, 22]] = [0, 5, 1]
    candidate[[10]] = [5, 0, 0]
    names = ["night", "day"] * 15
    found = assess(reference, candidate, kind=KIND, groups=names, settings=QUICK)
    assert [(one.name, one.agreed, one.n) for one in found.groups] == [
        ("night", 11, 15),
        ("day", 14, 15),
    ]
    assert found.worst_group == found.groups[0]
    assert [one.name for one in found.slices] == ["2", "0", "1"]
    alone = assess(reference, candidate, kind=KIND, settings=QUICK)
    assert alone == dataclasses.replace(found, groups=())
    assert alone.worst_group is None
    with pytest.raises(UsageFault, match="3 inputs have the name of a slice"):
        assess(reference, candidate, kind=KIND, groups=names[:3], settings=QUICK)


def test_a_model_that_does_not_classify_has_only_decibels():
    settings = dataclasses.replace(QUICK, classifies=False)
    values = np.random.default_rng(0).normal(size=(3, 1, 2, 5, 5))
    found = assess(values, values * 1.01, kind=KIND, settings=settings)
    assert [found.agreement, found.accuracy, found.drift, found.calibration] == [None] * 4
    assert found.snr_db.value == pytest.approx(40)


def test_one_output_per_input_or_one_array_of_all():
    reference, candidate = outputs(0.5, n=12)
    rows = [row[None] for row in reference], [row[None] for row in candidate]
    assert assess(*rows, kind=KIND) == assess(reference, candidate, kind=KIND)


def test_a_report_survives_the_file():
    reference, candidate = outputs(1.0)
    found = assess(
        reference, candidate, kind=KIND, labels=reference.argmax(1), program_outputs=candidate
    )
    assert found.changed
    report = Report("quantize", (), quality=Quality((found,), steps=("folded 49 batch norms",)))
    read = Report.from_json(parse(canonical_bytes(report.to_json())))
    assert read == report
    assert isinstance(read.quality, Quality)
    assert isinstance(read.quality.report(*KIND), QualityReport)
    assert read.quality.report("coreml", "w8") is None


def test_a_report_of_a_former_version_has_no_quality():
    old = Report("verify", ()).to_json()
    del old["quality"]
    assert Report.from_json(old).quality is None


@pytest.mark.parametrize("labels", [[0, 1], [0, 1, 8], [-1, 0, 1], [0.0, 1.0, 2.0], []])
def test_labels_that_are_not_of_these_inputs_are_refused(labels):
    reference, candidate = outputs(0.5, n=3)
    with pytest.raises(UsageFault, match="from 0 to 7 for each of 3"):
        assess(reference, candidate, kind=KIND, labels=labels)


def test_outputs_that_do_not_belong_together_are_refused():
    reference, candidate = outputs(0.5, n=3)
    with pytest.raises(TensorMismatch, match="3 reference outputs stand against 2"):
        assess(reference, candidate[:2], kind=KIND)
    with pytest.raises(TensorMismatch, match="shape"):
        assess(reference, candidate[:, :4], kind=KIND)
    with pytest.raises(UsageFault, match="no inputs"):
        assess([], [], kind=KIND)
    candidate[1, 2] = np.nan
    with pytest.raises(GateFailed, match=r"1 of 3 outputs.*input 1"):
        assess(reference, candidate, kind=KIND)
