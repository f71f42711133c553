"""Which operators a target takes: tables of data made from the converters themselves.

`support/<target>.json` holds the operators by the converter's own names with the version they were
read from (`exporters.diagnosis.inventory`), `support/remedies.json` what to do about an operator
that is missing, and `support/known.json` what the registries claim and measurements refute. An
entry says that a lowering of this name exists; whether it takes these shapes and dtypes, the
conversion shows. With another version installed than the table's, every answer is `unknown`.
"""

from __future__ import annotations

import functools
import importlib.metadata
import json
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from headtail.errors import UnknownName

__all__ = ["TABLES", "Known", "SupportTable", "remedy_for", "support_table", "table_path"]

# target -> the distribution whose registry the table is
TABLES = {"coreml": "coremltools", "executorch": "executorch", "litert": "litert-torch"}

_FOLDER = "support"
# Namespaces whose kernels or lowerings a table of this target lists in full.
_LISTED = {
    "coreml": ("aten", "prims", "higher_order"),
    "executorch": ("aten", "prims", "dim_order_ops", "higher_order"),
    "litert": ("aten", "prims", "higher_order"),
}


@dataclass(frozen=True)
class Known:
    """What a registry claims and a measurement refutes: `op` and `dtype` (of the result) are
    regular expressions, `evidence` says what was tried with which version."""

    target: str
    op: str
    dtype: str
    status: str
    remedy: str
    evidence: str


@dataclass(frozen=True)
class SupportTable:
    """One target's operators, and the version that the package has here ('' if absent)."""

    target: str
    package: str
    version: str
    operators: frozenset[str]
    installed: str

    @property
    def current(self) -> bool:
        """Is the table of the version that is installed?"""
        return self.version == self.installed

    def status(self, op: str, key: str, dtype: str = "") -> tuple[str, str]:
        """(`supported`, `unsupported` or `unknown`, why).

        `op` is torch's name of the operator, `key` the converter's, `dtype` the result's. An
        operator of a namespace that the table does not list in full may have been registered by
        its user: `unknown`.
        """
        if not self.current:
            here = self.installed or "not installed"
            return "unknown", f"the table is of {self.package} {self.version}, here it is {here}"
        known = _known_of(self.target, op, dtype)
        if known is not None:
            return known.status, known.evidence
        if key in self.operators:
            return "supported", ""
        namespace = op.partition(".")[0]
        if "." in op and namespace not in _LISTED[self.target]:
            return "unknown", f"{namespace} is not a namespace of PyTorch's own operators"
        return "unsupported", f"{self.package} {self.version} has nothing for {key}"


def table_path(target: str) -> Path:
    """The JSON file of a target, in the source tree."""
    return Path(__file__).parent / _FOLDER / f"{target}.json"


@functools.cache
def support_table(target: str) -> SupportTable:
    """The table of `target`; raises `UnknownName` with those there are."""
    if target not in TABLES:
        raise UnknownName("format", target, TABLES)
    body = _read(f"{target}.json")
    try:
        installed = importlib.metadata.version(body["package"])
    except importlib.metadata.PackageNotFoundError:
        installed = ""
    return SupportTable(
        target, body["package"], body["version"], frozenset(body["operators"]), installed
    )


def remedy_for(op: str, target: str, status: str, dtype: str = "") -> str:
    """What to do about an operator: an entry for the operator, else for its family, else general.

    `op` is `aten.erfinv.default` or any other name; entries are regular expressions over it.
    """
    known = _known_of(target, op, dtype)
    if known is not None and known.status == status:
        return known.remedy
    for entry in _read("remedies.json"):
        if (
            target in entry["targets"]
            and status in entry["statuses"]
            and re.fullmatch(entry["op"], op)
        ):
            return str(entry["remedy"])
    raise UnknownName("remedy for an operator", op, ())  # remedies.json ends with a general one


def _known_of(target: str, op: str, dtype: str) -> Known | None:
    for known in _known():
        told = known.target == target and re.fullmatch(known.op, op)
        if told and re.fullmatch(known.dtype, dtype):
            return known
    return None


@functools.cache
def _known() -> tuple[Known, ...]:
    return tuple(Known(**entry) for entry in _read("known.json"))


@functools.cache
def _read(name: str) -> Any:
    text = resources.files("exporters.diagnosis").joinpath(_FOLDER, name).read_text()
    return json.loads(text)
