"""The runtime adapter: entry points, names and order of tensors, dtypes, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from exporters.mil import MilRuntime, Mode
from headtail.errors import TensorMismatch, UnknownName, UsageFault
from headtail.runtimes.base import Runtime, Session
from headtail.tensors import Array, TensorSpec

from .handmade import WEIGHT, Code, Op, linear_code, write_package

X, Y = TensorSpec("x", "f32", (2, 4)), TensorSpec("y", "f32", (2, 3))


def load(
    path: Path, inputs: list[TensorSpec], outputs: list[TensorSpec], **functions: Code
) -> Session:
    runtime: Runtime = MilRuntime()
    package = write_package(path / "net.mlpackage", **functions)
    return runtime.load(package, entries={"forward": (inputs, outputs)})


def two_in_two_out() -> Code:
    """total = a + b as float32; larger = a > b as bool."""
    return Code(
        inputs=[("a", "fp32", [2]), ("b", "fp32", [2])],
        outputs=["total", "larger"],
        ops=[
            Op("add", {"x": "a", "y": "b"}, [("total", "fp32", [2])]),
            Op("greater", {"x": "a", "y": "b"}, [("larger", "bool", [2])]),
        ],
    )


ONE, TWO = np.array([1.0, 5.0], np.float32), np.array([3.0, 4.0], np.float32)


def spec(name: str, dtype: str = "f32") -> TensorSpec:
    return TensorSpec(name, dtype, (2,))


def test_main_of_a_single_function_package_is_forward(tmp_path: Path) -> None:
    session = load(tmp_path, [X], [Y], main=linear_code())
    assert list(session.entry_points()) == ["forward"]
    x = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)
    (y,) = session.run("forward", [x])
    assert y.dtype == np.float32
    assert y == pytest.approx(np.maximum(x @ WEIGHT.T, 0), abs=1e-6)


def test_other_names_are_taken_as_they_are(tmp_path: Path) -> None:
    session = load(tmp_path, [X], [Y], forward=linear_code(), head_b8=linear_code())
    assert list(session.entry_points()) == ["forward", "head_b8"]
    with pytest.raises(UnknownName, match=r"Unknown entry point 'head_b8'\. Known: forward"):
        session.run("head_b8", [np.ones((2, 4), np.float32)])  # present, but nobody bound it


def test_tensors_are_matched_by_name_when_names_are_equal(tmp_path: Path) -> None:
    session = load(
        tmp_path,
        [spec("b"), spec("a")],
        [spec("larger", "bool"), spec("total")],
        main=two_in_two_out(),
    )
    larger, total = session.run("forward", [ONE, TWO])  # b = ONE, a = TWO
    assert larger.tolist() == [True, False]
    assert total.tolist() == [4.0, 9.0]


def test_tensors_are_matched_by_position_when_core_ml_renamed_them(tmp_path: Path) -> None:
    session = load(
        tmp_path,
        [spec("image.0"), spec("image.1")],
        [spec("y"), spec("z", "u8")],
        main=two_in_two_out(),
    )
    total, larger = session.run("forward", [ONE, TWO])
    assert total.tolist() == [4.0, 9.0]
    assert larger.dtype.name == "uint8"
    assert larger.tolist() == [0, 1]


def test_float16_inside_and_float32_outside(tmp_path: Path) -> None:
    code = Code([("x", "fp16", [2])], ["y"], [Op("square", {"x": "x"}, [("y", "fp16", [2])])])
    session = load(tmp_path, [spec("x")], [spec("y")], main=code)
    x = np.array([0.1, 300.0], np.float32)
    (y,) = session.run("forward", [x])
    half = torch.from_numpy(x).half()
    assert y.tolist() == (half * half).float().tolist()
    assert y.dtype == np.float32
    exact = MilRuntime(Mode.FP32).load(
        tmp_path / "net.mlpackage", entries={"forward": ([spec("x")], [spec("y")])}
    )
    assert exact.run("forward", [x])[0].tolist() == (x * x).tolist()


def test_a_scalar_comes_back_in_the_declared_shape(tmp_path: Path) -> None:
    code = Code([("x", "fp32", [2])], ["y"], [Op("reduce_sum", {"x": "x"}, [("y", "fp32", [])])])
    session = load(tmp_path, [spec("x")], [TensorSpec("y", "f32", (1,))], main=code)
    assert session.run("forward", [ONE])[0].tolist() == [6.0]


def test_outputs_do_not_alias_the_weights(tmp_path: Path) -> None:
    ops = [Op("reshape", {"x": "w", "shape": "s"}, [("y", "fp32", [4, 3])])]
    constants = {"w": WEIGHT, "s": np.array([4, 3])}
    code = Code([("x", "fp32", [2])], ["y"], ops, constants)
    session = load(tmp_path, [spec("x")], [TensorSpec("y", "f32", (4, 3))], main=code)
    session.run("forward", [ONE])[0][:] = 9
    assert session.run("forward", [ONE])[0].flatten().tolist() == WEIGHT.flatten().tolist()


@pytest.mark.parametrize(
    "array",
    [np.ones((2, 4), np.float16), np.ones((4, 2), np.float32), np.ones((2, 4), np.int32)],
)
def test_another_dtype_or_shape_is_refused(tmp_path: Path, array: Array) -> None:
    session = load(tmp_path, [X], [Y], main=linear_code())
    with pytest.raises(TensorMismatch, match="Tensor 'x' is"):
        session.run("forward", [array])
    with pytest.raises(TensorMismatch, match="2 inputs were given"):
        session.run("forward", [array, array])


@pytest.mark.parametrize(
    ("outputs", "sentence"),
    [
        ([TensorSpec("y", "f32", (3, 2))], r"Output 'y' is float32\[2, 3\]\. The manifest lists"),
        ([TensorSpec("y", "i32", (2, 3))], r"The manifest lists y:i32\[2,3\]"),
    ],
)
def test_an_output_the_manifest_does_not_list_is_refused(
    tmp_path: Path, outputs: list[TensorSpec], sentence: str
) -> None:
    session = load(tmp_path, [X], outputs, main=linear_code())
    with pytest.raises(TensorMismatch, match=sentence):
        session.run("forward", [np.ones((2, 4), np.float32)])


def test_a_package_without_the_entry_is_refused_when_it_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"Unknown entry point 'forward'\. Known: a, b"):
        load(tmp_path, [X], [Y], a=linear_code(), b=linear_code())
    with pytest.raises(TensorMismatch, match=r"function 'main': 2 outputs were given"):
        load(tmp_path / "two", [X], [Y, Y], main=linear_code())


def test_a_closed_session_says_so(tmp_path: Path) -> None:
    session = load(tmp_path, [X], [Y], main=linear_code())
    session.close()
    with pytest.raises(UsageFault, match="The session is closed"):
        session.run("forward", [np.ones((2, 4), np.float32)])


def test_threads_are_given_back(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    package = write_package(tmp_path / "net.mlpackage", main=linear_code())
    session = MilRuntime().load(package, entries={"forward": ([X], [Y])}, threads=before + 1)
    session.run("forward", [np.ones((2, 4), np.float32)])
    assert torch.get_num_threads() == before


def test_probe_needs_no_model() -> None:
    assert MilRuntime().probe().available
