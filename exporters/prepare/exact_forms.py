"""Operators that Core ML's converter writes wrong or not at all, written in forms that arrive.

The forms are in `coreml_forms`; here each is traced on the shapes of the call that it replaces and
its ATen calls take the place of that call.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

from torch import fx
from torch._ops import OpOverload
from torch.fx.experimental.proxy_tensor import make_fx

from exporters.prepare.coreml_forms import FORMS, Form, Given
from exporters.prepare.editing import Editor

__all__ = ["rewrite", "write_forms"]


def rewrite(graph: fx.GraphModule) -> int:
    """Number of calls that were written in another form."""
    return write_forms(graph, FORMS)


def write_forms(graph: fx.GraphModule, forms: Mapping[Callable[..., Any], Form]) -> int:
    """Replace every call that a form calls wrong; the number of calls."""
    sites = 0
    for node in list(graph.graph.nodes):
        form = forms.get(node.target) if node.op == "call_function" else None
        if form is None:
            continue
        given = _arguments(node)
        if form.wrong(fx.node.map_arg(given, lambda n: n.meta["val"])):
            _write(Editor(graph, node), node, form, given)
            sites += 1
    return sites


def _arguments(node: fx.Node) -> Given:
    """What the call gives, by the names of the operator's schema; defaults are left out."""
    assert isinstance(node.target, OpOverload)
    names = [argument.name for argument in node.target._schema.arguments]
    return dict(zip(names, node.args, strict=False)) | dict(node.kwargs)


def _write(editor: Editor, node: fx.Node, form: Form, given: Given) -> None:
    nodes = list(dict.fromkeys(node.all_input_nodes))
    values = [each.meta["val"] for each in nodes]

    def written(*tensors: Any) -> Any:
        known = dict(zip(nodes, tensors, strict=True))
        return form.write(**fx.node.map_arg(given, lambda n: known[n]))

    traced = make_fx(written)(*values)
    here: dict[fx.Node, fx.Node] = {}
    places = iter(nodes)
    for step in traced.graph.nodes:
        if step.op == "placeholder":
            here[step] = next(places)
        elif step.op == "call_function":
            args, kwargs = fx.node.map_arg((step.args, step.kwargs), lambda n: here[n])
            here[step] = editor.call(step.target, *args, **kwargs)
        elif step.op == "output":
            _replace(editor, node, fx.node.map_arg(step.args[0], lambda n: here[n]))
        else:
            raise AssertionError(f"a form has the constant {step.target}; forms have none")


def _replace(editor: Editor, node: fx.Node, results: Any) -> None:
    """Tuple results are taken apart by `getitem` in a flat graph; each finds its own."""
    if isinstance(results, fx.Node):
        editor.replace(results)
        return
    for user in list(node.users):
        assert user.target is operator.getitem
        user.replace_all_uses_with(results[user.args[1]])
        user.graph.erase_node(user)
    node.graph.erase_node(node)
