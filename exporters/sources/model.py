"""A model with everything an export needs, checked before anything is converted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from exporters.capture import check_model, narrowed
from exporters.sources.answers import checked_labels, checked_slices
from headtail.errors import SourceFault
from headtail.manifest import is_plain_path
from headtail.preprocess import Frame, Preprocess, check_frame
from headtail.tensors import Array
from quantizers.calibration import CalibrationSet, from_arrays, require_alike

__all__ = ["SourceModel", "from_module", "plain_name"]


@dataclass(frozen=True)
class SourceModel:
    """A checked model with everything an export needs; arrays are numpy, batch 1.

    `evaluation` are the inputs on which artifacts are judged; `frames` are the photos they came
    from, or empty; `eval_labels` the right class of each and `eval_slices` the name of what it
    belongs to, or empty. `origin` says where the model and its weights come from, `remarks` what
    was done that nobody asked for. `labelled` is what the labels name if not whole pictures.
    """

    name: str
    module: torch.nn.Module
    example: tuple[torch.Tensor, ...]
    labels: tuple[str, ...]
    preprocess: Preprocess | None
    calibration: CalibrationSet | None
    evaluation: CalibrationSet
    frames: tuple[Frame, ...]
    origin: str = "Python"
    remarks: tuple[str, ...] = ()
    eval_labels: tuple[int, ...] = ()
    eval_slices: tuple[str, ...] = ()
    labelled: str = ""

    @property
    def task(self) -> str:
        """`classification` with labels, or what else they name; `tensor` without."""
        return (self.labelled or "classification") if self.labels else "tensor"


def from_module(  # noqa: PLR0913  # the options of a live model, each of them optional data
    module: torch.nn.Module,
    example: Sequence[torch.Tensor],
    *,
    name: str = "",
    labels: Sequence[str] = (),
    preprocess: Preprocess | None = None,
    calibration: Iterable[Any] | None = None,
    evaluation: Iterable[Any] | None = None,
    eval_labels: Iterable[Any] = (),
    eval_slices: Iterable[Any] = (),
    origin: str = "Python",
    judged_on: str = "",
    remarks: Sequence[str] = (),
) -> SourceModel:
    """A live module as a source; raises `SourceFault` for what would convert and be wrong.

    `eval_labels` (class indices) and `eval_slices` (any names) are one per evaluation input.
    Phones have no int64: such inputs and outputs become int32, and a remark says so.
    """
    _check_kinds(module, name, labels)
    check_model(module, example)
    ranges = None
    if calibration is not None:
        arrays, _ = _inputs(calibration, preprocess)
        ranges = from_arrays(arrays, source=judged_on or f"{origin}: calibration data", seed=0)
        _check_like(arrays, example, "Calibration")
    if evaluation is not None:
        arrays, frames = _inputs(evaluation, preprocess)
        judged = from_arrays(arrays, source=judged_on or f"{origin}: evaluation data", seed=0)
        _check_like(arrays, example, "Evaluation")
        if ranges is not None:
            require_alike(ranges, judged)
    else:
        arrays, frames = [tuple(narrowed(value.detach().numpy()) for value in example)], []
        judged = from_arrays(arrays, source=f"{origin}: example inputs, not known real", seed=0)
    _check_disjoint(ranges, judged)
    wide = [str(i) for i, value in enumerate(example) if value.dtype == torch.int64]
    if wide:
        remarks = [*remarks, f"input {', '.join(wide)} is int64 in PyTorch and int32 on phones"]
    return SourceModel(
        name or plain_name(type(module).__name__).lower(),
        module,
        # a copy has the strides that its shape implies; ExecuTorch refuses those of `array[None]`
        tuple(v.detach().clone(memory_format=torch.contiguous_format) for v in example),
        tuple(labels),
        preprocess,
        ranges,
        judged,
        tuple(frames),
        origin,
        tuple(remarks),
        checked_labels(eval_labels, len(judged.samples), len(labels)),
        checked_slices(eval_slices, len(judged.samples)),
    )


def plain_name(text: str) -> str:
    """A file name from a file's or a class's: what is not a letter, a digit, `.`, `-` is `_`."""
    return re.sub(r"[^A-Za-z0-9.-]+", "_", text).strip("._-") or "model"


def _check_kinds(module: Any, name: str, labels: Any) -> None:
    if not isinstance(module, torch.nn.Module):
        raise SourceFault(
            f"The model is a {type(module).__name__}.",
            expected="A torch.nn.Module in eval mode.",
            remedy="Return the module itself from get_model().",
        )
    if name and (not is_plain_path(name) or "/" in name):
        raise SourceFault(
            f"The name is {name!r}.",
            expected="Artifacts are files of that name: ASCII letters, digits, '.', '_' and '-'.",
            remedy=f"Use {plain_name(name)!r}.",
        )
    if isinstance(labels, str) or not all(isinstance(label, str) for label in labels):
        raise SourceFault(
            f"The labels are {str(labels)[:60]!r}.",
            expected="A sequence of strings, one per class in index order.",
            remedy="Convert them: [str(label) for label in labels].",
        )


def _check_like(
    samples: Sequence[Sequence[Array]], example: Sequence[torch.Tensor], kind: str
) -> None:
    """Of the first sample, since all are alike: the example's dtypes and shapes."""
    shown = [narrowed(t.detach().numpy()) for t in example]
    wanted = [(a.dtype.name, list(a.shape)) for a in shown]
    found = [(a.dtype.name, list(a.shape)) for a in samples[0]]
    if found != wanted:
        given, right = (", ".join(f"{d}{s}" for d, s in side) for side in (found, wanted))
        raise SourceFault(
            f"{kind} inputs are {given}.",
            expected=f"Like the example inputs they must be {right}.",
            remedy="Return one sample at a time, batch 1, preprocessed as the model expects.",
        )


