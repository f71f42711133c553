"""The MIL program inside a package: its functions, checked before anything is computed.

What is read from the proto and nothing else: operators, their inputs by name, declared result
types, nested blocks. What is not supported is reported for the whole program at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from exporters.mil.operators import OPERATIONS
from exporters.mil.package import Package
from exporters.mil.reading import Reader
from exporters.mil.steps import BlockCode, FunctionCode, Step
from headtail.errors import ConversionFailed

__all__ = ["BlockCode", "FunctionCode", "ProgramCode", "Step", "read_program"]


@dataclass(frozen=True)
class ProgramCode:
    """All functions of a package by name, the default function first."""

    package: Package
    functions: dict[str, FunctionCode]


def read_program(path: Path) -> ProgramCode:
    """Read and check every function of the package at `path`; nothing is evaluated."""
    package = Package(path)
    description, functions = package.model.description, package.model.mlProgram.functions
    first = description.defaultFunctionName or next(iter(sorted(functions)), "")
    if first not in functions:
        raise package.fault(
            f"the default function {first!r} is missing.",
            f"The program has the functions {sorted(functions)}.",
        )
    names = [f.name for f in description.functions if f.name in functions]
    ordered = dict.fromkeys([first, *names, *sorted(functions)])
    reader = Reader(package)
    codes = {name: reader.function(name, functions[name]) for name in ordered}
    if reader.complaints:
        raise ConversionFailed(
            f"{path} cannot be evaluated: {'; '.join(sorted(reader.complaints))}.",
            expected=f"The reference interpreter knows {len(OPERATIONS)} operators and all their "
            "documented inputs.",
            remedy="Check this file with Core ML on a Mac, or write the model without these.",
        )
    return ProgramCode(package, codes)
