"""A bundle's tail gives the captured graph back, modules as far as weights name them."""

import pytest
import torch

from exporters.batching import batched_twin
from exporters.capture import capture, flat_graph
from exporters.diagnosis.place import module_of
from exporters.diagnosis.rebuilding import rebuilt
from exporters.graphfile import TailProgram
from exporters.splitting import cut_points
from tests.exporters.nets import Residual, settle


@pytest.mark.parametrize("one_sample", [True, False])
def test_same_calls_and_values(one_sample, tmp_path):
    model, example = settle(Residual()), (torch.randn(1, 3, 32, 32),)
    graph = flat_graph(capture(model, example))
    kept = graph if one_sample else batched_twin(model, example, graph)
    assert kept is not None
    TailProgram.of(kept, one_sample=one_sample).write(tmp_path / "p", tmp_path / "w")
    again = rebuilt(TailProgram.read(tmp_path / "p", tmp_path / "w"), example)
    assert torch.equal(again(*example)[0], graph(*example)[0])
    nodes = cut_points(graph, example), cut_points(again, example)
    assert [c.node for c in nodes[0]] == [c.node for c in nodes[1]]
    modules = {n.name: module_of(n) for n in again.graph.nodes if n.op == "call_function"}
    assert modules["conv2d"] == "stem_0"
    assert modules["batch_norm"] == modules["hardtanh"] == "stem_1"
    assert modules["linear"] == "head"
