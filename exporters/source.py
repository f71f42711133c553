"""Where a model comes from: a live module, a script, or a factory, all as one `SourceModel`.

A script (`path/to/file.py`, or an importable module by its dotted name) defines

    get_model() -> nn.Module in eval mode         get_args() -> tuple of example tensors, batch 1
    get_calibration_data() -> iterable of inputs  get_eval_batches() -> iterable of inputs
    get_labels() -> list of class names           get_preprocess() -> headtail.preprocess.Preprocess

of which the first two are required. An *input* is a tuple of arrays or tensors, one per model
input, or, where `get_preprocess` is defined, one uint8 photo (height, width, 3), which goes through
that preprocessing here exactly as it will on the phone.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from exporters.capture import check_model
from headtail.errors import HeadtailError, SourceFault
from headtail.manifest import is_plain_path
from headtail.preprocess import Frame, Preprocess, check_frame
from headtail.tensors import Array
from quantizers.calibration import CalibrationSet, from_arrays

__all__ = ["SourceModel", "from_module", "load_source"]

KINDS = ("path/to/file.py", "package.module", "package.module:factory")
_SOURCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(:[A-Za-z_]\w*)?")
_OPTIONAL = ("get_calibration_data", "get_eval_batches", "get_labels", "get_preprocess")


@dataclass(frozen=True)
class SourceModel:
    """A checked model with everything an export needs; arrays are numpy, batch 1.

    `evaluation` are the inputs on which artifacts are judged; `frames` are the photos they came
    from, or empty. `task` is `classification` when there are labels, else `tensor`.
    """

    name: str
    module: torch.nn.Module
    example: tuple[torch.Tensor, ...]
    labels: tuple[str, ...]
    preprocess: Preprocess | None
    calibration: CalibrationSet | None
    evaluation: CalibrationSet
    frames: tuple[Frame, ...]

    @property
    def task(self) -> str:
        """`classification` or `tensor`."""
        return "classification" if self.labels else "tensor"


def from_module(  # noqa: PLR0913  # the options of a live model, each of them optional data
    module: torch.nn.Module,
    example: Sequence[torch.Tensor],
    *,
    name: str = "",
    labels: Sequence[str] = (),
    preprocess: Preprocess | None = None,
    calibration: Iterable[Any] | None = None,
    evaluation: Iterable[Any] | None = None,
    origin: str = "Python",
) -> SourceModel:
    """A live module as a source; raises `SourceFault` for what would convert and be wrong."""
    _check_kinds(module, name, labels)
    check_model(module, example)
    ranges = None
    if calibration is not None:
        arrays, _ = _inputs(calibration, preprocess)
        ranges = from_arrays(arrays, source=f"{origin}: calibration data", seed=0)
        _check_like(arrays, example, "Calibration")
    if evaluation is not None:
        arrays, frames = _inputs(evaluation, preprocess)
        judged = from_arrays(arrays, source=f"{origin}: evaluation data", seed=0)
        _check_like(arrays, example, "Evaluation")
    else:
        arrays, frames = [tuple(value.detach().numpy() for value in example)], []
        judged = from_arrays(arrays, source=f"{origin}: example inputs, not known real", seed=0)
    _check_disjoint(ranges, judged)
    label = name or _plain(type(module).__name__).lower()
    return SourceModel(
        label, module, tuple(example), tuple(labels), preprocess, ranges, judged, tuple(frames)
    )


def _plain(text: str) -> str:
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
            remedy=f"Use {_plain(name)!r}.",
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
    wanted = [(str(t.dtype).removeprefix("torch."), list(t.shape)) for t in example]
    found = [(a.dtype.name, list(a.shape)) for a in samples[0]]
    if found != wanted:
        shown = [", ".join(f"{d}{s}" for d, s in side) for side in (found, wanted)]
        raise SourceFault(
            f"{kind} inputs are {shown[0]}.",
            expected=f"Like the example inputs they must be {shown[1]}.",
            remedy="Return one sample at a time, batch 1, preprocessed as the model expects.",
        )


def load_source(source: str, *, name: str = "") -> SourceModel:
    """`KINDS` to a `SourceModel`; raises `SourceFault` with what is missing or wrong."""
    if source.endswith(".py"):
        script = _import_file(Path(source))
        default = Path(source).stem
    else:
        module_name, _, factory = source.partition(":")
        script = _import_module(module_name, source)
        default = factory or module_name.rpartition(".")[2]
        if factory:
            return _from_factory(script, factory, source)
    required = [_required(script, f, source) for f in ("get_model", "get_args")]
    model, example = (_called(function, source) for function in required)
    found = {f: _called(getattr(script, f), source) for f in _OPTIONAL if hasattr(script, f)}
    return from_module(
        model,
        _tensors(example),
        name=name or _plain(default),
        labels=found.get("get_labels", ()),
        preprocess=found.get("get_preprocess"),
        calibration=found.get("get_calibration_data"),
        evaluation=found.get("get_eval_batches"),
        origin=source if not source.endswith(".py") else Path(source).name,
    )


def _from_factory(script: ModuleType, factory: str, source: str) -> SourceModel:
    make = _required(script, factory, source)
    made = _called(make, source)
    if not (isinstance(made, tuple) and len(made) == 2 and isinstance(made[0], torch.nn.Module)):
        raise SourceFault(
            f"{source} returned a {type(made).__name__}.",
            expected="A factory returns (module, example inputs).",
            remedy="Return such a pair, or use a script with get_model() and get_args().",
        )
    return from_module(made[0], _tensors(made[1]), name=factory, origin=source)


def _called(function: Callable[[], Any], source: str) -> Any:
    """What the user's function returns; a generator is run to its end here, where it may fail."""
    try:
        value = function()
        return list(value) if inspect.isgenerator(value) else value
    except HeadtailError:
        raise
    except Exception as error:
        name = getattr(function, "__name__", "a function")
        raise SourceFault(
            f"{name}() of {source} fails: {type(error).__name__}: {str(error)[:300]}",
            expected="It returns what its name says.",
            remedy="Call it in Python to see the whole traceback.",
        ) from error


