"""`torch.export` with what everybody forgets done or refused, and the flat graph that is cut.

Two captures are made of a model: one with the static shapes of the example inputs, which the phone
formats are written from, and one with a symbolic batch axis, which the server's tail is made of
(`exporters.batching` matches the two). A model that writes in place is made functional first: a cut
between a value and what is written over it would be wrong. One that keeps state between calls or
draws random numbers is refused.
"""

from __future__ import annotations

import itertools
import re
import traceback
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.utils._pytree as pytree
from torch import fx
from torch.export import Dim, ExportedProgram

from exporters.edges import carry_masks, narrow_edges
from exporters.functional import is_mutable, rename_in_place
from exporters.spelling import plain_calls
from headtail.errors import SourceFault
from headtail.tensors import Array, TensorSpec

__all__ = [
    "capture",
    "capture_batched",
    "capture_sized",
    "check_model",
    "flat_graph",
    "input_specs",
    "narrowed",
    "node_spec",
    "output_specs",
]

_DTYPES = {
    torch.float32: "f32",
    torch.float16: "f16",
    torch.int32: "i32",
    torch.int8: "i8",
    torch.uint8: "u8",
    torch.bool: "bool",
}
_MAX_BATCH = 1024


def check_model(module: torch.nn.Module, example: Sequence[Any]) -> None:
    """Refuse what would convert and then be wrong; raises `SourceFault`."""
    training = [name or type(module).__name__ for name, m in module.named_modules() if m.training]
    if training:
        raise SourceFault(
            f"The model is in train mode ({len(training)} modules, first {training[0]!r}).",
            expected="Dropout and batch norm must behave as at inference.",
            remedy="Call model.eval() before exporting, or in get_model().",
        )
    _check_weights(module)
    if not example:
        raise SourceFault(
            "There are no example inputs.",
            expected="One tensor per argument of forward(), batch first.",
            remedy="Return a tuple of tensors from get_args(), or pass inputs=(...).",
        )
    for index, value in enumerate(example):
        _check_input(index, value)


def _check_weights(module: torch.nn.Module) -> None:
    for name, value in [*module.named_parameters(), *module.named_buffers()]:
        if (value.is_floating_point() or value.is_complex()) and value.dtype != torch.float32:
            raise SourceFault(
                f"Weight {name!r} is {str(value.dtype).removeprefix('torch.')}.",
                expected="Every artifact is compared with the float32 model.",
                remedy="Call model.float(); the precisions of the export make the smaller files.",
            )


def _check_input(index: int, value: Any) -> None:
    if not isinstance(value, torch.Tensor):
        raise SourceFault(
            f"Example input {index} is a {type(value).__name__}.",
            expected="Every input is a torch.Tensor.",
            remedy="Wrap the model so that forward() takes tensors only.",
        )
    if value.dtype not in {*_DTYPES, torch.int64}:
        raise SourceFault(
            f"Example input {index} is {str(value.dtype).removeprefix('torch.')}.",
            expected="Phone runtimes take float32, float16, int32, int8, uint8 or bool.",
            remedy="Convert it, for example float64 to float32 (x.float()).",
        )
    if not value.is_contiguous():
        raise SourceFault(
            f"Example input {index} is not contiguous (shape {list(value.shape)}, strides "
            f"{list(value.stride())}).",
            expected="Converters read row-major memory; channels-last inputs convert wrongly.",
            remedy="Pass x.contiguous().",
        )
    if value.ndim == 0 or value.shape[0] != 1:
        raise SourceFault(
            f"Example input {index} has shape {list(value.shape)}.",
            expected="Phones run one sample at a time: axis 0 is the batch, of size 1.",
            remedy="Pass x[:1].",
        )


def capture(module: torch.nn.Module, example: Sequence[torch.Tensor]) -> ExportedProgram:
    """Capture with static shapes; raises `SourceFault` with the operator or line at fault."""
    return _export(module, tuple(example), None)


def capture_sized(
    module: torch.nn.Module,
    example: Sequence[torch.Tensor],
    shapes: Sequence[Mapping[int, Any]],
) -> ExportedProgram:
    """Capture with the symbolic axes of `shapes`, one mapping per input; no such axis is 1."""
    return _export(module, tuple(example), tuple(dict(axes) for axes in shapes))


