"""MIL recurrent layers: iOS15.recurrent, iOS17.recurrent, iOS18.recurrent.gru.

https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html
x is (steps, batch, inputs), states are (batch, hidden). `reverse` reads the steps from the last to
the first and gives results in the order they are computed; the second direction of a bidirectional
LSTM gives them in the order of x.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from exporters.mil.optable import Arguments, operation

Activation = Callable[[torch.Tensor], torch.Tensor]
HARD_SLOPE, HARD_OFFSET = 0.2, 0.5
X_RANK = 3


def _hard_sigmoid(x: torch.Tensor) -> torch.Tensor:
    return (x * HARD_SLOPE + HARD_OFFSET).clamp(0.0, 1.0)


# The words the operators know; those with parameters have their default ones, so that scaled_tanh
# is tanh. `sigmoid_hard` is what rnn calls hard_sigmoid.
ACTIVATIONS: dict[str, Activation] = {
    "hard_sigmoid": _hard_sigmoid,
    "linear": lambda x: x,
    "relu": torch.relu,
    "scaled_tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "sigmoid_hard": _hard_sigmoid,
    "tanh": torch.tanh,
}


def _activation(a: Arguments, name: str) -> Activation:
    word = a.text(name).lower()
    if word not in ACTIVATIONS:
        raise ValueError(f"{name} {word!r} is not one of {sorted(ACTIVATIONS)}")
    return ACTIVATIONS[word]


def _direction(a: Arguments, known: tuple[str, ...]) -> str:
    word = a.text("direction")
    if word not in known:
        raise ValueError(f"direction {word!r} is not one of {list(known)}")
    return word


def _in_order(a: Arguments) -> torch.Tensor:
    """x in the order it is processed, for the operators with one direction."""
    x = a.tensor("x")
    return x.flip(0) if _direction(a, ("forward", "reverse")) == "reverse" else x


def _check(x: torch.Tensor, weight_ih: torch.Tensor, weight_hh: torch.Tensor, gates: int) -> None:
    hidden = weight_hh.shape[-1]
    shapes = [list(weight_ih.shape), list(weight_hh.shape)]
    wanted = [[gates * hidden, x.shape[-1]], [gates * hidden, hidden]]
    if x.dim() != X_RANK or not x.shape[0] or not hidden or shapes != wanted:
        raise ValueError(
            f"x {list(x.shape)}, weight_ih {list(weight_ih.shape)} and weight_hh "
            f"{list(weight_hh.shape)} are not {gates} gates over steps of inputs"
        )


def _split(tensor: torch.Tensor, size: int, axis: int) -> tuple[torch.Tensor, ...]:
    return torch.split_with_sizes(tensor, [size] * (tensor.shape[axis] // size), axis)


def _or_zeros(tensor: torch.Tensor | None, count: int) -> torch.Tensor:
    tensor = torch.zeros(count) if tensor is None else tensor
    if tensor.shape != (count,):
        raise ValueError(f"{list(tensor.shape)} where {count} values belong")
    return tensor


def _sequence(a: Arguments, states: list[torch.Tensor]) -> torch.Tensor:
    """All hidden states, or the last one, along the first axis."""
    return torch.stack(states if a.flag("output_sequence") else states[-1:])


SEQUENTIAL = "x initial_h weight_ih weight_hh"


@operation(
    "rnn",
    required=SEQUENTIAL,
    optional={"bias": None, "direction": "forward", "output_sequence": False, "activation": "tanh"},
)
def rnn(a: Arguments) -> tuple[torch.Tensor, ...]:
    """iOS15.recurrent.rnn: h = activation(W_ih x + W_hh h + bias)."""
    x, weight_hh, hidden = _in_order(a), a.tensor("weight_hh"), a.tensor("initial_h")
    _check(x, a.tensor("weight_ih"), weight_hh, 1)
    activation = _activation(a, "activation")
    fed = x @ a.tensor("weight_ih").T + _or_zeros(a.optional_tensor("bias"), weight_hh.shape[0])
    states = []
    for step in fed:
        hidden = activation(step + hidden @ weight_hh.T)
        states.append(hidden)
    return _sequence(a, states), hidden


@operation(
    "gru",
    required=SEQUENTIAL,
    optional={
        "bias": None,
        "direction": "forward",
        "output_sequence": False,
        "recurrent_activation": "sigmoid",
        "activation": "tanh",
        "reset_after": False,
        "input_bias": None,
    },
)
def gru(a: Arguments) -> tuple[torch.Tensor, ...]:
    """iOS18.recurrent.gru; gates in the order reset, output, update.

    reset_after=False resets the hidden state before it is multiplied: W_ho (r * h); True after it,
    where `bias`, the hidden state's, is reset too: r * (W_ho h + bias). `input_bias` is x's.
    """
    x, weight_hh, hidden = _in_order(a), a.tensor("weight_hh"), a.tensor("initial_h")
    _check(x, a.tensor("weight_ih"), weight_hh, 3)
    gates, after = _activation(a, "recurrent_activation"), a.flag("reset_after")
    activation, size = _activation(a, "activation"), weight_hh.shape[1]
    bias = _or_zeros(a.optional_tensor("bias"), 3 * size)
    fed = x @ a.tensor("weight_ih").T + _or_zeros(a.optional_tensor("input_bias"), 3 * size)
    of_reset, of_output, of_update = _split(weight_hh.T, size, 1)
    b_reset, b_output, b_update = _split(bias, size, 0)
    states = []
    for step in fed:
        x_reset, x_output, x_update = _split(step, size, 1)
        reset = gates(x_reset + hidden @ of_reset + b_reset)
        update = gates(x_update + hidden @ of_update + b_update)
        if after:
            fresh = activation(x_output + reset * (hidden @ of_output + b_output))
        else:
            fresh = activation(x_output + (reset * hidden) @ of_output + b_output)
        hidden = (1 - update) * fresh + update * hidden
        states.append(hidden)
    return _sequence(a, states), hidden


@dataclass(frozen=True)
class _Lstm:
    """One direction of an LSTM; gates in the order input, forget, output, cell."""

    weight_ih: torch.Tensor
    weight_hh: torch.Tensor
    bias: torch.Tensor
    peephole: torch.Tensor
    activations: tuple[Activation, Activation, Activation]  # of the gates, the cell, the output
    limit: float

    def states(
        self, x: torch.Tensor, hidden: torch.Tensor, cell: torch.Tensor
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """The hidden state after each step, and the last cell; only the cell is clipped."""
        size, weight = self.weight_hh.shape[1], self.weight_hh.T
        p_input, p_forget, p_output = _split(self.peephole, size, 0)
        gates, of_cell, of_output = self.activations
        hiddens = []
        for step in x @ self.weight_ih.T + self.bias:
            i, f, o, z = _split(step + hidden @ weight, size, 1)
            i, f = gates(i + cell * p_input), gates(f + cell * p_forget)
            cell = (f * cell + i * of_cell(z)).clamp(-self.limit, self.limit)
            hidden = gates(o + cell * p_output) * of_output(cell)
            hiddens.append(hidden)
        return hiddens, cell


def _lstm(a: Arguments, suffix: str) -> _Lstm:
    weight_ih, weight_hh = a.tensor(f"weight_ih{suffix}"), a.tensor(f"weight_hh{suffix}")
    _check(a.tensor("x"), weight_ih, weight_hh, 4)
    size = weight_hh.shape[1]
    return _Lstm(
        weight_ih,
        weight_hh,
        _or_zeros(a.optional_tensor(f"bias{suffix}"), 4 * size),
        _or_zeros(a.optional_tensor(f"peephole{suffix}"), 3 * size),
        (
            _activation(a, "recurrent_activation"),
            _activation(a, "cell_activation"),
            _activation(a, "activation"),
        ),
        torch.inf if a.optional_tensor("clip") is None else a.number("clip"),
    )


@operation(
    "lstm",
    required=f"{SEQUENTIAL} initial_c",
    optional={
        "bias": None,
        "peephole": None,
        "weight_ih_back": None,
        "weight_hh_back": None,
        "bias_back": None,
        "peephole_back": None,
        "direction": "forward",
        "output_sequence": False,
        "recurrent_activation": "sigmoid",
        "cell_activation": "tanh",
        "activation": "tanh",
        "clip": None,
    },
)
def lstm(a: Arguments) -> tuple[torch.Tensor, ...]:
    """iOS15.recurrent.lstm with peepholes: hidden states, last hidden state, last cell."""
    x, hidden, cell = a.tensor("x"), a.tensor("initial_h"), a.tensor("initial_c")
    direction = _direction(a, ("forward", "reverse", "bidirectional"))
    first = _lstm(a, "")
    if direction != "bidirectional":
        x = x.flip(0) if direction == "reverse" else x
        states, cell = first.states(x, hidden, cell)
        return _sequence(a, states), states[-1], cell
    size = first.weight_hh.shape[1]
    (h_there, h_back), (c_there, c_back) = _split(hidden, size, 1), _split(cell, size, 1)
    there, c_there = first.states(x, h_there, c_there)
    back, c_back = _lstm(a, "_back").states(x.flip(0), h_back, c_back)
    last = torch.cat([there[-1], back[-1]], 1)
    pairs = zip(there, reversed(back), strict=True)
    whole = [torch.cat(pair, 1) for pair in pairs] if a.flag("output_sequence") else [last]
    return torch.stack(whole), last, torch.cat([c_there, c_back], 1)
