"""What the lean process leaves out is still there to be left out, and no byte depends on it."""

import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import nn
from torch._export import utils
from torch.fx.traceback import NodeSource

from exporters import lean as leaving
from exporters.capture import capture, flat_graph
from exporters.lean import lean
from quantizers.audit import audit
from tests.exporters.converted import converted

# of torch's own calls and executorch's imports, which converter processes do not show either
pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.scores = nn.Linear(8, 4)

    def forward(self, x):
        return torch.nn.functional.gelu(self.scores(x))


@pytest.fixture(scope="module")
def graph():
    torch.manual_seed(0)
    return flat_graph(capture(Net().eval(), (torch.ones(1, 8),)))


def decomposed(graph):
    program = torch.export.export(graph, (torch.ones(1, 8),)).run_decompositions()
    return str(program.graph_module.graph), program.graph_signature


def test_tracing_gives_the_same_program(graph):
    plain = decomposed(graph)
    with lean([graph]):
        assert decomposed(graph) == plain


def test_everything_is_put_back(graph):
    before = utils._materialize_cpp_cia_ops
    with lean([graph]):
        assert utils._materialize_cpp_cia_ops is not before
    assert utils._materialize_cpp_cia_ops is before
    assert "__deepcopy__" not in vars(NodeSource)


def test_the_registry_is_walked_once(graph, monkeypatch):
    """And it is still walked by this name: otherwise the switch switches nothing."""
    walks = []
    before = utils._materialize_cpp_cia_ops

    def walk():
        walks.append(1)
        before()

    monkeypatch.setattr(utils, "_materialize_cpp_cia_ops", walk)
    decomposed(graph)
    plain = len(walks)
    walks.clear()
    with lean([graph]):
        decomposed(graph)
    assert plain > 10
    assert len(walks) == 1


def test_an_operator_registered_meanwhile_is_seen(graph):
    with lean([graph]):
        decomposed(graph)
        library = torch.library.Library("headtail_lean", "DEF")
        library.define("twice(Tensor x) -> Tensor")
        library.impl("twice", lambda x: x * 2, "CompositeImplicitAutograd")
        assert torch.ops.headtail_lean.twice.default in utils._collect_all_valid_cia_ops()
        library._destroy()


def test_provenance_is_copied_by_torch_itself(graph):
    """The chain is still copied at each pass: otherwise the switch switches nothing."""
    copies = []

    def counted(self, memo):
        copies.append(self)
        return self

    with leaving._instead(NodeSource, "__deepcopy__", counted):
        decomposed(graph)
    assert copies


@pytest.mark.slow
def test_executorch_writes_the_same_bytes(graph):
    from executorch.backends.xnnpack.partition.graphs import bilinear_2d
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    asked = []

    def write(context):
        with context:
            program = torch.export.export(graph, (torch.ones(1, 8),))
            lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
            return bytes(lowered.to_executorch().buffer)

    before = bilinear_2d.get_graphs_dict

    def patterns():
        asked.append(1)
        return before()

    with leaving._instead(bilinear_2d, "get_graphs_dict", patterns):
        plain = write(nullcontext())
        assert asked  # by this name the patterns are still compiled
        asked.clear()
        assert write(lean([graph])) == plain
    assert not asked


def test_unused_libraries_are_absent_for_a_process_of_its_own(monkeypatch):
    import gc

    before = gc.get_threshold()
    monkeypatch.setitem(sys.modules, "xgboost", sys.modules.get("xgboost"))
    for name in leaving._UNUSED["coreml"]:
        monkeypatch.setitem(sys.modules, name, sys.modules.get(name, None))
    leaving.plain_imports("coreml")
    try:
        assert sys.modules["xgboost"] is None
        assert gc.get_threshold() > before
    finally:
        gc.set_threshold(*before)


READ = """
import sys
from pathlib import Path
from exporters.lean import reading_only
from exporters.runtimes import runtime_for
from quantizers.audit import audit

reading_only(sys.argv[2])
path = Path(sys.argv[1])
print(audit(path, sys.argv[2]))
runtime_for(sys.argv[2])
print(sorted({"executorch.exir.program", "torch"} & sys.modules.keys()))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("format_name", "needed"), [("executorch", ["torch"]), ("litert", [])])
def test_a_file_is_read_as_well_without_what_writes_it(tmp_path_factory, format_name, needed):
    made = converted(tmp_path_factory.getbasetemp(), format_name, "Ordered")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", READ, str(made.path), format_name],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines() == [str(audit(made.path, format_name)), str(needed)]
