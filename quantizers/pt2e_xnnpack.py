"""What XNNPACK computes and executorch's lowering does not offer by itself.

Each through the hook that executorch has for it: `configs` of the partitioner says which operators
are taken in which precision, `register_node_visitor` who writes an operator into the delegate. A
test of each runs the file, so that an executorch that changes is noticed.

- Functions of one value (sigmoid, hard swish, ...) as int8: XNNPACK tabulates them.
- Float activations times 8- or 4-bit weights, one scale per output channel: its fully connected
  operator takes them (kernels `f32-qc8w-gemm`, `f32-qc4w-gemm`), its convolution does not. A 1x1
  convolution *is* a fully connected layer over channels-last pixels, and written as one.
  https://github.com/google/XNNPACK/blob/master/src/subgraph/fully-connected.c
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import fx

__all__ = ["is_pointwise", "partitioner"]

_OURS = "IntegerWeightsVisitor"


def partitioner() -> Any:
    """executorch's partitioner for XNNPACK, taking the operators above too."""
    from executorch.backends.xnnpack.partition import config as all_configs
    from executorch.backends.xnnpack.partition.config import gemm_configs, generic_node_configs
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner

    tables = ("Gelu", "Hardswish", "LeakyReLU", "Sigmoid", "Tanh")
    widened = {}
    for name in tables:
        config = getattr(generic_node_configs, f"{name}Config")
        widened[config] = _tabulating(config)
    for name in ("Linear", "Convolution"):
        config = getattr(gemm_configs, f"{name}Config")
        widened[config] = _taking_weights(config)
    _register_visitors()
    configs = [widened.get(config, config) for config in all_configs.ALL_PARTITIONER_CONFIGS]
    return XnnpackPartitioner(configs=configs)


def is_pointwise(shape: Any, stride: Any, padding: Any, groups: int) -> bool:
    """Is a 2-D convolution a fully connected layer over pixels?"""
    plain = all(item == 1 for item in stride) and not any(padding)
    return len(shape) == 4 and tuple(shape[2:]) == (1, 1) and plain and groups == 1


def _tabulating(config: Any) -> Any:
    from executorch.backends.xnnpack.partition.config.xnnpack_config import ConfigPrecisionType

    both = [ConfigPrecisionType.FP32, ConfigPrecisionType.STATIC_QUANT]
    return type(config.__name__, (config,), {"supported_precision_types": lambda _: both})


def _taking_weights(config: Any) -> Any:
    """Layers whose weights alone are integers, without a bias."""
    from executorch.backends.xnnpack.utils.quant_utils import tag_as_implicit_q_dq

    class Taking(config):  # type: ignore[misc]  # executorch has no types
        def get_deps(self, node: fx.Node, program: Any) -> tuple[bool, list[fx.Node]]:
            if not _has_integer_weights_only(node):
                taken: tuple[bool, list[fx.Node]] = super().get_deps(node, program)
                return taken
            weight: Any = node.args[1]
            tag_as_implicit_q_dq(weight)
            return True, [weight, *weight.all_input_nodes]

    Taking.__name__ = config.__name__
    return Taking


def _has_integer_weights_only(node: fx.Node) -> bool:
    from executorch.backends.xnnpack.utils.quant_utils import is_dequant

    source, weight, *rest = node.args
    biased = bool(rest) and rest[0] is not None
    if not is_dequant(weight) or is_dequant(source) or biased:
        return False
    if "convolution" not in str(node.target):
        return True
    stride, padding, groups = rest[1], rest[2], rest[-1]
    return is_pointwise(weight.meta["val"].shape, stride, padding, groups)  # type: ignore[union-attr,arg-type]  # a node


def _register_visitors() -> None:
    import executorch.backends.xnnpack.operators  # noqa: F401  # registers executorch's own
    from executorch.backends.xnnpack.operators.node_visitor import (
        get_node_visitors,
        register_node_visitor,
    )

    visitors = get_node_visitors(None, {}, None)
    for target in ("aten.convolution.default", "aten.linear.default"):
        base = type(visitors[target])
        if base.__name__ != _OURS:
            register_node_visitor(type(_OURS, (base,), {"define_node": _definition(base)}))


def _definition(base: Any) -> Any:
    def define_node(self: Any, node: fx.Node, graph: Any, ids: dict[Any, int], handle: int) -> None:
        if _has_integer_weights_only(node):
            _write(self, node, graph, ids, handle)
        else:
            base.define_node(self, node, graph, ids, handle)

    return define_node


def _write(visitor: Any, node: fx.Node, graph: Any, ids: dict[Any, int], handle: int) -> None:
    """A layer without a bias, as executorch's own visitors write one with float weights."""
    from executorch.backends.xnnpack._passes.fuse_activation_pass import FuseActivationPass
    from executorch.backends.xnnpack.operators.quant_params import QuantParams
    from executorch.backends.xnnpack.serialization import xnnpack_graph_schema as schema
    from executorch.backends.xnnpack.utils.xnnpack_constants import XNN_INVALID_VALUE_ID

    source, weight = node.args[:2]
    pixels = "convolution" in str(node.target)
    visitor.define_tensor(source, graph, ids, convert_to_nhwc=pixels)
    levels = QuantParams.from_weights(weight, visitor.exported_program)
    visitor.define_tensor(weight, graph, ids, quant_params=levels)
    held = graph.xvalues[ids[weight]].xvalue_union.tensor_value
    held.num_dims, held.dims = 2, held.dims[:2]
    visitor.define_tensor(node, graph, ids, convert_to_nhwc=pixels)
    layer = schema.XNNFullyConnected(
        input1_id=ids[source],
        filter_id=ids[weight],
        bias_id=XNN_INVALID_VALUE_ID,
        output_id=ids[node],
        flags=0,
    )
    bounds = FuseActivationPass.get_fused_activation(node)
    graph.xnodes.append(schema.XNode(layer, handle, bounds))
