"""Growing parts of a model converted and run: each is a *probe*, with its SNR against PyTorch.

A probe is a head of the flat graph (`exporters.splitting`), converted by the same worker process as
an export and run by the same runtime. Several probes share one file, as entry points; if it cannot
be written, they are halved until the first that fails stands alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import fx

from exporters.capture import capture, flat_graph, input_specs, node_spec, output_specs
from exporters.diagnosis.seen import MARK, mark_origins
from exporters.processes import run_worker
from exporters.prove import Protocol, observe
from exporters.splitting import head_at
from exporters.target import Target
from exporters.worker import ConvertRequest
from headtail.errors import ConversionFailed
from headtail.manifest import FORWARD, Entry
from headtail.metrics import snr_db
from headtail.tensors import Array
from quantizers.recipe import RECIPES

__all__ = ["Probe", "Prober", "values_of"]

Samples = Sequence[Sequence[Array]]


@dataclass(frozen=True)
class Probe:
    """A part of the model up to a module or call: worst SNR over samples and outputs.

    `snr_db` is None if the part could not be converted or run; `reason` says why.
    """

    name: str
    snr_db: float | None
    reason: str = ""

    def good(self, gate_db: float) -> bool:
        """Does it reach the gate? What does not run does not."""
        return self.snr_db is not None and self.snr_db >= gate_db


class Prober:
    """Converts and runs parts of `graph` for one target, in folders under `folder`."""

    def __init__(
        self, graph: fx.GraphModule, samples: Samples, target: Target, folder: Path
    ) -> None:
        self._graph = graph
        self._samples = samples
        self._target = target
        self._folder = folder
        self._count = 0

    def probe(self, parts: Mapping[str, Sequence[str]]) -> list[Probe]:
        """Probe the parts, name -> the values it returns, smallest first.

        The list ends early, at the first that does not convert or run.
        """
        names = list(parts)
        try:
            return self._together(parts)
        except ConversionFailed as error:
            if len(names) == 1:
                return [Probe(names[0], None, error.what)]
        half = len(names) // 2
        first = self.probe({name: parts[name] for name in names[:half]})
        if any(probe.snr_db is None for probe in first):
            return first
        return first + self.probe({name: parts[name] for name in names[half:]})

    def _together(self, parts: Mapping[str, Sequence[str]]) -> list[Probe]:
        *heads, last = parts
        whole = head_at(self._graph, parts[last])
        entries = {f"part_{index}": parts[name] for index, name in enumerate(heads)}
        outputs = self._run(whole, entries)
        expected = {
            name: values_of(self._graph, parts[part], self._samples)
            for name, part in [*zip(entries, heads, strict=True), (FORWARD, last)]
        }
        return [
            Probe(part, _worst(expected[name], outputs[name]))
            for name, part in [*zip(entries, heads, strict=True), (FORWARD, last)]
        ]

    def _run(
        self, graph: fx.GraphModule, heads: Mapping[str, Sequence[str]]
    ) -> dict[str, list[list[Array]]]:
        self._count += 1
        folder = self._folder / str(self._count)
        folder.mkdir(parents=True)
        saved, names = _saved(graph, self._samples, folder / "program.pt2")
        renamed = {entry: tuple(names[v] for v in values) for entry, values in heads.items()}
        nodes = {node.name: node for node in saved.graph.nodes}
        inputs = input_specs(saved)
        entries = [Entry(FORWARD, inputs, output_specs(saved))]
        for entry, values in renamed.items():
            entries.append(Entry(entry, inputs, tuple(node_spec(nodes[v]) for v in values)))
        artifact = folder / f"probe.{self._target.suffix}"
        self._convert(folder, artifact, renamed, entries[0])
        seen = observe(
            artifact,
            (self._target.format, RECIPES["fp32"]),
            entries,
            self._samples,
            folder=folder / "run",
            protocol=Protocol(len(self._samples), warmup=0, runs=0),
        )
        return seen.outputs

    def _convert(
        self, folder: Path, artifact: Path, heads: dict[str, tuple[str, ...]], forward: Entry
    ) -> None:
        request = ConvertRequest(
            self._target.format,
            (RECIPES["fp32"],),
            (str(artifact),),
            str(folder / "program.pt2"),
            heads,
            forward.inputs,
            None,
            str(folder / "scratch"),
        )
        event = run_worker(request, folder)[-1]
        if event["event"] != "converted":
            raise ConversionFailed(
                str(event["what"]),
                expected=str(event["expected"]),
                remedy=str(event["remedy"]),
                log=str(event["log"]),
            )


def values_of(graph: fx.GraphModule, names: Sequence[str], samples: Samples) -> list[list[Array]]:
    """The values of these names in PyTorch, `[sample][name]`."""
    part = head_at(graph, names)
    with torch.inference_mode():
        return [
            [value.numpy() for value in part(*map(torch.from_numpy, sample))] for sample in samples
        ]


def _saved(
    graph: fx.GraphModule, samples: Samples, path: Path
) -> tuple[fx.GraphModule, dict[str, str]]:
    """Export `graph` again and save it: as it will be read, and what its values are called now."""
    mark_origins(graph)
    program = capture(graph, [torch.from_numpy(array) for array in samples[0]])
    torch.export.save(program, path)
    read = flat_graph(program)
    names = {}
    for node in read.graph.nodes:
        origin = (node.meta.get("custom") or {}).get(MARK)
        if node.op == "call_function" and origin:
            names[origin] = node.name  # the last one, if a call became several
    return read, names


def _worst(expected: list[list[Array]], given: list[list[Array]]) -> float:
    snrs = [
        snr_db(reference=right, candidate=seen)
        for sample in zip(expected, given, strict=True)
        for right, seen in zip(*sample, strict=True)
    ]
    return min(snrs, default=-math.inf)
