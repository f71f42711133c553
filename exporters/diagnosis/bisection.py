"""The first module whose output disagrees, or that does not convert: the same for every format.

Parts of the model are probed at module boundaries first, a few at a time, then call by call inside
the module that was found. Errors may be masked further on (a ReLU, a softmax), so what is sought is
the first position in topological order at which a probe is bad after one that is good, and every
probe is told. The part between the two is then fed the reference's values alone: is it wrong by
itself, or only behind what precedes it?
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import fx

from exporters.capture import node_spec
from exporters.diagnosis.place import module_of, place_of
from exporters.diagnosis.probing import Probe, Prober, Samples, values_of
from exporters.diagnosis.reproduction import write_reproduction
from exporters.diagnosis.searching import narrow
from exporters.progress import Progress, Quiet, StageClock
from exporters.splitting import CutPoint, cut_points, head_at, tail_graph
from exporters.target import Target, target

__all__ = ["Bisection", "bisect", "bisect_all"]

MOST_SAMPLES = 2
WHOLE = "(the whole model)"


@dataclass(frozen=True)
class Bisection:
    """What was found for one target.

    `verdict` is `agrees`, `disagrees` or `fails` (does not convert or run). The part at fault lies
    in `module` (its path, '' if none is known) and consists of the `calls`, written at `place`;
    `alone` is its probe on the reference's values; `probes` are all others in the model's order.
    """

    target: str
    gate_db: float
    verdict: str
    probes: tuple[Probe, ...]
    module: str = ""
    calls: tuple[str, ...] = ()
    place: str = ""
    alone: Probe | None = None
    reproduction: Path | None = None

    @property
    def good(self) -> bool:
        """Does the whole model convert, run and agree?"""
        return self.verdict == "agrees"


@dataclass(frozen=True)
class _Position:
    """A place in the graph: values computed so far that are needed later."""

    name: str
    boundary: tuple[str, ...]  # the model's inputs among them
    values: tuple[str, ...]  # computed ones
    ends_module: bool


def bisect(
    graph: fx.GraphModule,
    samples: Samples,
    format: str,  # noqa: A002  # the field's word
    *,
    destination: Path,
    progress: Progress | None = None,
) -> Bisection:
    """Find where the fp32 artifact of `format` goes wrong; a reproduction goes to `destination`.

    `graph` is a flat graph, `samples` real inputs of it, of which the first two are used. Raises
    `UsageFault` if something else lies at `destination`.
    """
    aim, samples = target(format), samples[:MOST_SAMPLES]
    clock = StageClock(progress or Quiet())
    with tempfile.TemporaryDirectory(prefix="headtail-") as temporary:
        search = _Search(graph, samples, aim, Path(temporary), clock)
        with clock.stage(f"bisect {format}"):
            low, high = search.run()
            if high is None:
                return Bisection(format, aim.fp32_gate_db, "agrees", search.told())
            part, inputs = _between(graph, low, high, samples)
            name = _module_between(part)
            alone = search.alone(part, inputs, name or high.name)
            clock.progress.note(_line(alone))
        whole = alone.good(aim.fp32_gate_db)  # innocent alone: reproduce it with what precedes it
        shown = (head_at(graph, high.values), samples) if whole else (part, inputs)
        written = write_reproduction(*shown, aim, destination)
    failed = search.results[high.name].snr_db is None
    calls = [n for n in part.graph.nodes if n.op == "call_function"]
    return Bisection(
        format,
        aim.fp32_gate_db,
        "fails" if failed else "disagrees",
        search.told(),
        name,
        tuple(str(node.target) for node in calls),
        next((place for node in calls if (place := place_of(node))), ""),
        alone,
        written,
    )


def bisect_all(
    graph: fx.GraphModule,
    samples: Samples,
    formats: Sequence[str],
    *,
    folder: Path,
    progress: Progress | None = None,
) -> Iterator[Bisection]:
    """`bisect` for one format after the other; reproductions go to `folder/<format>`."""
    for name in formats:
        yield bisect(graph, samples, name, destination=folder / name, progress=progress)


class _Search:
    """Narrows the interval between a position that is good and a later one that is bad."""

    def __init__(
        self,
        graph: fx.GraphModule,
        samples: Samples,
        aim: Target,
        folder: Path,
        clock: StageClock,
    ) -> None:
        self._positions = _positions(graph, samples)
        self._order = {position.name: i for i, position in enumerate(self._positions)}
        self._prober = Prober(graph, samples, aim, folder / "parts")
        self._aim = aim
        self._folder = folder
        self._clock = clock
        self.results: dict[str, Probe] = {}

    def run(self) -> tuple[_Position | None, _Position | None]:
        """(last good position or None for the input, first bad one or None if all is well)."""
        low, high = -1, len(self._positions) - 1
        if self._good([high]) == [True]:
            return None, None
        modules = [i for i, position in enumerate(self._positions) if position.ends_module]
        for candidates in (modules, range(len(self._positions))):
            low, high = narrow(low, high, candidates, self._good)
        return self._positions[low] if low >= 0 else None, self._positions[high]

    def told(self) -> tuple[Probe, ...]:
        """Every probe, in the model's order."""
        return tuple(sorted(self.results.values(), key=lambda probe: self._order[probe.name]))

    def alone(self, part: fx.GraphModule, inputs: Samples, name: str) -> Probe:
        """The part on the reference's own values."""
        outputs = _outputs(part)
        prober = Prober(part, inputs, self._aim, self._folder / "alone")
        return prober.probe({f"{name} alone": outputs})[0]

    def _good(self, indices: Sequence[int]) -> list[bool]:
        positions = [self._positions[i] for i in indices]
        probes = self._prober.probe({p.name: p.values for p in positions})
        for probe in probes:
            self.results[probe.name] = probe
            self._clock.progress.note(_line(probe))
        return [probe.good(self._aim.fp32_gate_db) for probe in probes]


