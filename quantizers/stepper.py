"""A flat graph run call by call, from anywhere on, with other weights and shifted results.

Values are forgotten after their last use, so that what comes before a weight can be computed once
and kept only as far as something later reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headtail.errors import UsageFault
from headtail.tensors import Array
from quantizers.sites import weight_of

if TYPE_CHECKING:
    from torch import Tensor, fx

__all__ = ["Stepper"]


@dataclass(frozen=True)
class Stepper:
    """`nodes` in order, `spent`: what nothing reads after a node, `constants` by name."""

    nodes: tuple[fx.Node, ...]
    spent: Mapping[fx.Node, tuple[fx.Node, ...]]
    constants: Mapping[str, Any]

    @classmethod
    def of(cls, graph: fx.GraphModule) -> Stepper:
        """Of a graph as `torch.export` gives it (see `quantizers.sites`)."""
        nodes = tuple(graph.graph.nodes)
        last: dict[fx.Node, fx.Node] = {}
        for node in nodes:
            last.update(dict.fromkeys(node.all_input_nodes, node))
        spent: dict[fx.Node, list[fx.Node]] = {}
        for node, user in last.items():
            spent.setdefault(user, []).append(node)
        names = {str(node.target) for node in nodes if node.op == "get_attr"}
        constants = {name: _channels_last(weight_of(graph, name)) for name in names}
        return cls(nodes, {node: tuple(gone) for node, gone in spent.items()}, constants)

    @property
    def calls(self) -> tuple[fx.Node, ...]:
        """The nodes that compute something."""
        return tuple(node for node in self.nodes if node.op == "call_function")

    def start(self, sample: tuple[Array, ...]) -> dict[fx.Node, Any]:
        """Values of inputs and constants. Raises `UsageFault` for another number of inputs."""
        import torch

        inputs = [node for node in self.nodes if node.op == "placeholder"]
        if len(inputs) != len(sample):
            raise UsageFault(
                f"A sample has {len(sample)} arrays.",
                expected=f"The network has {len(inputs)} inputs.",
                remedy="Pass one array per input, in order.",
            )
        # copies: an array read from a file is read-only, which torch warns about
        tensors = [_channels_last(torch.tensor(array)) for array in sample]
        return dict(zip(inputs, tensors, strict=True)) | self.holding(self.constants)

    def holding(self, constants: Mapping[str, Any]) -> dict[fx.Node, Any]:
        """These constants as values of the nodes that read them."""
        return {
            node: _channels_last(constants[str(node.target)])
            for node in self.nodes
            if node.op == "get_attr" and str(node.target) in constants
        }

    def call(self, node: fx.Node, values: Mapping[fx.Node, Any]) -> Any:
        """What a call returns."""
        import torch
        from torch import fx

        target: Any = node.target
        if target is torch.ops.aten.view.default:  # channels last may need a copy
            target = torch.ops.aten.reshape.default
        arguments = fx.map_arg((node.args, node.kwargs), lambda argument: values[argument])
        return target(*arguments[0], **arguments[1])

    def step(self, node: fx.Node, values: dict[fx.Node, Any]) -> None:
        """Add what a call returns to `values`, and forget what it was the last to read."""
        self.keep(node, self.call(node, values), values)

    def keep(self, node: fx.Node, result: Any, values: dict[fx.Node, Any]) -> None:
        """Add what a call has returned, and forget what it was the last to read."""
        values[node] = result
        for gone in self.spent.get(node, ()):
            del values[gone]

    def finish(
        self,
        values: dict[fx.Node, Any],
        *,
        first: fx.Node | None = None,
        shifts: Mapping[str, Tensor] | None = None,
    ) -> list[Tensor]:
        """The outputs, by calling `first` (None: the first of all) and every node after it.

        `shifts` are added to what the calls of these names return. `values` is used up.
        """
        calls = self.calls
        for node in calls[calls.index(first) if first else 0 :]:
            self.step(node, values)
            if shifts and node.name in shifts:
                values[node] = values[node] + shifts[node.name]
        return self.outputs(values)

    def outputs(self, values: Mapping[fx.Node, Any]) -> list[Tensor]:
        """Those that are floating point; raises `UsageFault` if none is."""
        every = [values[node] for node in self.nodes[-1].all_input_nodes]
        found = [output for output in every if output.is_floating_point()]
        if not found:
            raise UsageFault(
                f"None of the network's {len(every)} outputs is floating point.",
                expected="What quantization does is measured as noise in an output.",
                remedy="Return the scores from forward(), before their argmax.",
            )
        return found


def _channels_last(value: Any) -> Any:
    """Images and kernels that way round: convolutions take half the time on a CPU."""
    import torch

    if isinstance(value, torch.Tensor) and value.ndim == 4:
        return value.contiguous(memory_format=torch.channels_last)
    return value
