"""The table of supported MIL operators, filled: importing an operator family registers it."""

from exporters.mil import (  # noqa: F401 - imported for what they register
    ops_activation,
    ops_constexpr,
    ops_control,
    ops_conv,
    ops_elementwise,
    ops_index,
    ops_linear,
    ops_list,
    ops_norm,
    ops_recurrent,
    ops_reduce,
    ops_resize,
    ops_state,
    ops_tensor,
)
from exporters.mil.optable import OPERATIONS

__all__ = ["OPERATIONS"]
