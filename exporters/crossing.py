"""What crosses each cut: its ranges, its bytes by codec, and what answers are left on the far side.

    head ──boundary──> encode ──frame──> decode ──boundary'──> tail ──> answers

Codecs and tail are the ones that phone and server use, a sample at a time. The head is PyTorch's in
fp32, for which those of the fp32 files stand, since they are held to the gate; and once more each
other file's own, unless the file is poor anyway, with the codecs that the planner takes unasked.
Those are measured on the whole evaluation set, every other codec on `PART` inputs spread over it,
files' own heads on its first `PART`: a dozen runs of the tail per input would else cost more than
all files do. Every figure has its `n`. Equal values lead to equal answers, so codecs that give the
same ones back (with and without deflate) share a run of the tail, once the values were compared.
"""

from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import fx

from exporters.captured import Captured
from exporters.edges import is_mask
from exporters.graphfile import TailProgram
from exporters.packing import Proof
from exporters.parity import Reference, Seen, reference, seen_of, tally
from exporters.progress import Progress
from exporters.source import SourceModel
from exporters.splitting import CutPoint
from exporters.target import TARGETS
from headtail.errors import GateFailed, SourceFault, TensorMismatch
from headtail.manifest import Agreement, Cut, QuantTable, head_entry
from headtail.offload.options import TRUSTED_CODECS
from headtail.tensors import Array
from headtail.wire.boundary import decode_boundary, encode_boundary
from headtail.wire.codecs import CODEC_IDS, codec

__all__ = ["PART", "measured_cuts", "measured_heads", "read_back"]

PART = 12  # inputs of the evaluation set that a codec is tried on that nothing takes unasked
# Without loss a split is another way to run the fp32 model: it is held to what its files are.
GATE_DB = max(target.fp32_gate_db for target in TARGETS.values())
EXACT = "fp32"
TOLD = ("raw32", "aq8t", "aq4c")  # of many, those that say most
LOSSLESS = [c for c in map(codec, CODEC_IDS) if not c.per and c.error_bound(None) == 0]
Tables = tuple[tuple[QuantTable, ...], tuple[QuantTable, ...]]


def read_back(tail: TailProgram, folder: Path) -> TailProgram:
    """The tail as a server reads it, by way of `folder`."""
    paths = folder / "tail.json", folder / "tail.safetensors"
    tail.write(*paths)
    return TailProgram.read(*paths)


def measured_cuts(
    source: SourceModel,
    captured: Captured,
    tail: TailProgram,
    expected: Reference,
    *,
    progress: Progress,
) -> tuple[Cut, ...]:
    """Every cut with the bytes and the fidelity of the codecs that take what crosses it.

    Raises `SourceFault` for a cut that no codec takes, `GateFailed` if a split without loss does
    not agree with the model as its fp32 files must.
    """
    ranges = _ranges(source, captured.graph, captured.cuts, expected)
    cuts = []
    for point in captured.cuts:
        cut = _unmeasured(point, *ranges[point.id])
        cut = _measured(cut, tail, expected, classifies=source.task == "classification")
        _require_lossless(cut)
        told = (f"{name} {cut.fidelity[name]}" for name in TOLD if name in cut.fidelity)
        progress.note(f"{cut.id}: {'; '.join(told)}")
        cuts.append(cut)
    return tuple(cuts)


def measured_heads(
    proofs: Sequence[Proof],
    cuts: Sequence[Cut],
    tail: TailProgram,
    expected: Reference,
    *,
    classifies: bool,
) -> list[Proof]:
    """`proofs`, with what their own heads lead to on the inputs that these ran; fp32 ones, for
    which the cuts' figures hold, and poor ones as they are."""
    modules = {cut.id: _entered(tail, cut) for cut in cuts}

    def splits(proof: Proof) -> dict[str, dict[str, Agreement]]:
        if proof.conversion.precision == EXACT or proof.judgement.verdict != "pass":
            return {}
        found = {}
        for cut in cuts:
            seen: dict[str, list[Seen]] = {name: [] for name in TRUSTED_CODECS}
            boundaries = proof.seen.outputs[head_entry(cut.id)]
            for arrays, right in zip(boundaries, expected.outputs, strict=False):
                frames, module = _frames(arrays, cut, seen), modules[cut.id]
                answers = _answered(module, cut, frames, right, classifies=classifies)
                seen = {name: [*seen[name], one] for name, one in answers.items()}
            found[cut.id] = {name: tally(known) for name, known in seen.items()}
        return found

    return [replace(proof, splits=splits(proof)) for proof in proofs]


def _entered(tail: TailProgram, cut: Cut) -> torch.nn.Module:
    return tail.enter([spec.name for spec in cut.tensors])


