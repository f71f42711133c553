"""The manifest: what a bundle is, in one JSON object that every part of Headtail reads.

`manifest.json` holds exactly `canonical_bytes(manifest)`: a file that parses to the same value but
has other bytes is refused, so that no byte of it can change unnoticed. `bundle_id` is the SHA-256
of the canonical bytes with `bundle_id` set to the empty string. That much holds in every schema
version, so a changed byte (`IntegrityFault`) is told from a newer schema (`SchemaFault`) before any
other key is looked at. Measurements (`report.json`) are not content and stay outside the manifest;
they carry their own digest.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from dataclasses import dataclass
from typing import Any

from headtail.errors import IntegrityFault, SchemaFault, UnknownName
from headtail.metrics import db_text
from headtail.preprocess import Preprocess
from headtail.strictjson import canonical_bytes, from_json, parse
from headtail.tensors import TensorSpec

__all__ = [
    "FORWARD",
    "SCHEMA_VERSION",
    "Agreement",
    "Artifact",
    "Coverage",
    "Cut",
    "Entry",
    "FileRecord",
    "LeftOver",
    "Manifest",
    "Place",
    "QuantTable",
    "SampleSet",
    "SizeRange",
    "Tail",
    "head_entry",
    "is_plain_path",
]

# 4: fidelity of splits; 3: recipes; 2: artifacts list their rewrites and what their delegate takes
SCHEMA_VERSION = 4
FORWARD = "forward"
MANIFEST = "manifest.json"
SYNTHETIC = "synthetic: "  # what the source of inputs that are noise begins with
REPORT = "report.json"
REPORT_HTML = "report.html"
RESERVED = frozenset({MANIFEST, REPORT, REPORT_HTML, "signature"})  # never in `files`
MAX_MANIFEST_BYTES = 8 << 20
MAX_PATH = 255
_PATH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")


def head_entry(cut: str) -> str:
    """Entry point of the head that ends at `cut`: `head_<cut>`."""
    return f"head_{cut}"


@dataclass(frozen=True)
class FileRecord:
    """Promise about one file: SHA-256 (hex) and size in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Place:
    """Axis number `axis` of the input called `input`."""

    input: str
    axis: int


@dataclass(frozen=True)
class SizeRange:
    """Multiples of `step` from `low` to `high`: sizes of all `places` together."""

    places: tuple[Place, ...]
    low: int
    high: int
    step: int

    def __str__(self) -> str:
        places = "+".join(f"{place.input}:{place.axis}" for place in self.places)
        return f"{places}={self.low}..{self.high}" + (f"/{self.step}" if self.step > 1 else "")


@dataclass(frozen=True)
class Entry:
    """One entry point of an artifact, with the tensors it takes and gives, in order.

    Where there are `ranges`, the shapes are those of the example inputs and the file takes the
    others too.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    ranges: tuple[SizeRange, ...] = ()


@dataclass(frozen=True)
class Agreement:
    """How answers compare with those of the fp32 PyTorch model to `n` inputs of the evaluation set.

    `top1`, `low` and `high` (Wilson 95 % interval) are None for models that do not classify.
    SNR in dB over all outputs of a sample: mean and minimum over `n` samples.
    """

    n: int
    top1: float | None
    low: float | None
    high: float | None
    snr_db_mean: float
    snr_db_min: float

    def __str__(self) -> str:
        noise = f"SNR {db_text(self.snr_db_mean)} dB (at least {db_text(self.snr_db_min)})"
        if self.top1 is None:
            return f"{noise} on {self.n}"
        return f"agrees on {self.top1:.3f} of {self.n} ({self.low:.3f}-{self.high:.3f}), {noise}"


@dataclass(frozen=True)
class LeftOver:
    """An operator that no delegate takes: how often, and in which module first."""

    op: str
    module: str
    count: int


@dataclass(frozen=True)
class Coverage:
    """What of `forward` runs in a delegate: its share of the multiply-accumulates, in how many
    partitions, and which operators are left to the runtime's own kernels."""

    delegate: str
    mac_share: float
    partitions: int
    left: tuple[LeftOver, ...]

    def __str__(self) -> str:
        left = ", ".join(f"{o.op} x{o.count} ({o.module})" for o in self.left) or "nothing"
        partitions = f"{self.partitions} partition" + ("s" if self.partitions != 1 else "")
        return f"{self.delegate} {self.mac_share:.1%} of MACs, {partitions}; not delegated: {left}"


