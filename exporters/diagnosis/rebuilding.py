"""The flat graph of a bundle, from its tail: the whole program, so that it needs no source.

The tail keeps the names of weights and calls but neither modules nor source lines. A call that
reads `blocks_0_conv_weight` belongs to module `blocks_0_conv`; one that reads no weight belongs to
the module of the call before it. So what `verify --bisect` calls a module is what it can see of it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import fx

from exporters.capture import capture, flat_graph
from exporters.graphfile import TailProgram
from exporters.verification import golden_inputs
from headtail.bundle import Bundle
from headtail.errors import UsageFault

__all__ = ["graph_of_bundle"]

_PARAMETER = re.compile(r"_(weight|bias|running_mean|running_var|gamma|beta)(_\d+)?$")


def graph_of_bundle(bundle: Bundle) -> fx.GraphModule:
    """The captured model with the static shapes of the golden inputs.

    Raises `UsageFault` for a bundle without a tail (a model that is not split).
    """
    if not bundle.manifest.tails:
        raise UsageFault(
            f"{bundle.path.name} holds no tail.",
            expected="The tail is the whole program, of which parts are converted.",
            remedy="Use headtail check SOURCE --bisect, or export with cuts.",
        )
    tail = bundle.manifest.tails[0]
    program_path, weights_path = bundle.path / tail.program, bundle.path / tail.weights
    program = TailProgram.read(program_path, weights_path)
    return rebuilt(program, [torch.from_numpy(a) for a in golden_inputs(bundle)[0]])


def rebuilt(program: TailProgram, example: Sequence[torch.Tensor]) -> fx.GraphModule:
    """The program's graph on `example`, its calls marked with the modules that can be seen."""
    entered = program.enter(program.input_names)
    graph = getattr(entered, "program", entered)
    assert isinstance(graph, fx.GraphModule)
    _mark_modules(graph)
    return flat_graph(capture(graph, example))


def _mark_modules(graph: fx.GraphModule) -> None:
    module = ""
    for node in graph.graph.nodes:
        if node.op != "call_function":
            continue
        read = [str(n.meta["tail_name"]) for n in node.all_input_nodes if n.op == "get_attr"]
        named = [_PARAMETER.sub("", name) for name in read if _PARAMETER.search(name)]
        module = named[0] if named else module
        node.meta["nn_module_stack"] = {"": ("", "Model"), module: (module, "Module")}
