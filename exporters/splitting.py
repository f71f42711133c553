"""Cutting a flat graph in two at any topological position, tensors that cross it named and sized.

`torch.fx.passes.split_module` turns weights into inputs of the parts; here each side gets its own
`get_attr` nodes, so both sides are whole models that can be exported again, and head followed by
tail gives the same bits as the unsplit graph. A position between two calls is a *cut*; the results
that are computed before it and used after it are its boundary, however many they are (a skip
connection makes two). What follows from weights alone (positions, masks) does not cross: each side
computes it. Kang et al., Neurosurgeon, ASPLOS 2017,
https://doi.org/10.1145/3037697.3037698.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import fx
from torch.utils.flop_counter import FlopCounterMode

from exporters.capture import node_spec
from headtail.errors import SourceFault, UnknownName
from headtail.tensors import TensorSpec

__all__ = [
    "CutPoint",
    "choose_cuts",
    "cut_points",
    "find_cut",
    "head_at",
    "head_graph",
    "tail_graph",
]

# A head that does nearly everything leaves nothing to offload.
_MOST_WORK = 0.98


@dataclass(frozen=True)
class CutPoint:
    """A cut after call `node`: boundary tensors in graph order, and the head's share of the FLOPs.

    `id` is the module whose last call it follows (`blocks.8` -> `blocks_8`), else the node's name.
    """

    id: str
    node: str
    tensors: tuple[TensorSpec, ...]
    head_flops: float

    @property
    def elements(self) -> int:
        """Number of values that cross."""
        return sum(spec.elements for spec in self.tensors)


def cut_points(graph: fx.GraphModule, example: Sequence[torch.Tensor]) -> list[CutPoint]:
    """Every position at which only float32 tensors cross, in topological order.

    The codecs of the wire take no others. Tokens and half-precision values do not cross; a mask
    does, in the float32 form that `exporters.edges` gives it.
    """
    varying = _varying(graph)
    calls = [node for node in graph.graph.nodes if node.op == "call_function"]
    flops = _flops_after_each(graph, example)
    total = max(flops.values(), default=0) or 1
    points: list[CutPoint] = []
    taken: set[str] = set()
    for index, node in enumerate(calls[:-1]):
        boundary = _sendable(
            graph, [n for n in _boundary(graph, set(calls[: index + 1])) if n in varying], varying
        )
        if all(n.op == "placeholder" for n in boundary) or not all(map(_is_float, boundary)):
            continue
        cut_id = _cut_id(node, calls[index + 1], taken)
        taken.add(cut_id)
        specs = tuple(node_spec(n) for n in boundary)
        points.append(CutPoint(cut_id, node.name, specs, flops[node.name] / total))
    return points


def choose_cuts(
    points: Sequence[CutPoint], *, input_elements: float, most: int = 3
) -> list[CutPoint]:
    """Up to `most` cuts from the Pareto front of (work on the phone, values on the wire).

    A cut that sends more values than the input has loses to sending the input, so it is left out.
    The front is thinned evenly, keeping its ends.
    """
    front: list[CutPoint] = []
    # of positions with equal work and size (before and after a batch norm) the last ends a block
    order = sorted(
        enumerate(points), key=lambda item: (item[1].head_flops, item[1].elements, -item[0])
    )
    for _, point in order:
        useful = point.elements < input_elements and point.head_flops <= _MOST_WORK
        smaller = not front or point.elements < front[-1].elements
        whole_module = point.id != point.node
        if useful and smaller and whole_module:
            front.append(point)
    if len(front) <= most:
        return front
    step = (len(front) - 1) / max(most - 1, 1)
    return [front[round(i * step)] for i in range(most)]


def find_cut(points: Sequence[CutPoint], name: str) -> CutPoint:
    """The cut with this id or after this node."""
    by_name = {p.node: p for p in points} | {p.id: p for p in points}
    if name in by_name:
        return by_name[name]
    raise UnknownName("cut", name, (p.id for p in points))


def head_graph(graph: fx.GraphModule, cut: CutPoint) -> fx.GraphModule:
    """Inputs to boundary tensors, as a module that returns a tuple."""
    return head_at(graph, [spec.name for spec in cut.tensors])


def head_at(graph: fx.GraphModule, values: Sequence[str]) -> fx.GraphModule:
    """Inputs to the values of these names, as a module that returns them as a tuple."""
    return _copy(graph, keep=_upstream(graph, values), outputs=values)


def tail_graph(graph: fx.GraphModule, cut: CutPoint) -> fx.GraphModule:
    """Boundary tensors to outputs, as a module that returns a tuple."""
    output = next(node for node in graph.graph.nodes if node.op == "output")
    boundary = [spec.name for spec in cut.tensors]
    outputs = [node.name for node in output.args[0]]
    keep = _upstream(graph, outputs, stop=set(boundary))
    return _copy(graph, keep=keep, outputs=outputs, placeholders=boundary)


def _boundary(graph: fx.GraphModule, before: set[fx.Node]) -> list[fx.Node]:
    crossing = []
    for node in graph.graph.nodes:
        is_early = node in before or node.op == "placeholder"
        if is_early and any(user not in before for user in node.users):
            crossing.append(node)
    return crossing


def _sendable(
    graph: fx.GraphModule, crossing: Sequence[fx.Node], varying: Collection[fx.Node]
) -> list[fx.Node]:
    """`crossing` with every mask replaced by the float32 values it is made of, in graph order."""
    wanted, stack = set[fx.Node](), list(crossing)
    while stack:
        node = stack.pop()
        if _is_float(node) or node.op == "placeholder":
            wanted.add(node)
        else:
            stack.extend(n for n in node.all_input_nodes if n in varying)
    return [node for node in graph.graph.nodes if node in wanted]


def _is_float(node: fx.Node) -> bool:
    value = node.meta["val"]
    return isinstance(value, torch.Tensor) and value.dtype == torch.float32


def _varying(graph: fx.GraphModule) -> set[fx.Node]:
    """The values that depend on an input."""
    found: set[fx.Node] = set()
    for node in graph.graph.nodes:
        if node.op == "placeholder" or found.intersection(node.all_input_nodes):
            found.add(node)
    return found


def _cut_id(node: fx.Node, following: fx.Node, taken: set[str]) -> str:
    """The outermost module that ends with `node`."""
    here, there = _module_paths(node), _module_paths(following)
    ended = [path for path in here if path and path not in there]
    name = re.sub(r"[\W_]+", "_", ended[0]).strip("_") if ended else node.name
    if not name or name in taken:
        name = node.name
    while name in taken:  # a module may be called as a later node is
        name += "_"
    return name


def _module_paths(node: fx.Node) -> list[str]:
    stack = node.meta.get("nn_module_stack") or {}
    return [re.sub(r"^L\['self'\]\.?", "", str(path)) for path, _ in stack.values()]


def _upstream(graph: fx.GraphModule, names: Sequence[str], stop: Collection[str] = ()) -> set[str]:
    by_name = {node.name: node for node in graph.graph.nodes}
    wanted, stack = set[str](), list(names)
    while stack:
        name = stack.pop()
        if name in wanted or name in stop:
            continue
        wanted.add(name)
        stack.extend(source.name for source in by_name[name].all_input_nodes)
    return wanted


def _copy(
    graph: fx.GraphModule,
    *,
    keep: set[str],
    outputs: Sequence[str],
    placeholders: Sequence[str] = (),
) -> fx.GraphModule:
    part, made = fx.Graph(), dict[fx.Node, fx.Node]()
    by_name = {node.name: node for node in graph.graph.nodes}
    for name in placeholders:
        made[by_name[name]] = part.placeholder(name)
        made[by_name[name]].meta = dict(by_name[name].meta)
    for node in graph.graph.nodes:
        # a head keeps every input: all entry points of a file take what `forward` takes
        if node.name in keep or (node.op == "placeholder" and not placeholders):
            made[node] = part.node_copy(node, lambda source: made[source])
    part.output(tuple(made[by_name[name]] for name in outputs))
    part.lint()
    return fx.GraphModule(graph, part).eval()


class _Counter(fx.Interpreter):
    """Runs the graph once and notes the running FLOP total after each call."""

    def __init__(self, graph: fx.GraphModule, mode: FlopCounterMode) -> None:
        super().__init__(graph)
        self.mode = mode
        self.after: dict[str, int] = {}

    def run_node(self, n: fx.Node) -> object:
        result = super().run_node(n)
        self.after[n.name] = self.mode.get_total_flops()
        return result


def _flops_after_each(graph: fx.GraphModule, example: Sequence[torch.Tensor]) -> dict[str, int]:
    mode = FlopCounterMode(display=False)
    counter = _Counter(graph, mode)
    try:
        with mode, torch.no_grad():
            counter.run(*example)
    except RuntimeError as error:
        raise SourceFault(
            f"The captured graph does not run on its example inputs: {error}",
            expected="The example inputs are ones the model takes.",
            remedy="Return real inputs from get_args().",
        ) from error
    return counter.after
