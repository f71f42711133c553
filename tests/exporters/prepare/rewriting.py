"""Applying one rewrite to a small module and looking at what came out."""

import importlib
from collections import Counter

import torch

from exporters.capture import capture, flat_graph
from headtail.metrics import snr_db

__all__ = ["rewritten", "targets"]


def rewritten(module, example, *names):
    """The graph after the rewrites, and the sites of the last; its answer is proven the same."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    module = module.eval()
    with torch.no_grad():
        expected = module(*example)
    graph = flat_graph(capture(module, example))
    sites = 0
    for name in names:
        sites = importlib.import_module(f"exporters.prepare.{name}").rewrite(graph)
        graph.graph.eliminate_dead_code()
        graph.graph.lint()
        graph.recompile()
    with torch.no_grad():
        given = graph(*example)
    expected = expected if isinstance(expected, tuple) else (expected,)
    for reference, candidate in zip(expected, given, strict=True):
        assert candidate.shape == reference.shape
        assert snr_db(reference=reference.numpy(), candidate=candidate.numpy()) > 110
    return graph, sites


def targets(graph):
    """How often the graph calls each operator, by its ATen name."""
    calls = (node for node in graph.graph.nodes if node.op == "call_function")
    return Counter(str(node.target).removeprefix("aten.").partition(".")[0] for node in calls)
