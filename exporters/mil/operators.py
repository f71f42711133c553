"""The table of supported MIL operators, filled: importing an operator family registers it."""

from exporters.mil import (  # noqa: F401 - imported for what they register
    ops_activation,
    ops_blocks,
    ops_constexpr,
    ops_control,
    ops_conv,
    ops_elementwise,
    ops_fill,
    ops_gather,
    ops_image,
    ops_index,
    ops_linear,
    ops_list,
    ops_norm,
    ops_pool,
    ops_random,
    ops_recurrent,
    ops_reduce,
    ops_resize,
    ops_scatter,
    ops_sort,
    ops_state,
    ops_suppression,
    ops_tensor,
)
from exporters.mil.optable import OPERATIONS

__all__ = ["OPERATIONS"]
