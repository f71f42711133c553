"""The first module whose output disagrees, or that does not convert: the same for every format.

Parts of the model are probed at module boundaries first, a few at a time, then call by call inside
the module that was found. Errors may be masked further on (a ReLU, a softmax), so what is sought is
the first position in topological order at which a probe is bad after one that is good, and every
probe is told. The part between the two is then fed the reference's values alone: is it wrong by
itself, or only behind what precedes it?
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import fx

from exporters.diagnosis.place import module_of, place_of
from exporters.diagnosis.probing import Probe, Prober, Samples, values_of
from exporters.diagnosis.reproduction import write_reproduction
from exporters.progress import Progress, Quiet, StageClock
from exporters.splitting import CutPoint, cut_points, head_at, tail_graph
from exporters.target import Target, target

__all__ = ["Bisection", "bisect"]

AT_ONCE = 4  # probes in one file: a process start costs more than a conversion of a small part
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
        low: _Position | None = None
        high = self._positions[-1]
        if self._probed([high]) is None:
            return None, None
        for modules_only in (True, False):
            low, high = self._narrow(low, high, modules_only=modules_only)
        return low, high

    def told(self) -> tuple[Probe, ...]:
        """Every probe, in the model's order."""
        return tuple(sorted(self.results.values(), key=lambda probe: self._order[probe.name]))

    def alone(self, part: fx.GraphModule, inputs: Samples, name: str) -> Probe:
        """The part on the reference's own values."""
        outputs = [n.name for n in _output(part).args[0]]
        prober = Prober(part, inputs, self._aim, self._folder / "alone")
        return prober.probe({f"{name} alone": outputs})[0]

    def _narrow(
        self, low: _Position | None, high: _Position, *, modules_only: bool
    ) -> tuple[_Position | None, _Position]:
        while inside := self._inside(low, high, modules_only=modules_only):
            chosen = _spread(inside, AT_ONCE)
            bad = self._probed(chosen)
            if bad is None:
                low = chosen[-1]
            else:
                high = chosen[bad]
                low = chosen[bad - 1] if bad else low
        return low, high

    def _inside(
        self, low: _Position | None, high: _Position, *, modules_only: bool
    ) -> list[_Position]:
        first = self._order[low.name] + 1 if low else 0
        between = self._positions[first : self._order[high.name]]
        return [position for position in between if position.ends_module or not modules_only]

    def _probed(self, positions: Sequence[_Position]) -> int | None:
        """Index of the first that is bad."""
        probes = self._prober.probe({p.name: p.values for p in positions})
        for probe in probes:
            self.results[probe.name] = probe
            self._clock.progress.note(_line(probe))
        bad = (i for i, probe in enumerate(probes) if not probe.good(self._aim.fp32_gate_db))
        return next(bad, None)


def _line(probe: Probe) -> str:
    if probe.snr_db is None:
        return f"up to {probe.name}: {probe.reason}"
    return f"up to {probe.name}: {probe.snr_db:.1f} dB"


def _spread(items: Sequence[_Position], most: int) -> list[_Position]:
    """Up to `most` of them that cut the rest into equal parts."""
    if len(items) <= most:
        return list(items)
    step = (len(items) + 1) / (most + 1)
    return [items[round(step * (i + 1)) - 1] for i in range(most)]


def _positions(graph: fx.GraphModule, samples: Samples) -> list[_Position]:
    example = [torch.from_numpy(array) for array in samples[0]]
    inputs = {node.name for node in graph.graph.nodes if node.op == "placeholder"}
    found = [_position(cut, inputs) for cut in cut_points(graph, example)]
    outputs = tuple(dict.fromkeys(node.name for node in _output(graph).args[0]))
    return [p for p in found if p.values] + [_Position(WHOLE, outputs, outputs, True)]


def _position(cut: CutPoint, inputs: set[str]) -> _Position:
    boundary = tuple(spec.name for spec in cut.tensors)
    computed = tuple(name for name in boundary if name not in inputs)
    return _Position(cut.id, boundary, computed, cut.id != cut.node)


def _between(
    graph: fx.GraphModule, low: _Position | None, high: _Position, samples: Samples
) -> tuple[fx.GraphModule, Samples]:
    """The part from `low` to `high` as a graph of its own, and the values that it is fed."""
    head = head_at(graph, high.values)
    if low is None:
        return head, samples
    used = {node.name for node in head.graph.nodes if node.users}
    names = [name for name in low.boundary if name in used]
    nodes = {node.name: node for node in graph.graph.nodes}
    from exporters.capture import node_spec

    cut = CutPoint(low.name, low.name, tuple(node_spec(nodes[n]) for n in names), 0.0)
    part = tail_graph(head, cut)
    needed = [n.name for n in part.graph.nodes if n.op == "placeholder" and n.users]
    if needed != names:
        cut = CutPoint(low.name, low.name, tuple(node_spec(nodes[n]) for n in needed), 0.0)
        part = tail_graph(head, cut)
    return part, values_of(graph, needed, samples)


def _module_between(part: fx.GraphModule) -> str:
    """The innermost module that all calls of the part belong to."""
    paths = [module_of(n).split(".") for n in part.graph.nodes if n.op == "call_function"]
    shared: list[str] = []
    for names in zip(*paths, strict=False):
        if len(set(names)) > 1:
            break
        shared.append(names[0])
    return ".".join(shared)


def _output(graph: fx.GraphModule) -> fx.Node:
    return next(node for node in graph.graph.nodes if node.op == "output")
