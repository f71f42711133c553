"""Which tails gain from batching: milliseconds per sample by batch size, eager and ExecuTorch.

    python -m benchmarks.tail_batching [--out benchmarks/results/tail_batching.json]

A tail that is bound by memory reads its weights once for the whole batch; one that is bound by
compute takes as long as its samples do one by one. Architectures are torchvision's and timm's with
seeded weights: how long they take does not depend on what they answer. One thread; the sizes take
turns, and a figure is the median over the turns. `ms` is wall time, `cpu_ms` the time that the
thread ran, waiting for memory included: on a machine that does other things too, the ratios of
throughput are taken from the latter.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SIZES = (1, 2, 4, 8, 16)
TURNS = 7
SEED = 0


@dataclass(frozen=True)
class Net:
    """A source as `headtail export` takes it, and the cut after which its tail begins."""

    source: str
    cut: str


NETS = (
    Net("torchvision:alexnet?pretrained=0", "flatten"),
    Net("timm:vit_tiny_patch16_224?pretrained=0", "blocks_7"),
    Net("timm:efficientnet_lite0?pretrained=0", "blocks_5_0"),
)


def main() -> None:
    """Measure every net and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="where the JSON goes; it is printed anyway")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    found = {net.source: measure(net) for net in NETS}
    text = json.dumps(
        {
            "command": "python -m benchmarks.tail_batching",
            "timing_kind": "host",
            "threads": 1,
            "nets": found,
        },
        indent=1,
    )
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


def measure(net: Net) -> dict[str, Any]:
    """Times of one net's tail, and how many times more samples per second a batch computes."""
    import torch

    module, specs = tail_of(net)
    generator = torch.Generator().manual_seed(SEED)
    rows = {n: [torch.rand(n, *shape[1:], generator=generator) for shape in specs] for n in SIZES}
    report: dict[str, Any] = {"cut": net.cut, "boundary": specs, "weight_mb": megabytes(module)}
    with tempfile.TemporaryDirectory() as folder:
        runs = {"eager": module, "executorch": executorch(module, rows[2], Path(folder))}
        for name, run in runs.items():
            wall, cpu = times(run, rows)
            gains = {n: round(n * cpu[1] / total, 2) for n, total in cpu.items()}
            report[name] = {"ms": wall, "cpu_ms": cpu, "throughput_over_one_by_one": gains}
    return report


def tail_of(net: Net) -> tuple[Any, list[list[int]]]:
    """The module from the cut to the outputs, for any batch, and the shapes it takes."""
    from exporters.batching import batched_twin
    from exporters.capture import capture, flat_graph
    from exporters.graphfile import TailProgram
    from exporters.source import load_module
    from exporters.splitting import cut_points, find_cut

    source = load_module(net.source)
    graph = flat_graph(capture(source.module, source.example))
    cut = find_cut(cut_points(graph, source.example), net.cut)
    twin = batched_twin(source.module, source.example, graph)
    assert twin is not None
    module = TailProgram.of(twin).enter([spec.name for spec in cut.tensors])
    return module, [list(spec.shape) for spec in cut.tensors]


def executorch(module: Any, example: Sequence[Any], folder: Path) -> Callable[..., Any]:
    """The same by XNNPACK, as the server builds it."""
    from companion_server.tails.backends import BACKENDS

    backend, path = BACKENDS["executorch"], folder / "tail.pte"
    assert backend.write is not None
    backend.write(module, example, path, SIZES[-1])
    return backend.load(path, module, 1)


Medians = dict[int, float]


def times(run: Callable[..., Any], rows: dict[int, list[Any]]) -> tuple[Medians, Medians]:
    """Median ms by batch size, wall and CPU; the sizes take turns, to have the same neighbours."""
    import torch

    wall: dict[int, list[float]] = {size: [] for size in rows}
    cpu: dict[int, list[float]] = {size: [] for size in rows}
    with torch.inference_mode():
        for turn in range(TURNS + 1):
            for size, values in rows.items():
                began, ran = time.perf_counter(), time.thread_time()
                run(*values)
                if turn:
                    wall[size].append((time.perf_counter() - began) * 1e3)
                    cpu[size].append((time.thread_time() - ran) * 1e3)
    return medians(wall), medians(cpu)


def medians(held: dict[int, list[float]]) -> Medians:
    """Of each size's samples."""
    return {size: round(statistics.median(found), 3) for size, found in held.items()}


def megabytes(module: Any) -> float:
    """Of its weights."""
    return round(sum(value.nbytes for value in module.buffers()) / 1e6, 1)


if __name__ == "__main__":
    main()
