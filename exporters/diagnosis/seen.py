"""What a converter sees of a program: its operators after the converter's own decompositions.

`torch.export` keeps `linear`, `layer_norm` or `fft_rfft`; a converter decomposes them before it
looks for a lowering, each with a table of its own. So the question "is it supported" is asked of
the operators at the moment of lowering, and each is traced back to the call in the captured graph
that it came from (a mark in `node.meta["custom"]`, which torch carries through decompositions), to
its module and to its source line.

`python -m exporters.diagnosis.seen PROGRAM.pt2 TARGET OUT.json` does it in a process of its own,
since converters do not meet.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import operator
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import fx

from exporters.diagnosis.place import module_of, place_of
from headtail.errors import MissingDependency, UnknownName

__all__ = ["MARK", "SeenOp", "mark_origins", "see"]

MARK = "headtail_origin"

_PACKAGES = {"litert": "litert_torch", "executorch": "executorch", "coreml": "coremltools"}


@dataclasses.dataclass(frozen=True)
class SeenOp:
    """One call at the moment of lowering.

    `key` is the operator in the converter's own naming, under which the support table holds it;
    `origin` the call of the captured graph it came from, or ''; `delegated` is None where the
    format has no delegates at export; `dtype` is its result's; `refused` is why the converter's own
    verifier refuses the call, or ''.
    """

    op: str
    key: str
    origin: str
    module: str
    place: str
    delegated: bool | None
    dtype: str = ""
    refused: str = ""


def mark_origins(graph: fx.GraphModule) -> None:
    """Write each call's name into its meta data, where torch carries it along."""
    for node in graph.graph.nodes:
        if node.op == "call_function":
            node.meta["custom"] = {**(node.meta.get("custom") or {}), MARK: node.name}


def see(program: torch.export.ExportedProgram, target: str) -> list[SeenOp]:
    """The calls that the converter of `target` would have to lower.

    Raises `MissingDependency` without the converter; whatever the converter raises otherwise.
    """
    if target not in _VIEWS:
        raise UnknownName("format", target, _VIEWS)
    package = _PACKAGES[target]
    if importlib.util.find_spec(package) is None:
        raise MissingDependency(
            package, needed_for=f"checking {target}", install="pip install 'headtail[export]'"
        )
    return list(_VIEWS[target](program))


def coreml_key(name: str) -> str:
    """coremltools' registry name of an operator `namespace::name.overload`.

    Lower case, without the aten namespace and without overload names that it does not tell apart;
    tests hold this against coremltools' own translation.
    """
    kind = name.lower()
    if kind.startswith("__") and kind.endswith("__"):  # before the namespace goes, as it does it
        kind = kind[2:-2]
    for separator in ("::", "."):
        parts = kind.split(separator)
        if len(parts) > 1 and parts[0] in {"aten", "prim"}:
            parts = parts[1:]
        if len(parts) > 1 and parts[-1] in _UNTOLD_OVERLOADS:
            parts = parts[:-1]
        kind = separator.join(parts)
    return kind[:-1] if kind.endswith("_") else kind


_UNTOLD_OVERLOADS = {"default", "int", "tensor", "tensor_mode", "scalar", "tensor_scalar"}


def _coreml(program: torch.export.ExportedProgram) -> Iterator[SeenOp]:
    for node in _calls(program.run_decompositions({}).graph_module):
        name = _name(node.target)
        target: Any = node.target
        full = str(target.name()) if hasattr(target, "_schema") else name
        yield _seen(node, name, coreml_key(full), None)


def _litert(program: torch.export.ExportedProgram) -> Iterator[SeenOp]:
    from litert_torch._convert import core, signature
    from litert_torch.backend import export

    arguments, _ = program.example_inputs
    module = program.module(check_guards=False)
    described = signature.Signature("check", module, arguments, None)
    ready = core._run_convert_passes(core.export_torch_signature(described))
    found: list[SeenOp] = []

    def collect(decomposed: torch.export.ExportedProgram) -> None:
        for node in _calls(decomposed.graph_module):
            found.append(_seen(node, _name(node.target), _name(node.target), None))
        raise _SeenAllError

    with contextlib.suppress(_SeenAllError):
        export.exported_program_to_mlir(ready, _pre_lower_pass=collect)
    yield from found


class _SeenAllError(Exception):
    """Ends a lowering that was started only to look at its input."""


def _executorch(program: torch.export.ExportedProgram) -> Iterator[SeenOp]:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower
    from executorch.exir.verification.verifier import EXIREdgeDialectVerifier
    from torch._export.verifier import SpecViolationError

    lowered = to_edge_transform_and_lower(
        program,
        partitioner=[XnnpackPartitioner()],
        compile_config=EdgeCompileConfig(_check_ir_validity=False),
    )
    verifier = EXIREdgeDialectVerifier()

    def refusal(target: Any) -> str:
        try:
            verifier.check_valid_edge_op(target)
        except SpecViolationError:
            return "not in the core ATen operators, to which ExecuTorch keeps"
        return ""

    edge = lowered.exported_program()
    for node in _calls(edge.graph_module):
        if "call_delegate" in str(node.target):
            delegate: Any = node.args[0]
            inside = getattr(edge.graph_module, str(delegate.target))
            for part in _calls(inside.original_module.graph_module):
                yield _edge(part, delegated=True)
        else:
            yield dataclasses.replace(_edge(node, delegated=False), refused=refusal(node.target))


def _edge(node: fx.Node, *, delegated: bool) -> SeenOp:
    aten = getattr(node.target, "_op", node.target)
    key = _out_variant(node.target) if not delegated else _name(aten)
    return _seen(node, _name(aten), key, delegated)


def _out_variant(target: Any) -> str:
    """The kernel that the runtime will look for, as `aten::add.out`."""
    if not hasattr(target, "to_out_variant"):
        return target.name() if hasattr(target, "name") else _name(target)
    try:
        return str(target.to_out_variant().name())
    except RuntimeError:  # there is none: no kernel can be found under the functional name either
        return str(target._op.name())


def _calls(graph: fx.GraphModule) -> Iterable[fx.Node]:
    return (node for node in graph.graph.nodes if node.op == "call_function")


def _name(target: Any) -> str:
    if target is operator.getitem:
        return "getitem"
    if isinstance(target, torch._ops.OpOverload):
        return str(target)
    name = getattr(target, "__name__", None)
    return str(name() if callable(name) else name or target)


def _seen(node: fx.Node, op: str, key: str, delegated: bool | None) -> SeenOp:
    origin = (node.meta.get("custom") or {}).get(MARK, "")
    dtype = str(getattr(node.meta.get("val"), "dtype", "")).removeprefix("torch.")
    return SeenOp(op, key, origin, module_of(node), place_of(node), delegated, dtype)


_VIEWS: dict[str, Callable[[torch.export.ExportedProgram], Iterator[SeenOp]]] = {
    "coreml": _coreml,
    "executorch": _executorch,
    "litert": _litert,
}


def main(argv: list[str]) -> int:
    """Write what is seen, or the error, as JSON."""
    program_path, target, out = argv
    torch.set_num_threads(1)
    answer: dict[str, Any]
    try:
        seen = see(torch.export.load(program_path), target)
        answer = {"seen": [dataclasses.asdict(op) for op in seen]}
    except MissingDependency as error:
        answer = {"missing": error.package}
    except Exception as error:  # a converter's passes may raise anything; the parent reports it
        traceback.print_exc()
        lines = str(error).strip().splitlines() or ["(no message)"]
        answer = {"error": f"{type(error).__name__}: {lines[0][:400]}"}
    Path(out).write_text(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