@dataclass(frozen=True)
class SampleSet:
    """Provenance of a set of inputs: where from, how many, which seed, which exact bytes."""

    source: str
    count: int
    seed: int
    sha256: str

    @property
    def synthetic(self) -> bool:
        """Is it noise, made for the word `synthetic`?"""
        return self.source.startswith(SYNTHETIC)


@dataclass(frozen=True)
class Artifact:
    """One file per (format, precision), with several entry points that share weights.

    `path` is a file, or for Core ML the `.mlpackage` folder. `verdict`: `pass`, or `poor` when the
    file is faithful to its recipe but agrees too little with the fp32 model to be chosen unasked.
    `dtypes` counts the weight elements the file really holds, by dtype, as the audit re-read them.
    `rewrites` counts the places that each rewrite of the graph changed before conversion, in order
    of their names; `coverage` is None where the format does not fix what a delegate takes.
    `calibration` are the inputs that it was fitted to, None if none. `splits`, by cut and codec, is
    how the answers compare that begin in this file's own heads; what is absent was not measured.
    """

    path: str
    format: str
    precision: str
    bytes: int
    entries: tuple[Entry, ...]
    runtime: str
    minimum_runtime: str
    agreement: Agreement
    verdict: str
    dtypes: dict[str, int]
    rewrites: dict[str, int]
    coverage: Coverage | None
    calibration: SampleSet | None
    splits: dict[str, dict[str, Agreement]]

    def entry(self, name: str) -> Entry:
        """The entry point `name`; `UnknownName` lists what the file has."""
        for entry in self.entries:
            if entry.name == name:
                return entry
        raise UnknownName(f"entry point of {self.path}", name, (e.name for e in self.entries))


@dataclass(frozen=True)
class QuantTable:
    """Static ranges of one boundary tensor, from calibration: `low[i]`, `high[i]`.

    One pair for a per-tensor table, or one per channel (axis 1).
    """

    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class Cut:
    """A place where the graph can be cut: the tensors that cross it, in order.

    `per_tensor` and `per_channel` hold one table per boundary tensor. `wire_bytes` is the median
    number of bytes per codec over the evaluation set, frame included. `head_flops` is the fraction
    of the model's multiply-accumulates that the head does. `fidelity`, by codec, is how the answers
    compare that went through the fp32 PyTorch head, the codec there and back, and the bundle's
    tail; a codec that was not measured is absent.
    """

    id: str
    node: str
    tensors: tuple[TensorSpec, ...]
    per_tensor: tuple[QuantTable, ...]
    per_channel: tuple[QuantTable, ...]
    wire_bytes: dict[str, int]
    head_flops: float
    materialised: bool
    fidelity: dict[str, Agreement]


@dataclass(frozen=True)
class Tail:
    """The whole program once; the server enters it at any cut. Batch (axis 0) is dynamic."""

    program: str
    weights: str


