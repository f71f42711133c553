"""Reading programs: what is not supported is said at once, contradictions are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from exporters.mil.operators import OPERATIONS
from exporters.mil.program import read_program
from headtail.errors import ConversionFailed, IntegrityFault

from .handmade import Code, Op, Writer, linear_code, write_package

X = ("x", "fp32", [2, 4])


def chain(*ops: Op, **constants: object) -> Code:
    return Code(inputs=[X], outputs=[ops[-1].outputs[0][0]], ops=ops, constants=constants)


def same(op: str, source: str, target: str, **more: str) -> Op:
    return Op(op, {"x": source, **more}, [(target, "fp32", [2, 4])])


def test_all_that_is_not_supported_is_listed_before_anything_runs(tmp_path: Path) -> None:
    code = chain(
        same("quux", "x", "a"),
        same("relu", "a", "b", slope="k"),
        same("frobnicate", "b", "c"),
        Op("softplus", {}, [("d", "fp32", [2, 4])]),
        k=1.0,
    )
    path = write_package(
        tmp_path / "net.mlpackage", main=code, other=chain(same("corge", "x", "a"))
    )
    with pytest.raises(ConversionFailed) as caught:
        read_program(path)
    assert caught.value.what.endswith(
        "cannot be evaluated: operator corge of CoreML8 is not supported; operator frobnicate of "
        "CoreML8 is not supported; operator quux of CoreML8 is not supported; relu(slope=) is not "
        "supported; softplus lacks its input x."
    )
    assert "Core ML on a Mac" in caught.value.remedy


def test_an_unknown_operator_may_have_any_type(tmp_path: Path) -> None:
    writer = Writer()
    writer.function("main", chain(same("make_bag", "x", "a"), same("relu", "a", "y")))
    function = writer.model.mlProgram.functions["main"]
    kind = function.block_specializations["CoreML8"].operations[0].outputs[0].type
    kind.listType.length.unknown.SetInParent()  # a list, no longer a tensor
    with pytest.raises(ConversionFailed, match="operator make_bag of CoreML8 is not supported"):
        read_program(writer.write(tmp_path / "net.mlpackage"))


def test_a_constant_must_hold_what_is_declared(tmp_path: Path) -> None:
    writer = Writer()
    writer.function("main", linear_code())
    block = writer.model.mlProgram.functions["main"].block_specializations["CoreML8"]
    block.operations[0].outputs[0].type.tensorType.dimensions[0].constant.size = 4
    with pytest.raises(IntegrityFault, match=r"declared fp32\[4,4\] and holds fp32\[3,4\]"):
        read_program(writer.write(tmp_path / "net.mlpackage"))


def test_an_unknown_source_is_refused(tmp_path: Path) -> None:
    path = write_package(tmp_path / "net.mlpackage", main=chain(same("relu", "nothing", "y")))
    with pytest.raises(IntegrityFault, match=r"relu 'y' reads x=\['nothing'\]"):
        read_program(path)


def test_an_output_that_nothing_computes_is_refused(tmp_path: Path) -> None:
    path = write_package(tmp_path / "net.mlpackage", main=replace(linear_code(), outputs=["z"]))
    with pytest.raises(IntegrityFault, match=r"returns \['z'\]"):
        read_program(path)


def test_float_precision_changes_only_in_a_cast(tmp_path: Path) -> None:
    to_half = Op("cast", {"x": "x", "dtype": "half"}, [("h", "fp16", [2, 4])])
    good = chain(to_half, Op("relu", {"x": "h"}, [("y", "fp16", [2, 4])]), half="fp16")
    read_program(write_package(tmp_path / "good.mlpackage", main=good))
    bad = chain(to_half, same("relu", "h", "y"), half="fp16")
    path = write_package(tmp_path / "bad.mlpackage", main=bad)
    with pytest.raises(IntegrityFault, match=r"relu 'y' is declared fp32\[2,4\] and reads fp16"):
        read_program(path)


def test_values_are_freed_after_their_last_use_and_outputs_are_kept(tmp_path: Path) -> None:
    code = chain(same("relu", "x", "a"), same("abs", "a", "b"), same("add", "a", "c", y="b"))
    path = write_package(tmp_path / "net.mlpackage", main=code)
    steps = read_program(path).functions["main"].steps
    assert [set(step.frees) for step in steps] == [{"x"}, set(), {"a", "b"}]


def test_the_default_function_comes_first(tmp_path: Path) -> None:
    writer = Writer()
    for name in ("a_head", "forward"):
        writer.function(name, linear_code())
        writer.model.description.functions.add(name=name)
    writer.model.description.defaultFunctionName = "forward"
    path = writer.write(tmp_path / "net.mlpackage")
    assert list(read_program(path).functions) == ["forward", "a_head"]


def test_functions_share_the_tensor_of_a_shared_record(tmp_path: Path) -> None:
    writer = Writer()
    writer.function("forward", linear_code())
    once = writer.model.mlProgram.functions["forward"]
    writer.model.mlProgram.functions["head"].CopyFrom(once)
    writer.model.description.defaultFunctionName = "forward"
    functions = read_program(writer.write(tmp_path / "net.mlpackage")).functions
    assert functions["forward"].constants["w"] is functions["head"].constants["w"]


def test_operators_are_documented() -> None:
    """Families registered from a table have their documentation in the module."""
    for name, operator in OPERATIONS.items():
        module = __import__(operator.compute.__module__, fromlist=["x"])
        assert "apple.github.io/coremltools" in (module.__doc__ or ""), name
    assert len(OPERATIONS) >= 120