def _tensors(value: Any) -> tuple[torch.Tensor, ...]:
    return (value,) if isinstance(value, torch.Tensor) else tuple(value)


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise SourceFault(
            f"There is no file {str(path)!r}.",
            expected=f"A source is one of: {', '.join(KINDS)}.",
            remedy="Check the path.",
        )
    spec = importlib.util.spec_from_file_location(f"_headtail_source_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise SourceFault(
            f"{path} cannot be imported.", expected="A Python file.", remedy="Check the file."
        )
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)  # modules beside the script, as when python runs it
    _guarded(lambda: spec.loader.exec_module(module), str(path))  # type: ignore[union-attr]  # checked above
    return module


def _import_module(name: str, source: str) -> ModuleType:
    if not _SOURCE.fullmatch(source) or not _findable(name):
        raise SourceFault(
            f"{source!r} is no source that Headtail knows.",
            expected=f"A source is one of: {', '.join(KINDS)}.",
            remedy="Check the spelling, or write a file.py with get_model() and get_args().",
        )
    made: list[ModuleType] = []
    _guarded(lambda: made.append(importlib.import_module(name)), source)
    return made[0]


def _findable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _guarded(run: Callable[[], object], source: str) -> None:
    try:
        run()
    except Exception as error:
        raise SourceFault(
            f"{source} fails when imported: {type(error).__name__}: {error}",
            expected="The script imports cleanly.",
            remedy="Run it with python to see the whole traceback.",
        ) from error


def _required(script: ModuleType, name: str, source: str) -> Callable[[], Any]:
    found = getattr(script, name, None)
    if not callable(found):
        has = [n for n, v in vars(script).items() if inspect.isfunction(v)]
        raise SourceFault(
            f"{source} has no function {name}() (it has: {', '.join(has) or 'none'}).",
            expected="A source defines get_model() and get_args().",
            remedy=f"Add {name}() to it.",
        )
    return found  # type: ignore[no-any-return]  # callable() was asked


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
    return value.detach().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)


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
