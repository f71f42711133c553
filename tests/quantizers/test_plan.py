import numpy as np
import pytest

from headtail.errors import IntegrityFault
from headtail.tensorfile import write_tensors
from quantizers.plan import Grid, Plan, Range
from quantizers.recipe import Storage, recipe


def test_values_of_channels_blocks_and_palettes():
    levels = np.arange(-4, 4, dtype=np.int8).reshape(2, 4)
    channel = Grid(Storage("i4"), levels, np.array([[0.5], [2.0]], np.float32))
    assert channel.values().tolist() == [[-2, -1.5, -1, -0.5], [0, 2, 4, 6]]
    scale = np.array([[1, 10], [2, 20]], np.float32)
    assert Grid(Storage("i4", 2), levels, scale).values().tolist() == [
        [-4, -3, -20, -10],
        [0, 2, 40, 60],
    ]
    table = np.array([[0, 1, 2, 3], [0, 10, 20, 30]], np.float32)
    indices = np.array([[3, 0], [1, 2]], np.uint8)
    none = np.zeros((0, 0), np.float32)
    assert Grid(Storage("lut4"), indices, none, table).values().tolist() == [[3, 0], [10, 20]]
    each = Grid(Storage("lut4"), indices, np.array([[2.0], [0.5]], np.float32), table)
    assert each.values().tolist() == [[6, 0], [5, 10]]


def test_a_plan_is_read_back_and_written_the_same_every_time(tmp_path):
    grid = Grid(Storage("i8"), np.ones((2, 3), np.int8), np.ones((2, 1), np.float32))
    table = np.arange(16, dtype=np.float32)[None]
    none = np.zeros((0, 0), np.float32)
    palette = Grid(Storage("lut4"), np.ones((2, 3), np.uint8), none, table)
    scaled = Grid(Storage("lut4"), palette.levels, np.full((2, 1), 0.5, np.float32), table)
    grids = {"w": grid, "p": palette, "s": scaled}
    plan = Plan(recipe("w8a8"), grids, {"conv": Range(-1.0, 2.5)}, ("one step",))
    plan.write(tmp_path / "a")
    plan.write(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    read = Plan.read(tmp_path / "a")
    assert (read.recipe, read.ranges, read.steps) == (plan.recipe, plan.ranges, plan.steps)
    for name, grid in plan.grids.items():
        assert read.grids[name].storage == grid.storage
        assert np.array_equal(read.grids[name].values(), grid.values())


def test_another_tensor_file_is_refused(tmp_path):
    write_tensors(tmp_path / "x", {"a": np.zeros(1, np.float32)})
    with pytest.raises(IntegrityFault, match="says nothing about a plan"):
        Plan.read(tmp_path / "x")
