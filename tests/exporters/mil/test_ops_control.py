"""Nested blocks, lists and states: written by hand, and by coremltools' builder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from exporters.mil import Mode, Program
from exporters.mil.evaluation import Function
from exporters.mil.values import StateCell, StateType
from headtail.errors import IntegrityFault, TensorMismatch

from .built import Build, build, int32
from .calling import call
from .handmade import Code, Op, counting_code, write_package

__all__ = ["build"]

X = torch.tensor([0.5, -0.25])


def function(path: Path, code: Code) -> Function:
    return Program(write_package(path / "net.mlpackage", main=code)).function("main")


def whole(number: int) -> torch.Tensor:
    return torch.tensor(number, dtype=torch.int32)


def looped(count: int) -> torch.Tensor:
    y = X.clone()
    for _ in range(count):
        y = y * y + X
    return y


@pytest.mark.parametrize("count", [0, 1, 4])
def test_a_loop_reads_outer_values_and_leaves_what_it_carries(tmp_path: Path, count: int) -> None:
    y, steps, _ = function(tmp_path, counting_code()).run([X, whole(count)])
    torch.testing.assert_close(y, looped(count))
    assert int(steps) == count


def test_a_state_lives_as_long_as_the_caller_keeps_it(tmp_path: Path) -> None:
    net = function(tmp_path, counting_code())
    assert [name for name, _ in net.code.inputs] == ["x", "n"]
    kept = net.new_state()
    totals = [net.run([X, whole(1)], state=kept)[2] for _ in range(3)]
    torch.testing.assert_close(totals[2], 3 * looped(1))
    torch.testing.assert_close(totals[0], looped(1))  # an answer is not changed afterwards
    torch.testing.assert_close(net.run([X, whole(1)])[2], looped(1))  # no state given: zero again
    wrong = {"s": StateCell(StateType(net.code.inputs[0][1]), torch.zeros(2))}
    net.run([X, whole(1)], state=wrong)  # made by hand, of the same type
    with pytest.raises(TensorMismatch, match="The function has the state s state<fp32"):
        net.run([X, whole(1)], state={})


def test_a_loop_that_never_ends_is_stopped(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("exporters.mil.evaluation.MAX_BLOCK_RUNS", 1000)
    net = function(tmp_path, counting_code())
    with pytest.raises(IntegrityFault, match="ran 1000 times and a loop has not ended"):
        net.run([X, whole(2**31 - 1)])


def branches(*blocks: Code) -> Code:
    op = Op("cond", {"pred": "p"}, [("y", "fp32", [2])], blocks)
    return Code([("x", "fp32", [2]), ("p", "bool", [])], ["y"], [op], {"two": 2.0})


def branch(op: str, name: str = "v") -> Code:
    """The same name in both branches: each block has names of its own."""
    return Code([], [name], [Op(op, {"x": "x", "y": "two"}, [(name, "fp32", [2])])])


def test_one_branch_is_computed(tmp_path: Path) -> None:
    net = function(tmp_path, branches(branch("mul"), branch("add")))
    assert torch.equal(net.run([X, torch.tensor(True)])[0], X * 2)
    assert torch.equal(net.run([X, torch.tensor(False)])[0], X + 2)


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (branches(branch("mul")), "cond 'y' has 1 nested blocks. It has 2"),
        (branches(branch("mul"), Code([], ["z"], [])), r"a block of cond 'y' returns \['z'\]"),
        (branches(branch("mul"), Code([], [], [])), "cond 'y' has 0 results"),
        (
            branches(branch("mul"), Code([("a", "fp32", [2])], ["a"], [])),
            "a nested block is given 0 values. It takes 1",
        ),
        (branches(branch("mul"), branch("greater")), r"is bool\[2\]. The program declares fp32"),
    ],
)
def test_blocks_that_do_not_fit_are_refused(tmp_path: Path, code: Code, sentence: str) -> None:
    with pytest.raises(IntegrityFault, match=sentence):
        function(tmp_path, code).run([X, torch.tensor(False)])


def test_what_a_block_computes_stays_inside(tmp_path: Path) -> None:
    code = branches(branch("mul"), branch("add"))
    code.outputs = ["v"]
    with pytest.raises(IntegrityFault, match=r"returns \['v'\]"):
        function(tmp_path, code)


def test_a_value_is_defined_once(tmp_path: Path) -> None:
    twice = Op("relu", {"x": "x"}, [("x", "fp32", [2])])
    with pytest.raises(IntegrityFault, match="'x' is computed twice"):
        function(tmp_path, Code([("x", "fp32", [2])], ["x"], [twice]))


def test_unread_values_inside_a_loop_are_freed(tmp_path: Path) -> None:
    loop = function(tmp_path, counting_code()).code.steps[0]
    _, body = loop.blocks
    assert [set(step.frees) for step in body.steps] == [{"i#1"}, {"h#1"}, {"hh"}]
    assert set(loop.frees) == {"x", "n"}


def made(**words: Any) -> Any:
    return call("make_list", **{"elem_shape": (2,), **words})


def test_lists_grow_only_when_they_may() -> None:
    grown = call("list_write", ls=made(), index=3, value=X)
    assert call("list_length", ls=grown).item() == 4
    assert call("list_read", ls=grown, index=1).tolist() == [0, 0]  # never written
    fixed = made(init_length=2, dynamic_length=False)
    with pytest.raises(IndexError, match="element 2 of a list of 2"):
        call("list_write", ls=fixed, index=2, value=X)
    for index in (-1, 4):
        with pytest.raises(IndexError):
            call("list_read", ls=grown, index=index)


def test_a_list_is_a_value() -> None:
    empty = made(init_length=2)
    call("list_write", ls=empty, index=0, value=X)
    assert call("list_gather", ls=empty, indices=[0, 1]).tolist() == [[0, 0], [0, 0]]


def test_elements_of_a_list_fit() -> None:
    for value in (torch.zeros(3), torch.zeros(1, 2), torch.zeros(2, dtype=torch.int32)):
        with pytest.raises(ValueError, match=r"is not an element of a list of fp32\[2\]"):
            call("list_write", ls=made(), index=0, value=value)
    open_list = made(elem_shape=("n",))
    assert call("list_write", ls=open_list, index=0, value=torch.zeros(9)).items[0].shape == (9,)
    with pytest.raises(ValueError, match="its shape is open"):
        call("list_read", ls=open_list, index=0)


def nested(mb: Any, x: Any, n: Any) -> Any:
    """Loop in a branch in a loop; a list carried along; a constant in a block."""
    count = mb.squeeze(x=n)
    start = mb.make_list(init_length=1, elem_shape=(2, 3), dtype="fp32")

    def inner(acc: Any) -> Any:
        return mb.while_loop(
            _cond=lambda a: mb.less(x=mb.reduce_max(x=a, keep_dims=False), y=np.float32(50)),
            _body=lambda a: mb.mul(x=a, y=np.float32(3)),
            loop_vars=(acc,),
        )

    def body(i: Any, acc: Any, ls: Any) -> Any:
        odd = mb.equal(x=mb.mod(x=i, y=np.int32(2)), y=np.int32(1))
        acc = mb.cond(pred=odd, _true_fn=lambda: inner(acc), _false_fn=lambda: mb.add(x=acc, y=x))
        return mb.add(x=i, y=np.int32(1)), acc, mb.list_write(ls=ls, index=i, value=acc)

    _, acc, ls = mb.while_loop(
        _cond=lambda i, acc, ls: mb.less(x=i, y=count),
        _body=body,
        loop_vars=(np.int32(0), mb.exp(x=x), start),
    )
    return acc, mb.list_gather(ls=ls, indices=int32(2, 0)), mb.list_length(ls=ls)


@pytest.mark.slow
@pytest.mark.parametrize(("target", "precision"), [("iOS15", "FLOAT32"), ("iOS18", "FLOAT16")])
def test_saved_loops_branches_and_lists(build: Build, target: str, precision: str) -> None:
    inputs = {"x": ((2, 3), "fp32"), "n": ((1,), "int32")}
    path = build(nested, inputs, target=target, precision=precision)
    x = torch.linspace(-1, 1, 6).reshape(2, 3)
    net = Program(path).function("main")
    got = net.run([x, torch.tensor([4], dtype=torch.int32)], mode=Mode.FP32)
    acc, written = x.exp(), []
    for i in range(4):
        if i % 2:
            while acc.max() < 50:
                acc = acc * 3
        else:
            acc = acc + x
        written.append(acc)
    limit = 1e-5 if precision == "FLOAT32" else 1e-3
    torch.testing.assert_close(got[0], acc, rtol=limit, atol=limit)
    wanted = torch.stack([written[2], written[0]])
    torch.testing.assert_close(got[1], wanted, rtol=limit, atol=limit)
    assert got[2].item() == 4


def scattered(mb: Any, x: Any) -> Any:
    ls = mb.make_list(init_length=4, elem_shape=(3,), dtype="fp32", dynamic_length=False)
    ls = mb.list_scatter(ls=ls, indices=int32(3, 1), value=x)
    return mb.list_read(ls=ls, index=np.int32(1)), mb.list_gather(ls=ls, indices=int32(3, 0))


@pytest.mark.slow
def test_saved_scatter_into_a_list(build: Build) -> None:
    net = Program(build(scattered, {"x": ((2, 3), "fp32")}, target="iOS16")).function("main")
    x = torch.arange(6.0).reshape(2, 3)
    read, gathered = net.run([x])
    assert read.tolist() == [3, 4, 5]
    assert gathered.tolist() == [[0, 1, 2], [0, 0, 0]]


def accumulating(mb: Any, x: Any, total: Any) -> Any:
    value = mb.add(x=mb.read_state(input=total), y=x)
    return mb.mul(x=mb.coreml_update_state(state=total, value=value), y=np.float16(2))


@pytest.mark.slow
def test_saved_state(build: Build) -> None:
    path = build(
        accumulating, {"x": ((2, 3), "fp16")}, precision="FLOAT16", states={"total": (2, 3)}
    )
    net = Program(path).function("main")
    assert net.code.counts["write_state"] == 1
    kept, x, total = net.new_state(), torch.rand(2, 3), torch.zeros(2, 3).half()
    for _ in range(4):
        (y,) = net.run([x], state=kept)
        total = total + x.half()
        assert torch.equal(y, (total * 2).float())
