"""Coverage of a lowered program, on nets whose left-overs and work are known."""

import pytest
import torch
from torch import nn

from exporters.capture import capture, flat_graph, input_specs
from exporters.coverage import coverage
from exporters.entries import EntryPoints
from exporters.executorch import write
from exporters.target import Job
from headtail.manifest import LeftOver
from quantizers.plan import Plan
from quantizers.recipe import recipe

pytestmark = [
    pytest.mark.slow,  # importing and lowering take 5 s
    # executorch 1.5.1 and torch warn each other of what they still use
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


class Running(nn.Module):
    """A convolution, and a running sum along its channels, which no delegate takes."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, bias=False)

    def forward(self, x):
        return torch.cumsum(self.stem(x).relu(), 1)


class Cumulative(nn.Module):
    """Nothing that multiplies, and nothing that a delegate takes."""

    def forward(self, x):
        return torch.cumsum(x, 1)


class Split(nn.Module):
    """Work on both sides: the 3-D convolution is left, linear and convolution are taken."""

    def __init__(self):
        super().__init__()
        self.first, self.sums, self.second = nn.Linear(6, 6), Running(), nn.Conv3d(1, 2, 3)

    def forward(self, x):
        return self.second(self.sums(self.first(x))[:, None])


def _covered(module, *shape):
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    example = (torch.zeros(*shape),)
    program = torch.export.export(flat_graph(capture(module.eval(), example)), example)
    lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
    return coverage(lowered.exported_program(), "XNNPACK")


def test_a_net_that_is_taken_whole():
    found = _covered(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), 1, 3, 6, 6)
    assert (found.mac_share, found.partitions, found.left) == (1.0, 1, ())
    assert str(found) == "XNNPACK 100.0% of MACs, 1 partition; not delegated: nothing"


def test_what_is_left_is_named_with_its_module_and_counted_by_work():
    found = _covered(Split(), 1, 3, 8, 6)
    taken = 3 * 8 * 6 * 6 + 8 * (6 * 4) * 3 * 3 * 3  # the linear, and the first convolution
    missed = 2 * (6 * 4 * 2) * 3 * 3 * 3
    assert found.mac_share == pytest.approx(taken / (taken + missed))
    assert found.partitions == 1
    assert found.left == (
        LeftOver("aten.cumsum", "sums", 1),
        LeftOver("aten.unsqueeze_copy", "forward", 1),
        LeftOver("aten.convolution", "second", 1),
    )


@pytest.mark.parametrize(("module", "share"), [(nn.ReLU(), 1.0), (Cumulative(), 0.0)])
def test_without_any_work_the_share_is_all_or_nothing(module, share):
    found = _covered(module, 1, 3, 8, 6)
    assert (found.mac_share, found.partitions) == (share, int(share))


def test_operators_count_by_name_in_the_first_module_that_calls_them():
    found = _covered(nn.Sequential(Cumulative(), nn.ReLU(), Cumulative()), 1, 3, 8, 6)
    assert found.left == (LeftOver("aten.cumsum", "0", 2),)


def test_an_export_returns_it(tmp_path):
    example = (torch.zeros(1, 3, 6, 6),)
    graph = flat_graph(capture(Running().eval(), example))
    entries = EntryPoints({"forward": graph}, example)
    job = Job(
        Plan(recipe("fp32")),
        entries,
        entries,
        input_specs(graph),
        None,
        tmp_path / "a.pte",
        tmp_path,
    )
    found = write(job)
    assert found is not None
    assert found.left == (LeftOver("aten.cumsum", "forward", 1),)
