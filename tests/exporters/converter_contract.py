"""What every converter must do, whatever its format; one test module per format calls these."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from exporters.target import target
from headtail.metrics import snr_db
from tests.exporters.converted import NETS, Converted, convert, converted

# forward-only against all entry points, on a net that is nearly all weights
SHARING = 1.10


def check_answers(made: Converted) -> None:
    """Every entry point equals PyTorch, every output in its place."""
    session = made.load()
    assert next(iter(session.entry_points())) == "forward"
    assert set(session.entry_points()) == set(made.entries)
    gate = target(made.format).fp32_gate_db
    for entry in made.entries:
        expected = made.expected(entry)
        given = session.run(entry, made.inputs)
        for place, (right, seen) in enumerate(zip(expected, given, strict=True)):
            assert (seen.dtype, seen.shape) == (right.dtype, right.shape)
            assert snr_db(reference=right, candidate=seen) >= gate, (entry, place)
    session.close()


def check_inputs_are_not_interchangeable(made: Converted) -> None:
    """The test of order can fail: with another value for one input the answers change."""
    session = made.load()
    before = session.run("forward", made.inputs)
    for place in range(len(made.inputs)):
        changed = list(made.inputs)
        changed[place] = changed[place] * 2
        after = session.run("forward", changed)
        assert not all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    outputs = [output.ravel()[:3] for output in before]
    assert not np.allclose(outputs[0], outputs[1])
    assert not np.allclose(outputs[1], outputs[2])
    session.close()


def check_weights_are_shared(base: Path, format_name: str) -> None:
    """Two entry points take little more than one, on a net that is nearly all weights."""
    both = converted(base, format_name, "Heavy")
    make, _ = NETS["Heavy"]
    folder = base / f"forward-only-{format_name}"
    alone = convert(*make(), format=format_name, cuts=(), folder=folder)
    assert sum(p.numel() * 4 for p in make()[0].parameters()) > 0.9 * alone.bytes
    assert alone.bytes < both.bytes < SHARING * alone.bytes


def check_same_bytes(base: Path, format_name: str) -> None:
    """The same program gives the same bytes."""
    first = converted(base, format_name, "TwoOutputs")
    make, cuts = NETS["TwoOutputs"]
    folder = base / f"again-{format_name}"
    again = convert(*make(), format=format_name, cuts=cuts, folder=folder)
    assert contents(first.path) == contents(again.path)


def contents(path: Path) -> dict[str, bytes]:
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return {str(file.relative_to(path)): file.read_bytes() for file in files}
