"""`--fail-on agreement<.95`: expressions that turn a figure of an artifact into an exit code.

An expression says what is *not* accepted. One that would refuse good artifacts and pass bad ones
(`agreement>.95`) is refused itself, and a figure that was not measured never passes a gate.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from headtail.errors import UnknownName, UsageFault
from headtail.quality.schema import QualityReport

__all__ = ["FIGURES", "Figure", "Gate", "failures", "parse_gates"]

_EXPRESSION = re.compile(r"\s*([a-z_]+)\s*(<=|>=|<|>)\s*([-+0-9.eE]+)\s*")
_REFUSES: Mapping[str, Callable[[float, float], bool]] = {
    "<": lambda value, limit: value < limit,
    "<=": lambda value, limit: value <= limit,
    ">": lambda value, limit: value > limit,
    ">=": lambda value, limit: value >= limit,
}


@dataclass(frozen=True)
class Figure:
    """What a gate can be about. `worse` is the direction, `<` or `>`, in which it is worse; a
    `fraction` lies between -1 and 1; `how` says how to get it where it was not measured."""

    said: str
    worse: str
    fraction: bool
    how: str
    of: Callable[[QualityReport, int], float | None]


_CLASSIFIES = "It is a figure of classifiers."
FIGURES: dict[str, Figure] = {
    "agreement": Figure(
        "top-1 agreement with the float32 model",
        "<",
        True,
        _CLASSIFIES,
        lambda report, _: report.agreement.value if report.agreement else None,
    ),
    "snr": Figure(
        "mean SNR against the float32 model in dB",
        "<",
        False,
        "Assess the artifact on an evaluation set.",
        lambda report, _: report.snr_db.value,
    ),
    "faithful": Figure(
        "mean SNR in dB against the program that the file should equal",
        "<",
        False,
        "Assess the artifact together with its program.",
        lambda report, _: report.faithful_db,
    ),
    "size_mb": Figure(
        "size in MB (10^6 bytes)",
        ">",
        False,
        "Every artifact has one.",
        lambda _, size: size / 1e6,
    ),
    "worst_class": Figure(
        "agreement on the worst class",
        "<",
        True,
        "It needs a class with enough evaluation inputs.",
        lambda report, _: report.worst.agreement.value if report.worst else None,
    ),
    "worst_slice": Figure(
        "agreement on the worst slice",
        "<",
        True,
        "It needs a name for each evaluation input, from get_eval_slices(), and enough of them.",
        lambda report, _: report.worst_group.agreement.value if report.worst_group else None,
    ),
    "acc_drop": Figure(
        "drop in accuracy against the float32 model",
        ">",
        True,
        "It needs evaluation inputs with labels, from get_eval_labels().",
        lambda report, _: report.accuracy.drop.value if report.accuracy else None,
    ),
}


@dataclass(frozen=True)
class Gate:
    """`figure` (a key of `FIGURES`) is not accepted where it is `operator` `limit`."""

    figure: str
    operator: str
    limit: float

    def __str__(self) -> str:
        return f"{self.figure}{self.operator}{self.limit:g}"

    def failure(self, report: QualityReport, size: int) -> str | None:
        """Why the artifact of `size` bytes fails, one sentence, or None if it passes."""
        figure = FIGURES[self.figure]
        value = figure.of(report, size)
        if value is None:
            return (
                f"{report.key}: {self.figure} ({figure.said}) was not measured, so {self} cannot "
                f"be judged. {figure.how}"
            )
        if not _REFUSES[self.operator](value, self.limit):
            return None
        return f"{report.key}: {figure.said} is {value:.4g} on {report.n} inputs, {self} fails."


def parse_gates(expressions: Iterable[str]) -> tuple[Gate, ...]:
    """Gates from `--fail-on` values; each may hold several, with commas between them.

    Raises `UsageFault` for what is no expression, a limit that cannot be, or a direction that would
    refuse the good; `UnknownName` for a figure that is not one of `FIGURES`.
    """
    return tuple(_gate(part) for value in expressions for part in value.split(","))


def failures(gates: Sequence[Gate], reports: Iterable[tuple[QualityReport, int]]) -> list[str]:
    """A sentence for each gate that an artifact fails; `reports` with sizes in bytes."""
    return [
        sentence
        for report, size in reports
        for gate in gates
        if (sentence := gate.failure(report, size))
    ]


def _gate(text: str) -> Gate:
    found = _EXPRESSION.fullmatch(text)
    if not found:
        raise _refused(text, "An expression is a figure, <, <=, > or >=, and a number.")
    name, operator, number = found.groups()
    if name not in FIGURES:
        raise UnknownName("figure", name, FIGURES)
    try:
        limit = float(number)
    except ValueError:
        raise _refused(text, f"{number} is not a number.") from None
    figure = FIGURES[name]
    if operator[0] != figure.worse:
        raise _refused(text, f"{name} ({figure.said}) is worse when it is {figure.worse}.")
    if figure.fraction and abs(limit) > 1:
        raise _refused(text, f"{name} is a share: .95 is 95 %.")
    return Gate(name, operator, limit)


def _refused(text: str, expected: str) -> UsageFault:
    return UsageFault(
        f"The gate {text!r} cannot be used.",
        expected=expected,
        remedy="Write it like agreement<.95 or size_mb>6, in quotes in a shell.",
    )
