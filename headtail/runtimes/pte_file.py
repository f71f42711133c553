"""The structure of a `.pte`: read with every offset checked, before a runtime trusts it.

A `.pte` is a FlatBuffer of https://github.com/pytorch/executorch/blob/main/schema/program.fbs, and
behind it segments of weights; a header that the FlatBuffer skips says how long both are
(https://docs.pytorch.org/executorch/stable/pte-file-format.html). Method names and the number of
inputs and outputs are read here because ExecuTorch's Java classes do not tell the latter.
"""

from __future__ import annotations

from pathlib import Path

from headtail.runtimes.flatbuffer import BrokenFile, FlatBytes, FlatTable, check_index, opened

__all__ = ["read_pte"]

IDENTIFIER = b"ET12"
HEADER = b"eh00"


def read_pte(path: Path) -> dict[str, tuple[range, range]]:
    """Method -> (inputs, outputs), of which only the number says something.

    Raises `IntegrityFault` for a file that is not whole.
    """
    with opened(path, "a whole .pte file") as data:
        if data.size < 8 or data.data[4:8] != IDENTIFIER:
            raise BrokenFile(f"it does not say {IDENTIFIER.decode()} at byte 4")
        _check_header(data)
        program = FlatTable(data, data.number("I", 0))
        methods = {plan.text(0): _counts(plan) for plan in program.tables(1)}
        if not methods:
            raise BrokenFile("it has no methods")
        return methods


def _check_header(data: FlatBytes) -> None:
    if data.data[8:12] != HEADER:
        return  # an old file, without segments
    length, program, segments = (data.number(c, at) for c, at in (("I", 12), ("Q", 16), ("Q", 24)))
    data.inside(0, program)
    if segments:
        # headers of 32 bytes also say how long the segments are
        data.inside(segments, data.number("Q", 32) if length >= 32 else 1)


def _counts(plan: FlatTable) -> tuple[range, range]:
    values = len(plan.vector(2, 4))
    sides = [plan.numbers(field, "i") for field in (3, 4)]
    for side in sides:
        for place in side:
            check_index(place, values, "value")
    inputs, outputs = (range(len(side)) for side in sides)
    return inputs, outputs
