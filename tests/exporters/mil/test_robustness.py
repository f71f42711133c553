"""Damaged packages: whatever the bytes say, the end is an answer or one of our errors."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters.mil import Program
from exporters.mil.program import read_program
from headtail.errors import ConversionFailed, HeadtailError, IntegrityFault

from .handmade import MODEL, Code, Op, Writer, counting_code, linear_code, write_package

FILES = (f"Data/{MODEL}", "Data/com.apple.CoreML/weights/weight.bin", "Manifest.json")


@lru_cache
def originals() -> dict[str, dict[str, bytes]]:
    """Files of two whole packages: a layer with a blob, and a loop with a state."""
    codes = {"layer": linear_code(), "loop": counting_code()}
    with tempfile.TemporaryDirectory() as folder:
        found = {}
        for name, code in codes.items():
            path = write_package(Path(folder) / f"{name}.mlpackage", main=code)
            found[name] = {file: (path / file).read_bytes() for file in FILES}
    return found


def use(path: Path) -> None:
    """Read the package and run every function on inputs of the declared types."""
    for function in Program(path).functions.values():
        inputs = []
        for _, declared in function.code.inputs:
            shape = [min(size or 1, 8) for size in declared.shape or ()]
            assert declared.dtype.carried is not None
            inputs.append(torch.ones(shape, dtype=declared.dtype.carried))
        function.run(inputs)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_changed_bytes(data: st.DataObject) -> None:
    files = dict(originals()[data.draw(st.sampled_from(["layer", "loop"]))])
    name = data.draw(st.sampled_from([FILES[0], FILES[0], FILES[0], *FILES[1:]]))
    content = bytearray(files[name])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] ^= data.draw(st.integers(1, 255))
    files[name] = bytes(content)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.mlpackage"
        for file, whole in files.items():
            (path / file).parent.mkdir(parents=True, exist_ok=True)
            (path / file).write_bytes(whole)
        with suppress(HeadtailError):  # any other error fails the test
            use(path)


@pytest.mark.parametrize("sizes", [[1 << 62], [1 << 20, 1 << 20], [0, 1 << 63]])
def test_huge_declared_sizes_are_refused(tmp_path: Path, sizes: list[int]) -> None:
    code = Code([("x", "fp32", [2])], ["y"], [Op("fill", {"shape": "s"}, [("y", "fp32", sizes)])])
    code.constants = {"s": np.array([2])}
    path = write_package(tmp_path / "net.mlpackage", main=code)
    with pytest.raises(IntegrityFault, match="A tensor has at most"):
        read_program(path)


@pytest.mark.parametrize(
    "op",
    [
        Op("fill", {"shape": "s", "value": "x"}, [("y", "fp32", [1, 1])]),
        Op("tile", {"x": "x", "reps": "s"}, [("y", "fp32", [1, 1])]),
    ],
)
def test_huge_results_are_refused_before_they_are_made(tmp_path: Path, op: Op) -> None:
    writer = Writer()
    code = Code([("x", "fp32", [1, 1])], ["y"], [op], {"s": np.array([1 << 17, 1 << 17])})
    writer.function("main", code)
    block = writer.model.mlProgram.functions["main"].block_specializations["CoreML8"]
    for dimension in block.operations[-1].outputs[0].type.tensorType.dimensions:
        dimension.unknown.SetInParent()
    net = Program(writer.write(tmp_path / "net.mlpackage")).function("main")
    with pytest.raises(IntegrityFault, match="17179869184 elements"):
        net.run([torch.ones(1, 1)])


def test_a_cycle_is_an_undefined_name(tmp_path: Path) -> None:
    ops = [
        Op("relu", {"x": "b"}, [("a", "fp32", [2])]),
        Op("relu", {"x": "a"}, [("b", "fp32", [2])]),
    ]
    path = write_package(tmp_path / "net.mlpackage", main=Code([("x", "fp32", [2])], ["b"], ops))
    with pytest.raises(IntegrityFault, match=r"relu 'a' reads x=\['b'\]"):
        read_program(path)


def test_a_constexpr_reads_constants_only(tmp_path: Path) -> None:
    inputs = {"source_val": "x", "output_dtype": "to"}
    op = Op("constexpr_cast", inputs, [("y", "fp32", [2])])
    code = Code([("x", "fp16", [2])], ["y"], [op], {"to": "fp32"})
    with pytest.raises(IntegrityFault, match="A constexpr operator reads constants only"):
        read_program(write_package(tmp_path / "net.mlpackage", main=code))


def test_operators_without_results_are_refused(tmp_path: Path) -> None:
    for kind in ("relu", "const"):
        writer = Writer()
        writer.function("main", linear_code())
        block = writer.model.mlProgram.functions["main"].block_specializations["CoreML8"]
        operator = next(o for o in block.operations if o.type == kind)
        del operator.outputs[:]
        with pytest.raises((IntegrityFault, ConversionFailed)):
            use(writer.write(tmp_path / f"{kind}.mlpackage"))


def test_a_narrow_integer_must_be_declared_as_such(tmp_path: Path) -> None:
    quantized = Op(
        "quantize", {"input": "x", "scale": "s", "output_dtype": "to"}, [("y", "int32", [2])]
    )
    code = Code([("x", "fp32", [2])], ["y"], [quantized], {"s": 1.0, "to": "int8"})
    with pytest.raises(IntegrityFault, match=r"is declared int32\[2\] and has output_dtype='int8'"):
        read_program(write_package(tmp_path / "net.mlpackage", main=code))
    kept = Op("identity", {"x": "x"}, [("y", "int32", [2])])
    path = write_package(
        tmp_path / "kept.mlpackage", main=Code([("x", "int8", [2])], ["y"], [kept])
    )
    with pytest.raises(
        IntegrityFault, match=r"identity 'y' is int8\[2\]. The program declares int32"
    ):
        Program(path).function("main").run([torch.ones(2, dtype=torch.int8)])
