"""The same real inputs through PyTorch and through the artifact on disk: how far apart they are.

Gates are constants with units. An artifact that is faithful to its recipe but agrees too little
with the fp32 model is `poor`: it stays in the bundle, marked, and nothing chooses it unasked. One
that is broken (not finite, constant, other shapes, under the fp32 gate) is `failed` and left out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import fx

from exporters.graphfile import TailProgram
from exporters.splitting import CutPoint
from exporters.target import Target
from headtail.manifest import FORWARD, Agreement, Cut, head_entry
from headtail.metrics import degenerate, finite_db, snr_db, top1_agreement, wilson_interval
from headtail.tensors import Array

__all__ = [
    "Judgement",
    "Reference",
    "Seen",
    "continues",
    "judge",
    "reference",
    "seen_of",
    "snrs_db",
    "tally",
]

# Mean SNR over the inputs. The mean, because half-precision noise follows the activations: inputs
# to which the model has little to say have weak logits over the same noise. The minimum is printed.
FP16_GATE_DB = 40.0
GOOD_TOP1 = 0.95  # agreement with the fp32 model below which a quantized classifier is poor
GOOD_SNR_DB = 20.0  # the same for models that do not classify, mean over the inputs
# A head whose error is as large as its signal: an answer of zeros would do as well. Quantized heads
# are otherwise not gated: what they cost shows in the answers of `forward`, which holds them.
USELESS_DB = 0.0


@dataclass(frozen=True)
class Reference:
    """What the fp32 PyTorch model says: `outputs[sample][output]`, `cuts[cut][sample][tensor]`."""

    outputs: list[list[Array]]
    cuts: dict[str, list[list[Array]]]


@dataclass(frozen=True)
class Judgement:
    """Verdict `pass`, `poor` or `failed`, the figures, and a sentence if there is one to say."""

    agreement: Agreement
    verdict: str
    note: str


def reference(
    graph: fx.GraphModule, samples: Sequence[Sequence[Array]], cuts: Sequence[CutPoint]
) -> Reference:
    """Run the captured model on every sample, and keep what crosses each cut on the way."""
    wanted = {spec.name for cut in cuts for spec in cut.tensors}
    recorder = _Recorder(graph, wanted)
    outputs: list[list[Array]] = []
    crossing: dict[str, list[list[Array]]] = {cut.id: [] for cut in cuts}
    with torch.inference_mode():
        for sample in samples:
            results = recorder.run(*(torch.from_numpy(array) for array in sample))
            outputs.append([result.numpy() for result in results])
            for cut in cuts:
                crossing[cut.id].append([recorder.seen[spec.name] for spec in cut.tensors])
    return Reference(outputs, crossing)


def continues(tail: TailProgram, cut: CutPoint | Cut, expected: Reference) -> bool:
    """Is the tail's answer to what crosses `cut`, of the first sample, the model's bit for bit?"""
    module = tail.enter([spec.name for spec in cut.tensors])
    with torch.inference_mode():
        outputs = module(*(torch.from_numpy(array) for array in expected.cuts[cut.id][0]))
    pairs = zip(expected.outputs[0], outputs, strict=True)
    return all(np.array_equal(right, seen.numpy()) for right, seen in pairs)


class _Recorder(fx.Interpreter):
    """Runs a graph and keeps the values of the nodes of these names, of the last run."""

    def __init__(self, graph: fx.GraphModule, wanted: Collection[str]) -> None:
        super().__init__(graph)
        self.seen: dict[str, Array] = {}
        self._wanted = wanted

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if n.name in self._wanted:
            self.seen[n.name] = result.contiguous().numpy()
        return result


def judge(
    target: Target,
    precision: str,
    expected: Reference,
    given: Mapping[str, list[list[Array]]],
    *,
    classifies: bool,
) -> Judgement:
    """Compare `given[entry][sample][output]` with the reference; heads on the samples they have."""
    pairs = zip(expected.outputs, given[FORWARD], strict=True)
    found = tally([seen_of(right, seen, classifies=classifies) for right, seen in pairs])
    heads = {
        cut: snrs_db(outputs, given[head_entry(cut)])
        for cut, outputs in expected.cuts.items()
        if head_entry(cut) in given
    }
    verdict, note = _verdict(target, precision, found, heads)
    for entry, outputs in given.items():
        broken = _degenerate(outputs, expected, entry)
        if broken:
            verdict, note = "failed", f"{entry}: {broken}"
    return Judgement(found, verdict, note)


def _degenerate(outputs: list[list[Array]], expected: Reference, entry: str) -> str | None:
    """Outputs that are constant, zero or not finite.

    One of several may be so if the model's own is (a table of anchors); if all are, then agreement
    with them proves nothing, whatever the model says.
    """
    cut = entry.removeprefix(head_entry(""))
    right = expected.outputs if entry == FORWARD else expected.cuts[cut]
    positions = range(len(outputs[0]))
    reasons = [degenerate([sample[p] for sample in outputs]) for p in positions]
    if all(reasons):
        return reasons[0]
    for position, reason in zip(positions, reasons, strict=True):
        if reason and not degenerate([sample[position] for sample in right[: len(outputs)]]):
            return reason
    return None


@dataclass(frozen=True)
class Seen:
    """One answer beside the model's: its worst output's SNR in dB, and whether the class is the
    same, None for models that do not classify."""

    snr_db: float
    same: bool | None


def seen_of(right: Sequence[Array], given: Sequence[Array], *, classifies: bool) -> Seen:
    """`given[output]` compared with `right[output]`, the model's answer to the same input."""
    pairs = zip(right, given, strict=True)
    noise = min(snr_db(reference=ours, candidate=theirs) for ours, theirs in pairs)
    if not classifies:
        return Seen(noise, None)
    return Seen(noise, top1_agreement(reference=[right[0]], candidate=[given[0]]) == 1)


