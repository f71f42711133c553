"""Where a network keeps what can be quantized: weights by operator, kind and module.

A graph here is a flat `torch.fx` graph over ATen calls whose weights are `get_attr` nodes, as
`torch.export` gives it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from headtail.errors import UsageFault
from quantizers.recipe import Recipe, Rule, Storage

if TYPE_CHECKING:
    from torch import Tensor, fx

__all__ = ["Site", "module_of", "replace_weight", "sites", "storages", "weight_of"]

# Of all elements. With eight bits for these and four for the others EfficientNet-Lite0 has a third
# of its bytes in half precision; with a sixth, `w4` has 11.0 in place of 12.3 dB on other photos.
SMALL_SHARE = 0.27
_CONVOLUTIONS = ("conv1d.default", "conv2d.default")


@dataclass(frozen=True)
class Site:
    """One weight: its name in the graph, and the operators that use it.

    `nodes` are names of calls; `module` is the path of the first one's module. `shape` are the
    weight's sizes, output channels (or the rows of a table) first.
    """

    weight: str
    nodes: tuple[str, ...]
    module: str
    kinds: frozenset[str]
    shape: tuple[int, ...]
    groups: int = 1

    @property
    def elements(self) -> int:
        """Number of values."""
        count = 1
        for size in self.shape:
            count *= size
        return count

    def holds(self, block: int) -> bool:
        """Do blocks of that many input channels fit?"""
        return len(self.shape) > 1 and self.shape[1] % block == 0


def sites(graph: fx.GraphModule) -> list[Site]:
    """Every constant weight of a convolution, linear layer or embedding, in order of first use.

    A weight that operators use in different ways, or that something else reads too, is left alone.
    """
    found: dict[str, Site] = {}
    refused: set[str] = set()
    for node in graph.graph.nodes:
        site = _site(graph, node)
        if site is None:
            continue
        known = found.get(site.weight)
        if known is None:
            found[site.weight] = site
        elif (known.kinds, known.groups) == (site.kinds, site.groups):
            found[site.weight] = _also(known, site)
        else:
            refused.add(site.weight)
    readers = _readers(graph)
    kept = [
        site
        for site in found.values()
        if site.weight not in refused and readers[site.weight] == set(site.nodes)
    ]
    small = _small(kept)
    return [replace(s, kinds=s.kinds | {"small"}) if s.weight in small else s for s in kept]


def _small(found: Iterable[Site]) -> set[str]:
    """The smallest weights that together have no more than a share of all elements."""
    ordered = sorted(found, key=lambda site: site.elements)
    left = SMALL_SHARE * sum(site.elements for site in ordered)
    small = set()
    for site in ordered:
        left -= site.elements
        if left < 0:
            break
        small.add(site.weight)
    return small


def storages(found: Iterable[Site], recipe: Recipe) -> dict[str, Storage]:
    """Weight -> how `recipe` stores it.

    Where blocks do not fit (depthwise kernels, odd widths), a channel has one scale. Raises
    `UsageFault` for a rule of the recipe that no weight answers to.
    """
    found = list(found)
    for rule in recipe.rules:
        _check_rule(rule, found, recipe)
    asked = {site.weight: recipe.storage_of(site.module, site.kinds) for site in found}
    fits = {site.weight: site.holds(asked[site.weight].block or 1) for site in found}
    return {name: s if fits[name] else Storage(s.dtype) for name, s in asked.items()}


def module_of(node: fx.Node) -> str:
    """Path of the innermost module a node came from, as in `model.get_submodule(path)`."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    return str(stack[-1][0]) if stack else ""


def weight_of(graph: fx.GraphModule, name: str) -> Tensor:
    """The tensor called `name` in the graph."""
    path, _, leaf = name.rpartition(".")
    found: Tensor = getattr(graph.get_submodule(path), leaf)
    return found.detach()


def replace_weight(graph: fx.GraphModule, name: str, value: Tensor) -> None:
    """Make `value` the tensor called `name`; others that share the old one keep it."""
    import torch

    path, _, leaf = name.rpartition(".")
    owner = graph.get_submodule(path)
    if leaf in owner._parameters:
        del owner._parameters[leaf]
        owner.register_parameter(leaf, torch.nn.Parameter(value, requires_grad=False))
    else:
        setattr(owner, leaf, value)


def _site(graph: fx.GraphModule, node: fx.Node) -> Site | None:
    call = str(node.target).removeprefix("aten.")
    where = {"linear.default": 1, "embedding.default": 0} | dict.fromkeys(_CONVOLUTIONS, 1)
    if node.op != "call_function" or call not in where:
        return None
    source = node.args[where[call]]
    if getattr(source, "op", "") != "get_attr":
        return None
    name = str(source.target)  # type: ignore[union-attr]  # it has an op, so it is a node
    weight = weight_of(graph, name)
    groups = int(node.args[6]) if call in _CONVOLUTIONS and len(node.args) > 6 else 1  # type: ignore[arg-type]  # a number
    kinds = _kinds(call, node, weight, groups)
    shape = tuple(int(size) for size in weight.shape)
    return Site(name, (node.name,), module_of(node), kinds, shape, groups)


def _kinds(call: str, node: fx.Node, weight: Tensor, groups: int) -> frozenset[str]:
    if call not in _CONVOLUTIONS:
        return frozenset({call.removesuffix(".default")})
    kinds = {"conv"}
    if groups > 1 and weight.shape[1] == 1:
        kinds.add("depthwise")
    if _reads_input(node.args[0]):
        kinds.add("stem")
    return frozenset(kinds)


def _reads_input(value: Any) -> bool:
    """Is it the network's own input, but for padding?"""
    while getattr(value, "op", "") == "call_function" and "pad" in str(value.target):
        value = value.args[0]
    return getattr(value, "op", "") == "placeholder"


def _also(known: Site, site: Site) -> Site:
    nodes = (*known.nodes, *site.nodes)
    return Site(known.weight, nodes, known.module, known.kinds, known.shape, known.groups)


def _readers(graph: fx.GraphModule) -> Mapping[str, set[str]]:
    readers: dict[str, set[str]] = {}
    for node in graph.graph.nodes:
        if node.op == "get_attr":
            readers.setdefault(str(node.target), set()).update(user.name for user in node.users)
    return readers


def _check_rule(rule: Rule, found: list[Site], recipe: Recipe) -> None:
    if any(rule.applies(site.module, site.kinds) for site in found):
        return
    if rule.match == "*":
        return  # about kinds of operator, which a network need not have
    modules = sorted({site.module for site in found})
    raise UsageFault(
        f"The rule {rule} of {recipe.name} matches no weight.",
        expected=f"One of the {len(modules)} modules with weights, such as "
        f"{', '.join(modules[:6])}.",
        remedy="Correct the pattern, or leave the rule out.",
    )