def capture_batched(
    module: torch.nn.Module, example: Sequence[torch.Tensor]
) -> ExportedProgram | None:
    """Capture with a symbolic batch axis on every input, or None if the model fixes its batch."""
    batch = Dim("batch", min=1, max=_MAX_BATCH)
    # size 1 would be specialised; two equal rows trace the same program
    rows = tuple(torch.cat([value, value]) for value in example)
    try:
        return _export(module, rows, tuple({0: batch} for _ in rows))
    except SourceFault:
        return None


def _export(
    module: torch.nn.Module, example: tuple[torch.Tensor, ...], shapes: Any
) -> ExportedProgram:
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # torch's own advice to its callers' callers
            program = torch.export.export(module, example, dynamic_shapes=shapes)
    except Exception as error:  # torch.export raises what the traced code raises
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise SourceFault(
            f"torch.export cannot capture the model{_place(error)}: {type(error).__name__}: "
            f"{reason[0][:300]}",
            expected="forward() must be traceable with the example inputs.",
            remedy="See https://docs.pytorch.org/docs/stable/export.html for what export takes; "
            "rewrite the named line.",
        ) from error
    _check_outputs(program)
    _check_random(program)
    return _functional(program)


def _place(error: Exception) -> str:
    """The innermost line of the model's own code that was being traced."""
    torch_folder = str(Path(torch.__file__).parent)
    ours = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((torch_folder, __file__, "<"))
    ]
    return f" at {Path(ours[-1].filename).name}:{ours[-1].lineno} ({ours[-1].line})" if ours else ""


def _check_outputs(program: ExportedProgram) -> None:
    output = next(node for node in program.graph.nodes if node.op == "output")
    constants = [value for value in output.args[0] if not isinstance(value, fx.Node)]
    if constants or not output.args[0]:
        raise SourceFault(
            f"The model returns {constants[0]!r}." if constants else "The model returns nothing.",
            expected="Every output is a tensor that depends on the inputs.",
            remedy="Wrap the model so that forward() returns its tensors only.",
        )


def _output_names(program: ExportedProgram) -> tuple[str, ...]:
    """What the outputs are called: keys of a dict, fields of a dataclass, `output_0`, ..."""
    spec = program.call_spec.out_spec
    if spec is None or spec.is_leaf():
        return ("output",)
    tree = pytree.tree_unflatten(list(range(spec.num_leaves)), spec)
    paths, _ = pytree.tree_flatten_with_path(tree)
    names = ["_".join(map(_part, path)) for path, _ in paths]
    if names == ["0"]:
        return ("output",)
    return _distinct([f"output_{name}" if name[0].isdigit() else name for name in names])