def tally(seen: Sequence[Seen]) -> Agreement:
    """What is known of `seen`, at least one answer of one model."""
    snrs, n = [one.snr_db for one in seen], len(seen)
    mean, low = finite_db(sum(map(finite_db, snrs)) / n), finite_db(min(snrs))
    known = [one.same for one in seen if one.same is not None]
    if not known:
        return Agreement(n, None, None, None, mean, low)
    same = sum(known)
    return Agreement(n, same / n, *wilson_interval(same, n), mean, low)


def snrs_db(expected: list[list[Array]], given: list[list[Array]]) -> list[float]:
    """Per sample, the worst output's SNR in dB."""
    pairs = zip(expected, given, strict=False)  # heads are run on the first samples only
    return [seen_of(right, seen, classifies=False).snr_db for right, seen in pairs]


def _verdict(
    target: Target, precision: str, agreement: Agreement, heads: Mapping[str, list[float]]
) -> tuple[str, str]:
    if precision == "fp32":
        return _exact(target, agreement, heads)
    allowed = FP16_GATE_DB if precision == "fp16" else USELESS_DB
    for cut, snrs in heads.items():
        mean = sum(map(finite_db, snrs)) / len(snrs)
        if mean <= allowed:
            return "poor", f"head at {cut}: SNR {mean:.1f} dB, over {allowed:.0f} is usable"
    if precision == "fp16" and agreement.snr_db_mean < FP16_GATE_DB:
        return "poor", f"SNR {agreement.snr_db_mean:.1f} dB, fp16 should reach {FP16_GATE_DB:.0f}"
    if agreement.top1 is not None and agreement.top1 < GOOD_TOP1:
        return "poor", f"agrees with fp32 on {agreement.top1:.3f}, good is {GOOD_TOP1}"
    if agreement.top1 is None and agreement.snr_db_mean < GOOD_SNR_DB:
        return "poor", f"SNR {agreement.snr_db_mean:.1f} dB, good is {GOOD_SNR_DB:.0f}"
    return "pass", ""


def _exact(
    target: Target, agreement: Agreement, heads: Mapping[str, list[float]]
) -> tuple[str, str]:
    gate = target.fp32_gate_db
    if agreement.snr_db_min < gate:
        return "failed", f"SNR {agreement.snr_db_min:.1f} dB, the gate is {gate:.0f}"
    if agreement.top1 is not None and agreement.top1 < 1:
        return "failed", f"agrees on {agreement.top1:.3f}, fp32 must agree on every input"
    for cut, snrs in heads.items():
        if min(snrs) < gate:
            return "failed", f"head at {cut}: SNR {min(snrs):.1f} dB, the gate is {gate:.0f}"
    return "pass", ""