@dataclass(frozen=True)
class Manifest:
    """See the module docstring. `calibration`, None if there was none, is what the ranges of
    boundary tensors were taken from; artifacts have their own. `source` says where the model and
    its weights came from. `recipes` says what each precision's name stands for, as
    `quantizers.recipe` reads it.
    """

    schema_version: int
    bundle_id: str
    name: str
    source: str
    task: str
    labels: tuple[str, ...]
    preprocess: Preprocess | None
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    artifacts: tuple[Artifact, ...]
    cuts: tuple[Cut, ...]
    tails: tuple[Tail, ...]
    golden: str
    calibration: SampleSet | None
    evaluation: SampleSet
    tool_versions: dict[str, str]
    recipes: dict[str, Any]
    files: dict[str, FileRecord]

    def sealed(self) -> Manifest:
        """The same manifest with its `bundle_id` computed."""
        blank = dataclasses.replace(self, bundle_id="")
        digest = hashlib.sha256(canonical_bytes(blank)).hexdigest()
        return dataclasses.replace(blank, bundle_id=digest)

    def cut(self, cut_id: str) -> Cut:
        """The cut `cut_id`; `UnknownName` lists what the bundle has."""
        for cut in self.cuts:
            if cut.id == cut_id:
                return cut
        raise UnknownName(f"cut of {self.name}", cut_id, (c.id for c in self.cuts))

    def artifact(self, format: str, precision: str) -> Artifact:  # noqa: A002  # the field's word
        """The artifact of a format and precision; `UnknownName` lists what the bundle has."""
        for artifact in self.artifacts:
            if (artifact.format, artifact.precision) == (format, precision):
                return artifact
        names = [f"{a.format}.{a.precision}" for a in self.artifacts]
        raise UnknownName("artifact", f"{format}.{precision}", names)

    def to_bytes(self) -> bytes:
        """Canonical bytes, as they stand in `manifest.json`."""
        return canonical_bytes(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> Manifest:
        """Parse and check `manifest.json`; raises `SchemaFault` or `IntegrityFault`."""
        value = _check_seal(data)
        _check_version(value)
        manifest = from_json(cls, value)
        if manifest.to_bytes() != data:  # such as 1 where the schema says 1.0
            raise _broken_seal(manifest.bundle_id)
        _check_paths(manifest)
        return manifest


def is_plain_path(path: str) -> bool:
    """Whether a bundle may hold a file of this relative path: ASCII letters, digits, `._-`, `/`."""
    return len(path) <= MAX_PATH and _PATH.fullmatch(path) is not None


def _check_seal(data: bytes) -> dict[str, Any]:
    try:
        value = parse(data)
        blank = canonical_bytes({**value, "bundle_id": ""})
        whole = hashlib.sha256(blank).hexdigest() == value["bundle_id"]
        if whole and canonical_bytes(value) == data:
            return dict(value)
    except (SchemaFault, TypeError, KeyError, ValueError) as error:
        # ValueError: numbers and strings that have no canonical form (1e999, a lone surrogate)
        raise _broken_seal(f"({error})") from None
    raise _broken_seal(str(value["bundle_id"]))


def _broken_seal(bundle_id: str) -> IntegrityFault:
    return IntegrityFault(
        f"{MANIFEST} does not match its own bundle_id {bundle_id[:200]}.",
        file=MANIFEST,
        expected="The id is the SHA-256 of the canonical manifest.",
        remedy="Fetch or export the bundle again.",
    )


def _check_version(value: dict[str, Any]) -> None:
    found = value.get("schema_version")
    if found != SCHEMA_VERSION:
        newer = isinstance(found, int) and found > SCHEMA_VERSION
        raise SchemaFault(
            f"Schema version {found!r} is not {SCHEMA_VERSION}",
            "$.schema_version",
            remedy="Update Headtail to read this bundle." if newer else "Export the bundle again.",
        )


def _check_paths(manifest: Manifest) -> None:
    promised = set(manifest.files)
    # two names that differ in case are one file on macOS and Windows
    taken = RESERVED.union(path.lower() for path in promised)
    seen = set(RESERVED)
    for path in sorted(promised):
        folders = [path[:i].lower() for i, letter in enumerate(path) if letter == "/"]
        if not is_plain_path(path) or path.lower() in seen or taken.intersection(folders):
            raise SchemaFault(
                f"File name {path[:80]!r} is not plain, reserved or clashes with another",
                "$.files",
                remedy="Export the bundle again.",
            )
        seen.add(path.lower())
    named = [manifest.golden, *(p for t in manifest.tails for p in (t.program, t.weights))]
    missing = [path for path in named if path not in promised]
    missing += [
        a.path
        for a in manifest.artifacts
        if not any(f == a.path or f.startswith(f"{a.path}/") for f in promised)
    ]
    if missing:
        raise SchemaFault(
            f"{missing[0]!r} has no record", "$.files", remedy="Export the bundle again."
        )
