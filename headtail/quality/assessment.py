"""One artifact held against the float32 model, from both models' outputs on the same inputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headtail.errors import GateFailed, TensorMismatch, UsageFault
from headtail.metrics import finite_db, snr_db
from headtail.postprocess import softmax
from headtail.quality.schema import (
    Accuracy,
    CalibrationError,
    ChangedImage,
    Drift,
    Faithful,
    Interval,
    QualityReport,
    Slice,
)
from headtail.quality.statistics import (
    bootstrap_mean,
    calibration_error,
    kl_divergence,
    mcnemar_p_value,
    paired_difference,
    share,
)
from headtail.tensors import Array

__all__ = ["Settings", "assess"]

Indices = npt.NDArray[np.int64]
Outputs = Sequence[Array] | Array


@dataclass(frozen=True)
class Settings:
    """How figures are taken: bootstrap `resamples` with `seed`, `bins` of the calibration error,
    and how many inputs a class needs to be a slice. `classifies` is False for other models."""

    classifies: bool = True
    resamples: int = 2000
    seed: int = 0
    bins: int = 15
    slice_minimum: int = 10


def assess(  # noqa: PLR0913  # what is known of the inputs, each of it optional
    reference_outputs: Outputs,
    candidate_outputs: Outputs,
    *,
    kind: tuple[str, str],
    labels: Sequence[int] | None = None,
    groups: Sequence[str] | None = None,
    program_outputs: Outputs | None = None,
    settings: Settings = Settings(),  # frozen
) -> QualityReport:
    """Figures of the artifact `kind` = (format, precision) from one output per input.

    `reference_outputs`: the float32 model's, (classes,) or (1, classes) each, or one array (n,
    classes); any shape for a model that does not classify. `candidate_outputs`: the file's on the
    same inputs. `program_outputs`: those of the program that the file should equal, for `faithful`.
    `labels`: the right class of each input; `groups`: the name of the slice that it belongs to.
    Raises `TensorMismatch` for other counts or shapes, `UsageFault` for no inputs, labels out of
    range or groups of another count, `GateFailed` if an output of the file is not finite, since no
    figure of such a file means anything.
    """
    _check(reference_outputs, candidate_outputs, kind)
    noise = _snrs(reference_outputs, candidate_outputs)
    faithful = None
    if program_outputs is not None:
        _check(program_outputs, candidate_outputs, kind)
        own = _snrs(program_outputs, candidate_outputs)
        faithful = Faithful(len(own), _mean(own, settings), float(own.min()))
    answers = None
    if settings.classifies:
        answers = _Answers(_rows(reference_outputs), _rows(candidate_outputs), labels)
    return QualityReport(
        *kind,
        n=len(noise),
        snr_db=_mean(noise, settings),
        snr_db_min=float(noise.min()),
        agreement=share(int(answers.same.sum()), len(noise)) if answers else None,
        accuracy=_accuracy(answers) if answers else None,
        slices=_classes(answers, settings) if answers else (),
        slice_minimum=settings.slice_minimum,
        drift=_drift(answers, settings) if answers else None,
        calibration=_calibration(answers, settings) if answers else None,
        changed=_changed(answers) if answers else (),
        resamples=settings.resamples,
        seed=settings.seed,
        faithful=faithful,
        groups=_slices(answers, groups, settings) if answers and groups is not None else (),
    )


class _Answers:
    """Both models' classes and probabilities, (n,) and (n, classes)."""

    def __init__(self, reference: Array, candidate: Array, labels: Sequence[int] | None) -> None:
        self.logits = reference, candidate
        self.probabilities = softmax(reference), softmax(candidate)
        self.before: Indices = reference.argmax(axis=1)
        self.after: Indices = candidate.argmax(axis=1)
        self.same = self.before == self.after
        self.labels = None if labels is None else self._checked(labels)
        rows = np.arange(len(reference))
        self.sure_before = self.probabilities[0][rows, self.before]
        self.sure_after = self.probabilities[1][rows, self.after]

    def _checked(self, labels: Sequence[int]) -> Indices:
        found = np.asarray(labels)
        count, classes = self.logits[0].shape
        fits = found.shape == (count,) and found.dtype.kind in "iu"
        if not fits or found.min() < 0 or found.max() >= classes:
            raise UsageFault(
                f"The labels are {found.dtype.name}{list(found.shape)}"
                + (f" from {found.min()} to {found.max()}." if found.size else "."),
                expected=f"One class from 0 to {classes - 1} for each of {count} inputs.",
                remedy="Pass the labels of these very inputs, in their order.",
            )
        return found.astype(np.int64)