def _unmeasured(
    point: CutPoint, per_tensor: tuple[QuantTable, ...], per_channel: tuple[QuantTable, ...]
) -> Cut:
    return Cut(
        id=point.id,
        node=point.node,
        tensors=point.tensors,
        per_tensor=per_tensor,
        per_channel=per_channel,
        wire_bytes={},
        head_flops=round(point.head_flops, 6),
        materialised=True,
        fidelity={},
    )


def _measured(cut: Cut, tail: TailProgram, expected: Reference, *, classifies: bool) -> Cut:
    module = _entered(tail, cut)
    sizes: dict[str, list[int]] = {name: [] for name in CODEC_IDS}
    seen: dict[str, list[Seen]] = {name: [] for name in CODEC_IDS}
    part = _spread(len(expected.outputs))
    for index, arrays in enumerate(expected.cuts[cut.id]):
        frames = _frames(arrays, cut, sizes)
        sizes = {name: [*sizes[name], len(frame)] for name, frame in frames.items()}
        wanted = {n: f for n, f in frames.items() if n in TRUSTED_CODECS or index in part}
        right = expected.outputs[index]
        for name, one in _answered(module, cut, wanted, right, classifies=classifies).items():
            seen[name].append(one)
    if not sizes:
        raise SourceFault(
            f"No codec takes what crosses at {cut.id}.",
            expected="Boundary tensors are finite on every evaluation input.",
            remedy="Choose other cuts with --cut.",
        )
    return replace(
        cut,
        wire_bytes={name: int(statistics.median(known)) for name, known in sizes.items()},
        fidelity={name: tally(seen[name]) for name in sizes},
    )


def _spread(count: int) -> Collection[int]:
    """The indices of up to `PART` of `count` inputs, evenly from the first to the last."""
    if count <= PART:
        return range(count)
    return {round(i * (count - 1) / (PART - 1)) for i in range(PART)}


def _frames(arrays: Sequence[Array], cut: Cut, names: Collection[str]) -> dict[str, bytes]:
    """Of the codecs that take the values: those over 65,504 do not fit raw16."""
    frames = {}
    for name in names:
        try:
            frames[name] = encode_boundary(arrays, cut, name)
        except TensorMismatch:
            continue
    return frames


def _answered(
    module: torch.nn.Module,
    cut: Cut,
    frames: Mapping[str, bytes],
    right: Sequence[Array],
    *,
    classifies: bool,
) -> dict[str, Seen]:
    """One sample's answers to what is in the frames, compared with the model's."""
    known: dict[bytes, Seen] = {}
    found = {}
    for name, frame in frames.items():
        arrays = decode_boundary(frame, cut)
        values = b"".join(array.tobytes() for array in arrays)
        if values not in known:
            with torch.inference_mode():
                outputs = module(*map(torch.tensor, arrays))
            given = [output.numpy() for output in outputs]
            known[values] = seen_of(right, given, classifies=classifies)
        found[name] = known[values]
    return found


def _require_lossless(cut: Cut) -> None:
    for one in LOSSLESS:
        found = cut.fidelity.get(one.id)
        if found and (found.snr_db_min < GATE_DB or found.top1 not in (None, 1)):
            raise GateFailed(
                f"The split at {cut.id} with {one.id}, which loses nothing: {found}.",
                expected=f"At least {GATE_DB:.0f} dB and the model's own answer to every input.",
                remedy="Choose other cuts with --cut, or --no-split; report the model.",
            )


def _ranges(
    source: SourceModel,
    graph: fx.GraphModule,
    cuts: Sequence[CutPoint],
    expected: Reference,
) -> dict[str, Tables]:
    """Static ranges of every boundary tensor, from the calibration set if there is one."""
    seen = expected.cuts
    if source.calibration is not None:
        seen = reference(graph, source.calibration.samples, cuts).cuts
    masks = {node.name for node in graph.graph.nodes if is_mask(node)}
    tables = {}
    for cut in cuts:
        tensors = [np.concatenate(arrays) for arrays in zip(*seen[cut.id], strict=True)]
        for place, spec in enumerate(cut.tensors):
            if spec.name in masks:  # a longer text than any of the calibration set is no error
                extremes = [np.full(spec.shape, value, np.float32) for value in (0, 1)]
                tensors[place] = np.concatenate([tensors[place], *extremes])
        whole = tuple(_table(tensor.reshape(1, -1)) for tensor in tensors)
        # channels are axis 1; everything else is reduced
        rows = [np.moveaxis(t, 1, 0).reshape(t.shape[1], -1) if t.ndim > 1 else t for t in tensors]
        tables[cut.id] = (whole, tuple(_table(np.atleast_2d(row)) for row in rows))
    return tables


def _table(rows: Array) -> QuantTable:
    low, high = rows.min(axis=1).tolist(), rows.max(axis=1).tolist()
    return QuantTable(tuple(map(float, low)), tuple(map(float, high)))
