"""What the report says of artifacts: good against the model, faithful against their programs."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from exporters.conversion import Conversion
from exporters.insight import insight_of
from exporters.packing import Proof
from exporters.parity import judge
from exporters.progress import Quiet
from exporters.prove import Observation
from exporters.quality import quality_of
from exporters.quantized import quantize_all
from exporters.target import target
from headtail.errors import TensorMismatch
from headtail.manifest import FORWARD
from quantizers.recipe import RECIPES


@pytest.fixture(scope="module")
def planned(photo_source, captured, tmp_path_factory):
    folder = tmp_path_factory.mktemp("quantized")
    return quantize_all(photo_source, captured, [RECIPES["w8"]], folder=folder, progress=Quiet())


@pytest.fixture(scope="module")
def proven(captured, expected):
    """A proof of an artifact that gave these outputs."""

    def proof(precision, outputs):
        aim = target("litert")
        return Proof(
            Conversion("litert", RECIPES[precision], Path("residual.tflite"), {}, None, 1.0, 1),
            captured.entries,
            1,
            aim,
            judge(aim, precision, expected, {FORWARD: outputs}, classifies=True),
            Observation({FORWARD: outputs}, {}, 1.0, "2.0", {}, audit=f"asked {precision}"),
        )

    return proof


def nearly(outputs, size=1e-6):
    """As a runtime that sums in another order gives them."""
    generator = np.random.default_rng(0)
    return [
        [(o * (1 + size * generator.standard_normal(o.shape))).astype(np.float32) for o in sample]
        for sample in outputs
    ]


def test_good_is_against_the_model_and_faithful_against_the_program(
    photo_source, proven, expected, planned
):
    own = planned["w8"]
    proofs = [proven("fp32", nearly(expected.outputs)), proven("w8", nearly(own.outputs))]
    exact, rounded = quality_of(photo_source, proofs, expected, planned).reports
    assert (exact.format, exact.precision, exact.n) == ("litert", "fp32", 6)
    assert exact.faithful is None  # it is the model's own program
    assert exact.snr_db_min > 100
    assert rounded.faithful is not None
    assert rounded.faithful.n == 6
    assert rounded.faithful.db_min > 100
    assert 25 < rounded.snr_db_min < 80  # what eight bits cost, whatever the runtime adds
    assert (exact.audit, rounded.audit) == ("asked fp32", "asked w8")
    assert rounded.snr_db_min == proofs[1].judgement.agreement.snr_db_min


def test_a_file_that_is_better_than_its_program_is_not_faithful(
    photo_source, proven, expected, planned
):
    """The float model's answers under the name of a quantized file: good, and not what was made."""
    proofs = [proven("w8", nearly(expected.outputs))]
    (report,) = quality_of(photo_source, proofs, expected, planned).reports
    assert report.snr_db_min > 100
    assert report.faithful is not None
    assert report.faithful.db_min < 80


def test_agreement_is_that_of_the_answers(photo_source, proven, expected, planned):
    turned = [[-output for output in outputs] for outputs in expected.outputs]
    proofs = [proven("w8", expected.outputs), proven("w8", turned)]
    same, other = quality_of(photo_source, proofs, expected, planned).reports
    answers = [report.agreement for report in (same, other)]
    assert [found.value for found in answers if found] == [1.0, 0.0]
    assert len(other.changed) == 6


def test_labels_and_slices_of_the_source_are_those_of_the_figures(
    photo_source, proven, expected, planned
):
    right = tuple(int(outputs[0].argmax()) for outputs in expected.outputs)
    source = replace(photo_source, eval_labels=right, eval_slices=("day", "day", *["night"] * 4))
    given = [[-output if i else output for output in o] for i, o in enumerate(expected.outputs)]
    (report,) = quality_of(source, [proven("w8", given)], expected, planned).reports
    assert report.accuracy is not None
    assert (report.accuracy.reference, report.accuracy.lost) == (1.0, 5)
    assert [one.label for one in report.changed] == list(right[1:])
    assert report.groups == ()  # ten inputs make a slice


def test_steps_are_those_of_the_plan(photo_source, proven, expected, planned):
    proofs = [proven("fp32", expected.outputs)]
    made = quality_of(photo_source, proofs, expected, planned)
    assert made.steps == planned["w8"].plan.steps
    assert any(step.startswith("fold_batch_norm: 3 places") for step in made.steps)
    assert quality_of(photo_source, proofs, expected, {}).steps == ()
    assert quality_of(photo_source, [], expected, {}).reports == ()


def test_outputs_of_another_shape_are_refused(photo_source, proven, expected, planned):
    right = proven("w8", expected.outputs)
    wrong = [[output[:, :3] for output in outputs] for outputs in expected.outputs]
    observed = Observation({FORWARD: wrong}, {}, 1.0, "2.0", {})
    proof = replace(right, seen=observed)
    with pytest.raises(TensorMismatch):
        quality_of(photo_source, [proof], expected, planned)


@pytest.mark.parametrize("precision", ["w8", "w8a8"])
def test_what_is_known_of_layers_weights_and_the_set_is_in_the_report(
    photo_source, proven, expected, planned, precision
):
    own = planned["w8"]
    programs = {"w8": own, precision: own}
    known = insight_of(programs, photo_source.evaluation.samples)
    proofs = [proven("w8", own.outputs)]
    found = quality_of(photo_source, proofs, expected, planned, known)
    assert [one.precision for one in found.noise] == list(programs)
    assert len(found.sensitivity) == 1  # the same weights twice
    assert found.halves is not None
    assert (found.halves.count, found.halves.ranges_db) == (
        len(photo_source.calibration.samples),
        None,
    )
    layers = [one.layer for one in found.noise[0].layers]
    assert layers == [one.layer for one in found.sensitivity[0].layers]
    assert "stem.0" in layers
    assert (found.noise[0].n, found.sensitivity[0].n) == (6, 6)
    # the last layer's noise is that of the outputs, which the file's report has too
    assert found.noise[0].layers[-1].snr_db == pytest.approx(found.reports[0].snr_db.value, abs=0.2)


def test_changed_answers_are_shown_as_the_model_saw_them(photo_source, proven, expected, planned):
    turned = [[-output for output in outputs] for outputs in expected.outputs]
    (report,) = quality_of(photo_source, [proven("w8", turned)], expected, planned).reports
    for one in report.changed:
        with Image.open(io.BytesIO(base64.b64decode(one.thumbnail))) as shown:
            assert shown.size == (32, 32)
            seen = photo_source.preprocess.view(photo_source.frames[one.index])
            assert np.abs(np.asarray(shown, float) - seen).mean() < 8  # what JPEG costs


def test_inputs_that_are_no_photos_are_shown_if_they_are_pictures(
    photo_source, proven, expected, planned
):
    turned = [[-output for output in outputs] for outputs in expected.outputs]
    bare = replace(photo_source, frames=(), preprocess=None)
    (report,) = quality_of(bare, [proven("w8", turned)], expected, planned).reports
    sizes = set()
    for one in report.changed:
        with Image.open(io.BytesIO(base64.b64decode(one.thumbnail))) as shown:
            sizes.add((shown.size, shown.mode))
    assert sizes == {((32, 32), "RGB")}
    words = [
        tuple(np.zeros((1, 7), np.int32) for _ in sample) for sample in bare.evaluation.samples
    ]
    silent = replace(bare, evaluation=replace(bare.evaluation, samples=tuple(words)))
    (report,) = quality_of(silent, [proven("w8", turned)], expected, planned).reports
    assert {one.thumbnail for one in report.changed} == {""}