def _check(ours: Outputs, theirs: Outputs, kind: tuple[str, str]) -> None:
    if len(ours) != len(theirs):
        raise TensorMismatch(
            f"{len(ours)} reference outputs stand against {len(theirs)} of {'.'.join(kind)}.",
            expected="One output of the file per output of the reference.",
            remedy="Run both on the same inputs.",
        )
    if not len(ours):
        raise UsageFault(
            f"{'.'.join(kind)} was to be assessed on no inputs.",
            expected="At least one input, better some hundreds.",
            remedy="Pass an evaluation set.",
        )
    broken = [i for i, output in enumerate(theirs) if not np.isfinite(output).all()]
    if broken:
        raise GateFailed(
            f"{len(broken)} of {len(theirs)} outputs of {'.'.join(kind)} are not finite, the first "
            f"for input {broken[0]}.",
            expected="Every value that a model gives is a finite number.",
            remedy="Leave the layers that overflow in floating point, or calibrate on more inputs.",
        )


def _rows(outputs: Outputs) -> Array:
    return np.stack([np.reshape(output, -1) for output in outputs]).astype(np.float64)


def _snrs(reference: Outputs, candidate: Outputs) -> npt.NDArray[np.float64]:
    pairs = zip(reference, candidate, strict=True)
    return np.array([finite_db(snr_db(reference=r, candidate=c)) for r, c in pairs])


def _mean(values: npt.NDArray[np.float64], settings: Settings) -> Interval:
    return bootstrap_mean(values, resamples=settings.resamples, seed=settings.seed)


def _accuracy(answers: _Answers) -> Accuracy | None:
    if answers.labels is None:
        return None
    ours, theirs = answers.before == answers.labels, answers.after == answers.labels
    lost, won = int((ours & ~theirs).sum()), int((~ours & theirs).sum())
    return Accuracy(
        n=len(ours),
        reference=float(ours.mean()),
        candidate=float(theirs.mean()),
        drop=paired_difference(ours, theirs),
        lost=lost,
        won=won,
        p_value=mcnemar_p_value(lost, won),
    )


def _classes(answers: _Answers, settings: Settings) -> tuple[Slice, ...]:
    """Classes, by label or, without labels, by the float32 model's answer."""
    classes = answers.before if answers.labels is None else answers.labels
    return _slices(answers, [str(index) for index in classes], settings)


def _slices(answers: _Answers, names: Sequence[str], settings: Settings) -> tuple[Slice, ...]:
    """Inputs of one name together, those of equal agreement by size and then by name."""
    if len(names) != len(answers.same):
        raise UsageFault(
            f"{len(names)} inputs have the name of a slice.",
            expected=f"One name for each of {len(answers.same)} inputs.",
            remedy="Pass the slices of these very inputs, in their order.",
        )
    agreed: Counter[str] = Counter()
    for name, same in zip(names, answers.same, strict=True):
        agreed[name] += int(same)
    found = [
        Slice(name, n, agreed[name], share(agreed[name], n))
        for name, n in Counter(names).items()
        if n >= settings.slice_minimum
    ]
    return tuple(sorted(found, key=lambda one: (one.agreement.value, -one.n, _natural(one.name))))


def _natural(name: str) -> tuple[int, str]:
    """Classes are named by their numbers: 9 comes before 10."""
    return (int(name), "") if name.isdecimal() else (0, name)


def _drift(answers: _Answers, settings: Settings) -> Drift:
    reference, candidate = answers.logits
    return Drift(
        confidence=_mean(answers.sure_after - answers.sure_before, settings),
        kl_nats=_mean(kl_divergence(reference=reference, candidate=candidate), settings),
    )


def _calibration(answers: _Answers, settings: Settings) -> CalibrationError:
    if answers.labels is None:
        rows = np.arange(len(answers.after))
        expected = answers.probabilities[0][rows, answers.after]
        error = calibration_error(answers.sure_after, expected, bins=settings.bins)
        return CalibrationError("reference", settings.bins, None, error)
    ours, theirs = answers.before == answers.labels, answers.after == answers.labels
    return CalibrationError(
        "labels",
        settings.bins,
        calibration_error(answers.sure_before, ours, bins=settings.bins),
        calibration_error(answers.sure_after, theirs, bins=settings.bins),
    )


def _changed(answers: _Answers) -> tuple[ChangedImage, ...]:
    return tuple(
        ChangedImage(
            index=int(i),
            before=int(answers.before[i]),
            after=int(answers.after[i]),
            confidence_before=float(answers.sure_before[i]),
            confidence_after=float(answers.sure_after[i]),
            label=None if answers.labels is None else int(answers.labels[i]),
        )
        for i in np.flatnonzero(~answers.same)
    )
