"""A script, an importable module or a factory as a source.

A script (`path/to/file.py`, or an importable module by its dotted name) defines

    get_model() -> nn.Module in eval mode         get_args() -> tuple of example tensors, batch 1
    get_calibration_data() -> iterable of inputs  get_eval_batches() -> iterable of inputs
    get_labels() -> list of class names           get_preprocess() -> headtail.preprocess.Preprocess
    get_eval_labels() -> class index per input    get_eval_slices() -> name per input

of which the first two are required. An *input* is a tuple of arrays or tensors, one per model
input, or, where `get_preprocess` is defined, one uint8 photo (height, width, 3), which goes through
that preprocessing here exactly as it will on the phone. Labels and slices are of the inputs of
`get_eval_batches`, in its order: with labels there is an accuracy, with slices (the place or the
light of each photo, say) the worst of them is told.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from exporters.sources.kinds import KINDS
from exporters.sources.model import SourceModel, from_module, plain_name
from headtail.errors import HeadtailError, SourceFault

__all__ = ["load"]

_SOURCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(:[A-Za-z_]\w*)?")
_OPTIONAL = (
    "get_calibration_data",
    "get_eval_batches",
    "get_eval_labels",
    "get_eval_slices",
    "get_labels",
    "get_preprocess",
)


def load(source: str, *, name: str = "") -> SourceModel:
    """A script, an importable module or a factory; raises `SourceFault` with what is wrong."""
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
        name=name or plain_name(default),
        labels=found.get("get_labels", ()),
        preprocess=found.get("get_preprocess"),
        calibration=found.get("get_calibration_data"),
        evaluation=found.get("get_eval_batches"),
        eval_labels=found.get("get_eval_labels", ()),
        eval_slices=found.get("get_eval_slices", ()),
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