def _part(key: Any) -> str:
    """One step of a path into the outputs, as letters, digits and underscores."""
    step = getattr(key, "key", getattr(key, "idx", getattr(key, "name", key)))
    return re.sub(r"\W+", "_", str(step)).strip("_") or "value"


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Names that several outputs have get numbers that no other name has."""
    taken = {name for name in names if names.count(name) == 1}
    made = []
    for name in names:
        numbered = (f"{name}_{i}" for i in itertools.count())
        found = name if name in taken else next(n for n in numbered if n not in taken)
        taken.add(found)
        made.append(found)
    return tuple(made)


def _check_random(program: ExportedProgram) -> None:
    for node in program.graph.nodes:
        if _draws(node):
            raise SourceFault(
                f"The model draws random numbers at inference ({node.target} in "
                f"{_module_name(node)!r}).",
                expected="The same input gives the same output, on the phone and on the server.",
                remedy="Switch it off in eval mode: F.dropout(x, training=self.training).",
            )


def _draws(node: fx.Node) -> bool:
    tags = getattr(node.target, "tags", ())
    if torch.Tag.nondeterministic_seeded not in tags:
        return False
    schema = node.target._schema  # type: ignore[union-attr]  # what has tags is an OpOverload
    given = dict(zip((argument.name for argument in schema.arguments), node.args, strict=False))
    given |= node.kwargs
    # dropout and attention are random only if asked to be
    switches = {a.name for a in schema.arguments} & {"train", "training", "dropout_p"}
    return not switches or any(given.get(name) for name in switches)


def _module_name(node: fx.Node) -> str:
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    return str(stack[-1][0]).removeprefix("L['self'].") if stack and stack[-1][0] else "forward"


def _functional(program: ExportedProgram) -> ExportedProgram:
    if not any(map(is_mutable, program.graph.nodes)) or rename_in_place(program.graph):
        return program
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own advice to its callers' callers
        functional: ExportedProgram = program.run_decompositions({})
    signature = functional.graph_signature
    written = [*signature.buffers_to_mutate.values(), *signature.user_inputs_to_mutate.values()]
    if written:
        raise SourceFault(
            f"The model writes to {written[0]!r} when it runs.",
            expected="A model keeps nothing between calls and leaves its inputs alone.",
            remedy="Take the state as an input and return the new one as an output.",
        )
    return functional


def flat_graph(program: ExportedProgram) -> fx.GraphModule:
    """One graph of ATen calls with weights as `get_attr`, without guards, dropout or dead code."""
    module = program.module(check_guards=False)
    _freeze(module)
    graph = module.graph
    for node in list(graph.nodes):
        if node.op == "call_module" or node.target is torch.ops.aten.dropout.default:
            if node.args:
                node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    output = next(node for node in graph.nodes if node.op == "output")
    flat = pytree.tree_leaves(output.args[0])
    output.args = (tuple(flat),)
    output.meta["names"] = _output_names(program)
    plain_calls(graph)
    narrow_edges(graph)
    graph.set_codegen(fx.graph.CodeGen())  # plain tuple in, plain tuple out: no pytrees
    graph.eliminate_dead_code()
    carry_masks(graph)
    module.recompile()
    return module


def narrowed(array: Array) -> Array:
    """int64 as int32, anything else as it is; raises `SourceFault` for values that do not fit."""
    if array.dtype != np.int64:
        return array
    if array.size and (array.min() < -(2**31) or array.max() >= 2**31):
        raise SourceFault(
            f"An int64 input holds values from {array.min()} to {array.max()}.",
            expected="On phones it is int32.",
            remedy="Give values that fit into 32 bits.",
        )
    return array.astype(np.int32)


def _freeze(module: torch.nn.Module) -> None:
    """Parameters without gradients, over the same memory; the caller's own model is left alone.

    torch picks matmul kernels by `requires_grad`, and the tail, read from disk, has none: the last
    bits would differ.
    """
    frozen: dict[torch.nn.Parameter, torch.nn.Parameter] = {}
    for name, parameter in list(module.named_parameters(remove_duplicate=False)):
        path, _, leaf = name.rpartition(".")
        if parameter not in frozen:
            frozen[parameter] = torch.nn.Parameter(parameter.detach(), requires_grad=False)
        setattr(module.get_submodule(path), leaf, frozen[parameter])


def input_specs(graph: fx.GraphModule) -> tuple[TensorSpec, ...]:
    """Specs of the placeholders, in order."""
    return tuple(node_spec(node) for node in graph.graph.nodes if node.op == "placeholder")


def output_specs(graph: fx.GraphModule) -> tuple[TensorSpec, ...]:
    """Specs of the outputs by the model's own names, else `output`, or `output_0`, ..."""
    output = next(node for node in graph.graph.nodes if node.op == "output")
    specs = [node_spec(node) for node in output.args[0]]
    names = output.meta.get("names") or [f"output_{i}" for i in range(len(specs))]
    return tuple(TensorSpec(n, s.dtype, s.shape) for n, s in zip(names, specs, strict=True))


def node_spec(node: fx.Node) -> TensorSpec:
    """Name, dtype and shape of a graph value; raises `SourceFault` for what no runtime takes."""
    value = node.meta["val"]
    if value.dtype not in _DTYPES:
        raise SourceFault(
            f"Value {node.name!r} is {str(value.dtype).removeprefix('torch.')}.",
            expected="Inputs, outputs and cut tensors are float32, float16, int32, int8, uint8 or "
            "bool.",
            remedy="Convert it inside the model, for example x.int() for an int64 arg-max.",
        )
    return TensorSpec(node.name, _DTYPES[value.dtype], tuple(int(size) for size in value.shape))
