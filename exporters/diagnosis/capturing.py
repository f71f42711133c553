"""Why torch.export cannot capture a model: every line at fault, not the first only.

`torch.export.draft_export` goes on past a data-dependent branch with the values it has, and reports
each (https://docs.pytorch.org/docs/stable/draft_export.html). What it cannot go past (Python that
leaves torch) has one line: the innermost of the model's own in the traceback.
"""

from __future__ import annotations

import contextlib
import io
import logging
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch._logging import structured
from torch.export._draft_export import CaptureStructuredTrace

from exporters.diagnosis.finding import Finding
from exporters.diagnosis.place import own_place

__all__ = ["capture_findings", "quiet_torch"]

_REMEDIES = {
    "DATA_DEPENDENT_ERROR": "Decide it outside the model, or compute both sides and choose with "
    "torch.where; a size must follow from the input's shape.",
    "MISSING_FAKE_KERNEL": "Register a fake kernel for the operator with "
    "torch.library.register_fake, or replace it with PyTorch's own operators.",
}
_GENERAL = "Keep tensors in torch inside forward(): no NumPy, no Python numbers taken from values."
_REASONS = {
    "DATA_DEPENDENT_ERROR": "Python asks for a value that is only known when the model runs",
    "MISSING_FAKE_KERNEL": "an operator cannot say the shape of its result",
}


def capture_findings(
    module: torch.nn.Module, example: Sequence[torch.Tensor], refusal: str
) -> list[Finding]:
    """What stands in the way of capturing; at least one finding, `refusal` if nothing better."""
    try:
        report = _draft(module, tuple(example))
    except Exception as error:  # draft_export raises what the traced code raises
        return [_finding("capture", _line_of(error), _text(error), _GENERAL)]
    found = [_failure(failure, report.str_to_filename) for failure in report.failures]
    return list(dict.fromkeys(found)) or [_finding("capture", "", refusal, _GENERAL)]


def _draft(module: torch.nn.Module, example: tuple[torch.Tensor, ...]) -> Any:
    with quiet_torch(), _trace_heard(), warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch's own advice to its callers' callers
        try:
            drafted = torch.export.draft_export(module, example)
        finally:
            _close_logs()
    return drafted._report  # type: ignore[attr-defined]  # where it keeps its report


@contextlib.contextmanager
def _trace_heard() -> Iterator[None]:
    """draft_export reads what it reports from torch's trace log, which it takes to be at DEBUG.

    litert-torch's conversion raises every logger of torch to WARNING for the rest of the process.
    """
    trace = logging.getLogger("torch.__trace")
    before = trace.level
    trace.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        trace.setLevel(before)


def _close_logs() -> None:
    """draft_export opens a log file and leaves it to the garbage collector."""
    for reference in list(logging._handlerList):  # type: ignore[attr-defined]  # weak references
        handler = reference()
        if isinstance(handler, CaptureStructuredTrace):
            handler.close()


@contextlib.contextmanager
def quiet_torch() -> Iterator[None]:
    """Without what torch logs and prints of each failure: the findings say it."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            yield  # the graph so far is printed, not logged
    finally:
        logging.disable(before)


def _failure(failure: Any, files: dict[int, str]) -> Finding:
    kind = failure.failure_type.name
    # the first has three frames, which may all be torch's
    stacks = (_frames(failure.data.get(kept) or (), files) for kept in ("user_stack", "stack"))
    place, code = next((found for stack in stacks if (found := own_place(stack))[0]), ("", ""))
    reason = _REASONS.get(kind, kind.lower().replace("_", " "))
    if code:
        reason = f"{reason}: `{code}`"
    return _finding("capture", place, reason, _REMEDIES.get(kind, _GENERAL))


def _frames(
    stack: Sequence[Mapping[str, Any]], files: dict[int, str]
) -> list[tuple[str, int, str]]:
    """(file, line, code) of the frames whose file is known: torch tells each name once."""
    known = files | {number: name for name, number in structured.INTERN_TABLE.items()}
    return [
        (known[frame["filename"]], frame["line"], frame.get("loc", ""))
        for frame in stack
        if frame["filename"] in known
    ]


def _line_of(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [(f.filename, f.lineno or 0, f.line or "") for f in frames if f.filename != __file__]
    place, _ = own_place(own)
    return place


def _text(error: Exception) -> str:
    lines = str(error).strip().splitlines() or ["(no message)"]
    return f"{type(error).__name__}: {lines[0][:300]}"


def _finding(op: str, place: str, detail: str, remedy: str) -> Finding:
    return Finding("", op, "unsupported", "", place, detail, remedy)
