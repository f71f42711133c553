"""Evaluating: declared types are checked before they are applied; modes; the watch hook."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from exporters.mil import Mode, Program
from headtail.errors import IntegrityFault, UnknownName

from .handmade import WEIGHT, Code, Op, linear_code, write_package


def function(path: Path, code: Code):
    return Program(write_package(path / "net.mlpackage", main=code)).function("main")


def relu_declared(dtype: str, shape: list[int]) -> Code:
    ops = [Op("greater", {"x": "x", "y": "x"}, [("y", dtype, shape)])]
    return Code([("x", "fp32", [2, 4])], ["y"], ops)


def test_a_linear_layer(tmp_path: Path) -> None:
    x = torch.randn(2, 4)
    (y,) = function(tmp_path, linear_code()).run([x])
    assert torch.equal(y, torch.relu(x @ torch.from_numpy(WEIGHT).T))


@pytest.mark.parametrize(
    ("dtype", "shape", "sentence"),
    [
        ("fp32", [2, 4], r"greater 'y' is bool\[2, 4\]. The program declares fp32\[2,4\]"),
        ("int32", [2, 4], r"declares int32\[2,4\]"),
        ("bool", [4, 2], r"declares bool\[4,2\]"),
        ("bool", [8], r"declares bool\[8\]"),
    ],
)
def test_a_wrong_declaration_is_an_error_not_a_cast(
    tmp_path: Path, dtype: str, shape: list[int], sentence: str
) -> None:
    with pytest.raises(IntegrityFault, match=sentence):
        function(tmp_path, relu_declared(dtype, shape)).run([torch.randn(2, 4)])


def test_inputs_are_checked_too(tmp_path: Path) -> None:
    with pytest.raises(IntegrityFault, match=r"input 'x' is float\[2, 3\]"):
        function(tmp_path, linear_code()).run([torch.randn(2, 3)])


def test_inputs_that_do_not_fit_an_operator_name_it(tmp_path: Path) -> None:
    code = Code(
        [("x", "fp32", [2, 4]), ("k", "fp32", [3])],
        ["y"],
        [Op("add", {"x": "x", "y": "k"}, [("y", "fp32", [2, 4])])],
    )
    with pytest.raises(IntegrityFault, match="add 'y' cannot be computed: The size of tensor"):
        function(tmp_path, code).run([torch.randn(2, 4), torch.randn(3)])


def half_square() -> Code:
    return Code(
        [("x", "fp16", [3])],
        ["y"],
        [
            Op("square", {"x": "x"}, [("s", "fp16", [3])]),
            Op("cast", {"x": "s", "dtype": "to"}, [("y", "fp32", [3])]),
        ],
        {"to": "fp32"},
    )


def test_declared_mode_shows_float16_overflow_and_loss(tmp_path: Path) -> None:
    x = torch.tensor([300.0, 0.1, 2.0])
    (y,) = function(tmp_path, half_square()).run([x])
    assert y.tolist() == x.half().square().float().tolist()
    assert torch.isinf(y[0])


def test_fp32_mode_rounds_no_activation(tmp_path: Path) -> None:
    x = torch.tensor([300.0, 0.1, 2.0])
    (y,) = function(tmp_path, half_square()).run([x], mode=Mode.FP32)
    assert torch.equal(y, x.square())


def test_watch_sees_every_result_in_order(tmp_path: Path) -> None:
    seen: dict[str, tuple[int, ...]] = {}
    function(tmp_path, linear_code()).run(
        [torch.ones(2, 4)], watch=lambda name, value: seen.update({name: tuple(value.shape)})
    )
    assert seen == {"h": (2, 3), "y": (2, 3)}


def test_constants_are_not_changed_by_running(tmp_path: Path) -> None:
    code = Code(
        [("x", "fp32", [3, 4])],
        ["y"],
        [Op("identity", {"x": "w"}, [("y", "fp32", [3, 4])])],
        {"w": WEIGHT},
    )
    net = function(tmp_path, code)
    net.run([torch.ones(3, 4)])[0].zero_()
    assert np.array_equal(net.constant("w").numpy(), WEIGHT)


def test_an_unknown_function_is_named_with_what_exists(tmp_path: Path) -> None:
    program = Program(write_package(tmp_path / "net.mlpackage", main=linear_code()))
    with pytest.raises(UnknownName, match=r"Unknown function 'mian'\. Known: main\. Did you mean"):
        program.function("mian")
