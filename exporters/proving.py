"""Every converted file re-read by its runtime and judged; those that hold become proofs.

Core ML files of other precisions are also compared with the float32 one, operator by operator:
their outputs alone would hide a third of single-operator faults (`exporters.mil.comparison`). The
float32 file is therefore written whenever one of them is asked for.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from torch import fx

from exporters.conversion import Conversion, Failure
from exporters.packing import Proof
from exporters.parity import Judgement, Reference, judge
from exporters.progress import Progress
from exporters.prove import Protocol, observe, size_of
from exporters.quantized import Quantized, unfaithful
from exporters.source import SourceModel
from exporters.sources.savedmodel import ForeignModel
from exporters.target import target
from headtail.errors import ConversionFailed, GateFailed
from headtail.manifest import FORWARD, Entry

__all__ = ["EXACT", "prove_all", "with_exact"]

EXACT = ("coreml", "fp32")
Pairs = Sequence[tuple[str, str]]
_UNPROVEN = "there is no proven float32 file to compare the program with"


def with_exact(pairs: Pairs, planned: Collection[str] = ()) -> list[tuple[str, str]]:
    """`pairs`, and the float32 file that Core ML's other precisions are compared with, but for
    those `planned`, which are other programs."""
    compared = [p for f, p in pairs if f == EXACT[0] and p not in planned]
    needed = bool(compared) and EXACT not in pairs
    return [*pairs, EXACT] if needed else list(pairs)


def prove_all(  # noqa: PLR0913  # what an artifact is held against, none of it optional
    done: Sequence[Conversion],
    entries: tuple[Entry, ...],
    source: SourceModel | ForeignModel,
    expected: Reference,
    *,
    asked: Pairs,
    graph: fx.GraphModule | None,
    protocol: Protocol,
    folder: Path,
    progress: Progress,
    planned: Mapping[str, Quantized] = MappingProxyType({}),
) -> tuple[list[Proof], list[Failure]]:
    """The artifacts that hold, and the failures of the others, one process after the other.

    A file that is not `asked` for is proven too, if others are compared with it, and left out.
    `graph` is the captured program, against which Core ML's attributes are held, if there is one.
    Files of `planned` precisions are held against their own programs.
    """
    proofs: list[Proof] = []
    failures: list[Failure] = []
    prover = _Prover(entries, source, expected, planned, folder)
    for conversion in sorted(done, key=lambda one: (one.format, one.precision) != EXACT):
        proof = prover.prove(conversion, protocol)
        if (
            isinstance(proof, Proof)
            and (conversion.format, conversion.precision) == EXACT
            and graph
        ):
            proof = _with_attributes(proof, graph)
        told = proof.reason if isinstance(proof, Failure) else proof.judgement.verdict
        progress.note(f"{conversion.format} {conversion.precision}: {told}")
        if isinstance(proof, Failure):
            failures.append(proof)
            continue
        proofs.append(proof)
        if (conversion.format, conversion.precision) == EXACT:
            protocol = replace(protocol, exact=conversion.path)
    order = [(one.format, one.precision) for one in done]
    kept = [p for p in proofs if (p.conversion.format, p.conversion.precision) in asked]
    kept.sort(key=lambda p: order.index((p.conversion.format, p.conversion.precision)))
    return kept, failures


@dataclass(frozen=True)
class _Prover:
    """What every file is held against; `planned` are the precisions with programs of their own."""

    entries: tuple[Entry, ...]
    source: SourceModel | ForeignModel
    expected: Reference
    planned: Mapping[str, Quantized]
    folder: Path

    def prove(self, conversion: Conversion, protocol: Protocol) -> Proof | Failure:
        """The file as an artifact, or why it is none."""
        aim, kind = target(conversion.format), (conversion.format, conversion.precision)
        own = self.planned.get(conversion.precision)
        # against the float32 file
        held = kind[0] == EXACT[0] and kind != EXACT and own is None
        try:
            seen = observe(
                conversion.path,
                (conversion.format, conversion.recipe),
                self.entries,
                self.source.evaluation.samples,
                folder=self.folder / conversion.path.name,
                protocol=protocol if held else replace(protocol, exact=None),
            )
        except ConversionFailed as error:
            return Failure(*kind, error.what, error.log)
        except GateFailed as error:
            return Failure(*kind, str(error), "")
        classifies = self.source.task == "classification"
        judgement = judge(aim, kind[1], self.expected, seen.outputs, classifies=classifies)
        unlike = unfaithful(aim, own, seen.outputs[FORWARD]) if own else ""
        if judgement.verdict == "failed" or unlike:
            return Failure(*kind, unlike or judgement.note, "")
        if held:
            judgement = _compared(judgement, seen.compared)
        return Proof(conversion, self.entries, size_of(conversion.path), aim, judgement, seen)


def _with_attributes(proof: Proof, graph: fx.GraphModule) -> Proof | Failure:
    """The proof, if the file has the attributes of the captured program."""
    from exporters.mil.attributes import check_attributes

    try:
        check_attributes(proof.conversion.path, graph)
    except GateFailed as error:
        return Failure(*EXACT, str(error), "")
    return proof


def _compared(judgement: Judgement, said: str) -> Judgement:
    """The judgement with what was compared; a program nothing vouches for is `poor`."""
    verdict = judgement.verdict if said else "poor"
    note = "; ".join(filter(None, [judgement.note, said or _UNPROVEN]))
    return replace(judgement, verdict=verdict, note=note)
