"""MIL states: iOS18.states.read_state, and write_state of coreml_dialect's coreml_update_state.

https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html
A file holds write_state (no result) and read_state; coreml_update_state is saved as those two.
"""

from __future__ import annotations

import torch

from exporters.mil.optable import Arguments, operation


@operation("read_state", required="input")
def read_state(a: Arguments) -> torch.Tensor:
    """iOS18.states.read_state: a copy of what the state holds."""
    return a.state("input").tensor.clone()


@operation("write_state", required="input data")
def write_state(a: Arguments) -> tuple[torch.Tensor, ...]:
    """The state holds `data` from now on."""
    cell, data = a.state("input"), a.tensor("data")
    wrapped = cell.kind.wrapped
    if data.dtype != wrapped.dtype.carried or not wrapped.accepts(tuple(data.shape)):
        raise ValueError(f"{data.dtype}{list(data.shape)} is written to a {cell.kind}")
    cell.tensor = data
    return ()
