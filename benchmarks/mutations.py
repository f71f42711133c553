"""What share of single-operator faults does the verification of Core ML files notice?

    python -m benchmarks.mutations [NAME ...]

Each network is exported as the product does it (timm, random weights that hide nothing, photos),
in fp32, fp16 and w8; then faults (`benchmarks/faults.py`) are put into each file, one at a time.
An fp32 file is noticed if its reader refuses it, its answer to one of ten photos falls below the
gate, or it has an epsilon or a kind of GELU that the captured program has not; another one if it is
refused, read or run, or `exporters.mil.comparison` finds it to differ from the fp32 file. Files
without a fault must all pass. Ends with one JSON line, kept in results/mutations.json.

A fault that is missed and gives the same bits on every photo is counted as missed, and told apart
as `same_bits`: that the photos do not reach it is no proof that it changes nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import fx

from benchmarks.faults import Faults
from exporters.cache import Cache
from exporters.capture import input_specs
from exporters.captured import capture_source
from exporters.conversion import Captures
from exporters.convert import convert_all
from exporters.kept import Kept
from exporters.mil import Program
from exporters.mil.attributes import check_attributes
from exporters.mil.comparison import compare
from exporters.parity import reference
from exporters.processes import Limits
from exporters.progress import Quiet
from exporters.sources.timm_models import load
from exporters.target import target
from exporters.versions import tool_versions
from headtail.errors import HeadtailError
from headtail.metrics import snr_db
from headtail.tensors import Array

NAMES = ("mobilenetv3_small_100", "vit_tiny_patch16_224", "efficientvit_b0", "edgenext_xx_small")
PRECISIONS = ("fp32", "fp16", "w8")
SEED, PER_KIND = 0, 3
GOAL = 0.97
RESULTS = Path(__file__).parent / "results" / "mutations.json"

Samples = Sequence[Sequence[Array]]


@dataclass
class Tally:
    """Faults by kind: tried, noticed, and missed with the same bits on every input."""

    tried: Counter[str] = field(default_factory=Counter)
    noticed: Counter[str] = field(default_factory=Counter)
    same_bits: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Count what `other` has counted, too."""
        self.tried += other.tried
        self.noticed += other.noticed
        self.same_bits += other.same_bits

    def to_json(self) -> dict[str, Any]:
        """Totals, the share that was noticed, and what was missed by kind."""
        tried, noticed = self.tried.total(), self.noticed.total()
        missed = {k: n - self.noticed[k] for k, n in self.tried.items() if n > self.noticed[k]}
        return {
            "tried": tried,
            "noticed": noticed,
            "share": round(noticed / max(1, tried), 4),
            "missed": missed,
            "same_bits": dict(self.same_bits),
        }


@dataclass(frozen=True)
class Network:
    """The files of one network, its inputs, and PyTorch's answers `[sample][output]`."""

    files: dict[str, Path]
    samples: Samples
    expected: Samples
    graph: fx.GraphModule


def exported(name: str, folder: Path) -> Network:
    """Capture and convert `timm:name` to Core ML in every precision, without heads."""
    source = load(name)
    captured, _ = capture_source(source, folder, split=False)
    done, failures = convert_all(
        [("coreml", precision) for precision in PRECISIONS],
        Captures(captured.program, {}, input_specs(captured.graph), None),
        name=name,
        folder=folder,
        progress=Quiet(),
        limits=Limits(),
        cancel=threading.Event(),
        cache=Kept(Cache(folder / "cache"), rebuild=True),
    )
    assert not failures, failures
    samples = source.evaluation.samples
    outputs = reference(captured.graph, samples, ()).outputs
    return Network({one.precision: one.path for one in done}, samples, outputs, captured.graph)


def answers(path: Path, network: Network) -> Iterator[list[Array]]:
    """What the default function of a package says to one sample after the other."""
    function = next(iter(Program(path).functions.values()))
    for sample in network.samples:
        given = function.run([torch.from_numpy(array.copy()) for array in sample])
        yield [tensor.numpy() for tensor in given]


def below_gate(path: Path, network: Network) -> bool:
    """Is one of the answers too far from PyTorch's? As `exporters.parity` judges fp32 files."""
    gate = target("coreml").fp32_gate_db
    for given, wanted in zip(answers(path, network), network.expected, strict=True):
        pairs = zip(wanted, given, strict=True)
        if min(snr_db(reference=w, candidate=g) for w, g in pairs) < gate:
            return True
    return False


def noticed(path: Path, precision: str, network: Network) -> bool:
    """Does the verification of this precision refuse the file?"""
    try:
        if precision == "fp32":
            check_attributes(path, network.graph)
            return below_gate(path, network)
        if compare(network.files["fp32"], path, precision=precision).findings:
            return True
        next(answers(path, network))  # the product runs the file, too
        return False
    except HeadtailError:
        return True


def same_bits(path: Path, whole: Path, network: Network) -> bool:
    """Do both files give equal answers to every sample?"""
    pairs = zip(answers(path, network), answers(whole, network), strict=True)
    return all(
        np.array_equal(a, b) for left, right in pairs for a, b in zip(left, right, strict=True)
    )


def tally(network: Network, precision: str, folder: Path, *, per_kind: int = PER_KIND) -> Tally:
    """Try every kind of fault in the file of this precision."""
    whole, found = network.files[precision], Tally()
    assert not noticed(whole, precision, network), f"{whole} is refused without a fault"
    for kind, path in Faults(whole, folder, seed=SEED, per_kind=per_kind):
        found.tried[kind] += 1
        if noticed(path, precision, network):
            found.noticed[kind] += 1
        elif same_bits(path, whole, network):
            found.same_bits[kind] += 1
    return found


def main() -> int:
    """Try the networks one after the other and sum up."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="timm networks; four by default")
    names = parser.parse_args().names or NAMES
    torch.set_num_threads(1)
    sums = {precision: Tally() for precision in PRECISIONS}
    networks: dict[str, dict[str, Any]] = {}
    for name in names:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            network = exported(name, folder)
            networks[name] = {}
            for precision in PRECISIONS:
                start = time.perf_counter()
                found = tally(network, precision, folder)
                sums[precision].add(found)
                networks[name][precision] = found.to_json()
                seconds = round(time.perf_counter() - start)
                print(name, precision, found.to_json(), f"{seconds} s", file=sys.stderr, flush=True)
    every = Tally()
    for one in sums.values():
        every.add(one)
    shares = {**{p: one.to_json() for p, one in sums.items()}, "all": every.to_json()}
    met = {precision: one["share"] >= GOAL for precision, one in shares.items()}
    kinds = dict(every.tried)
    result = {"benchmark": "mutations", "seed": SEED, "per_kind": PER_KIND, "goal": GOAL}
    result |= {"met": met, "shares": shares, "kinds": kinds, "networks": networks}
    line = json.dumps({**result, "versions": tool_versions()})
    print(line)
    if list(names) == list(NAMES):
        RESULTS.write_text(line + "\n")
    return 0 if met["all"] else 1


if __name__ == "__main__":
    sys.exit(main())