def _inputs(
    values: Iterable[Any], preprocess: Preprocess | None
) -> tuple[list[tuple[Array, ...]], list[Frame]]:
    samples: list[tuple[Array, ...]] = []
    frames: list[Frame] = []
    for value in values:
        if isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim == 3:
            samples.append((_preprocessed(value, preprocess),))
            frames.append(value)
        else:
            parts = value if isinstance(value, (tuple, list)) else (value,)
            samples.append(tuple(_array(part) for part in parts))
    if frames and len(frames) != len(samples):
        raise SourceFault(
            f"{len(frames)} of {len(samples)} inputs are photos.",
            expected="Either all inputs are uint8 photos or none is.",
            remedy="Return one kind from get_calibration_data() and get_eval_batches().",
        )
    return samples, frames


def _preprocessed(frame: Frame, preprocess: Preprocess | None) -> Array:
    check_frame(frame)
    if preprocess is None:
        raise SourceFault(
            f"An input is a photo (uint8{list(frame.shape)}) and there is no preprocessing.",
            expected="get_preprocess() says how camera bytes become the model's input.",
            remedy="Define get_preprocess(), or return preprocessed float32 arrays.",
        )
    return preprocess(frame)


def _array(value: Any) -> Array:
    found = value.detach().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
    return narrowed(found)


def _check_disjoint(calibration: CalibrationSet | None, evaluation: CalibrationSet) -> None:
    if calibration is None:
        return
    seen = {b"".join(a.tobytes() for a in sample) for sample in calibration.samples}
    both = sum(b"".join(a.tobytes() for a in sample) in seen for sample in evaluation.samples)
    if both:
        raise SourceFault(
            f"{both} evaluation inputs are also calibration inputs.",
            expected="A model is judged on inputs that its ranges were not taken from.",
            remedy="Return disjoint sets from get_calibration_data() and get_eval_batches().",
        )