def _line(probe: Probe) -> str:
    if probe.snr_db is None:
        return f"up to {probe.name}: {probe.reason}"
    return f"up to {probe.name}: {probe.snr_db:.1f} dB"


def _positions(graph: fx.GraphModule, samples: Samples) -> list[_Position]:
    example = [torch.from_numpy(array) for array in samples[0]]
    inputs = {node.name for node in graph.graph.nodes if node.op == "placeholder"}
    found = [_position(cut, inputs) for cut in cut_points(graph, example)]
    outputs = _outputs(graph)
    return [p for p in found if p.values] + [_Position(WHOLE, outputs, outputs, True)]


def _position(cut: CutPoint, inputs: set[str]) -> _Position:
    boundary = tuple(spec.name for spec in cut.tensors)
    computed = tuple(name for name in boundary if name not in inputs)
    return _Position(cut.id, boundary, computed, cut.id != cut.node)


def _between(
    graph: fx.GraphModule, low: _Position | None, high: _Position, samples: Samples
) -> tuple[fx.GraphModule, Samples]:
    """The part from `low` to `high` as a graph of its own, and the values that it is fed."""
    if low is None:
        return head_at(graph, high.values), samples
    # what only passes by is no result of the part
    head = head_at(graph, [v for v in high.values if v not in low.boundary] or high.values)
    nodes = {node.name: node for node in head.graph.nodes}
    fed = [name for name in low.boundary if name in nodes]
    for _ in range(2):  # the second time without the values that the part turned out not to use
        cut = CutPoint(low.name, low.name, tuple(node_spec(nodes[name]) for name in fed), 0.0)
        part = tail_graph(head, cut)
        fed = [n.name for n in part.graph.nodes if n.op == "placeholder" and n.users]
    return part, values_of(graph, fed, samples)


def _module_between(part: fx.GraphModule) -> str:
    """The innermost module that all calls of the part belong to."""
    paths = [module_of(n).split(".") for n in part.graph.nodes if n.op == "call_function"]
    shared: list[str] = []
    for names in zip(*paths, strict=False):
        if len(set(names)) > 1:
            break
        shared.append(names[0])
    return ".".join(shared)


def _outputs(graph: fx.GraphModule) -> tuple[str, ...]:
    output = next(node for node in graph.graph.nodes if node.op == "output")
    values: Any = output.args[0]
    return tuple(dict.fromkeys(str(node.name) for node in values))
