"""Recurrent layers against torch.nn, and against loops in NumPy for what torch lacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from exporters.mil import Mode, Program

from .built import Build, build
from .calling import call

__all__ = ["build"]

STEPS, BATCH, INPUTS, HIDDEN = 5, 3, 4, 2
ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "tanh": np.tanh,
    "scaled_tanh": np.tanh,
    "relu": lambda v: np.maximum(v, 0),
    "linear": lambda v: v,
    "sigmoid": lambda v: 1 / (1 + np.exp(-v)),
    "hard_sigmoid": lambda v: np.clip(0.2 * v + 0.5, 0, 1),
}
Arrays = dict[str, np.ndarray]


def arrays(gates: int, seed: int = 0, directions: int = 1) -> Arrays:
    generator = np.random.default_rng(seed)
    shapes = {
        "x": (STEPS, BATCH, INPUTS),
        "initial_h": (BATCH, directions * HIDDEN),
        "weight_ih": (gates * HIDDEN, INPUTS),
        "weight_hh": (gates * HIDDEN, HIDDEN),
        "bias": (gates * HIDDEN,),
    }
    return {name: generator.normal(size=s).astype(np.float32) for name, s in shapes.items()}


def tensors(given: dict[str, Any]) -> dict[str, Any]:
    return {k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in given.items()}


def blocks(rows: np.ndarray, order: list[int]) -> torch.Tensor:
    """Gates in another order, as torch.nn has them."""
    parts = np.split(rows, len(order))
    return torch.from_numpy(np.concatenate([parts[i] for i in order]))


def torch_layer(kind: str, given: Arrays, order: list[int], suffix: str = "") -> dict[str, Any]:
    """Parameters of torch.nn layers: all of the bias on the input's side."""
    names = {"weight_ih": "weight_ih_l0", "weight_hh": "weight_hh_l0", "bias": "bias_ih_l0"}
    back = "_reverse" if suffix else ""
    found = {t + back: blocks(given[m + suffix], order) for m, t in names.items()}
    return found | {f"bias_hh_l0{back}": torch.zeros_like(found[f"bias_ih_l0{back}"])}


def close(got: Any, wanted: Any) -> None:
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, torch.as_tensor(other).float(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("whole", [True, False])
def test_rnn_is_torch_s(direction: str, whole: bool) -> None:
    given = arrays(1)
    layer = torch.nn.RNN(INPUTS, HIDDEN)
    layer.load_state_dict(torch_layer("rnn", given, [0]))
    x = torch.from_numpy(given["x"])
    with torch.no_grad():
        y, h = layer(x.flip(0) if direction == "reverse" else x, tensors(given)["initial_h"][None])
    got = call("rnn", **tensors(given), direction=direction, output_sequence=whole)
    close(got, [y if whole else y[-1:], h[0]])


@pytest.mark.parametrize("activation", [*ACTIVATIONS, "sigmoid_hard"])
def test_rnn_activations(activation: str) -> None:
    given = arrays(1)
    apply, h = ACTIVATIONS[activation.replace("sigmoid_hard", "hard_sigmoid")], given["initial_h"]
    for x in given["x"]:
        h = apply(x @ given["weight_ih"].T + h @ given["weight_hh"].T + given["bias"])
    close(call("rnn", **tensors(given), activation=activation), [h[None], h])


def numpy_gru(g: Arrays, *, after: bool, gate: str, act: str, reverse: bool) -> np.ndarray:
    ih, hh = (np.split(g[name], 3) for name in ("weight_ih", "weight_hh"))  # reset, output, update
    b, bi = np.split(g["bias"], 3), np.split(g.get("input_bias", np.zeros(3 * HIDDEN)), 3)
    sequence, h = [], g["initial_h"]
    for x in g["x"][::-1] if reverse else g["x"]:
        r = ACTIVATIONS[gate](x @ ih[0].T + bi[0] + h @ hh[0].T + b[0])
        z = ACTIVATIONS[gate](x @ ih[2].T + bi[2] + h @ hh[2].T + b[2])
        hidden = r * (h @ hh[1].T + b[1]) if after else (r * h) @ hh[1].T + b[1]
        h = (1 - z) * ACTIVATIONS[act](x @ ih[1].T + bi[1] + hidden) + z * h
        sequence.append(h)
    return np.stack(sequence)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("gate", "act"), [("sigmoid", "tanh"), ("hard_sigmoid", "relu")])
def test_gru(after: bool, reverse: bool, gate: str, act: str) -> None:
    given = arrays(3)
    if after:
        given["input_bias"] = np.linspace(-1, 1, 3 * HIDDEN, dtype=np.float32)
    wanted = numpy_gru(given, after=after, gate=gate, act=act, reverse=reverse)
    got = call(
        "gru", **tensors(given), direction="reverse" if reverse else "forward",
        output_sequence=True, recurrent_activation=gate, activation=act, reset_after=after,
    )  # fmt: skip
    close(got, [wanted, wanted[-1]])


def test_gru_with_reset_after_is_torch_s() -> None:
    given = arrays(3) | {"input_bias": np.linspace(-1, 1, 3 * HIDDEN, dtype=np.float32)}
    order = [0, 2, 1]  # torch has reset, update, new
    layer = torch.nn.GRU(INPUTS, HIDDEN)
    parameters = torch_layer("gru", given, order)
    parameters["bias_hh_l0"] = parameters["bias_ih_l0"]
    parameters["bias_ih_l0"] = blocks(given["input_bias"], order)
    layer.load_state_dict(parameters)
    with torch.no_grad():
        y, h = layer(torch.from_numpy(given["x"]), torch.from_numpy(given["initial_h"])[None])
    close(call("gru", **tensors(given), reset_after=True, output_sequence=True), [y, h[0]])


LSTM_ORDER = [
    0,
    1,
    3,
    2,
]  # ours is input, forget, output, cell; torch's input, forget, cell, output


def lstm_arrays(direction: str) -> Arrays:
    both = direction == "bidirectional"
    given = arrays(4, directions=2 if both else 1)
    given["initial_c"] = arrays(4, 7, 2 if both else 1)["initial_h"]
    if both:
        back = arrays(4, 5)
        given |= {f"{n}_back": back[n] for n in ("weight_ih", "weight_hh", "bias")}
    return given


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("whole", [True, False])
def test_lstm_is_torch_s(direction: str, whole: bool) -> None:
    given = lstm_arrays(direction)
    both = direction == "bidirectional"
    layer = torch.nn.LSTM(INPUTS, HIDDEN, bidirectional=both)
    parameters = torch_layer("lstm", given, LSTM_ORDER)
    if both:
        parameters |= torch_layer("lstm", given, LSTM_ORDER, "_back")
    layer.load_state_dict(parameters)
    first = [torch.from_numpy(given[n]) for n in ("initial_h", "initial_c")]
    apart = [torch.stack(s.split(HIDDEN, 1)) for s in first]
    x = torch.from_numpy(given["x"])
    with torch.no_grad():
        y, (h, c) = layer(x.flip(0) if direction == "reverse" else x, tuple(apart))
    h, c = (torch.cat(list(s), 1) for s in (h, c))
    got = call("lstm", **tensors(given), direction=direction, output_sequence=whole)
    close(got, [y if whole else h[None], h, c])


def numpy_lstm(g: Arrays, acts: tuple[str, str, str], clip: float) -> list[np.ndarray]:
    gate, of_cell, of_output = (ACTIVATIONS[name] for name in acts)
    p, h, c = np.split(g["peephole"], 3), g["initial_h"], g["initial_c"]
    sequence = []
    for x in g["x"]:
        rows = x @ g["weight_ih"].T + h @ g["weight_hh"].T + g["bias"]
        i, f, o, z = np.split(rows, 4, axis=1)
        c = np.clip(gate(f + c * p[1]) * c + gate(i + c * p[0]) * of_cell(z), -clip, clip)
        h = gate(o + c * p[2]) * of_output(c)
        sequence.append(h)
    return [np.stack(sequence), h, c]


@pytest.mark.parametrize("clip", [0.2, 50.0])
@pytest.mark.parametrize("last", list(ACTIVATIONS))
def test_lstm_with_peepholes_activations_and_clip(last: str, clip: float) -> None:
    given = lstm_arrays("forward")
    given["peephole"] = np.linspace(-1, 1, 3 * HIDDEN, dtype=np.float32)
    acts = ("hard_sigmoid", "scaled_tanh", last)
    got = call(
        "lstm", **tensors(given), output_sequence=True, clip=clip, recurrent_activation=acts[0],
        cell_activation=acts[1], activation=acts[2],
    )  # fmt: skip
    close(got, numpy_lstm(given, acts, clip))


@pytest.mark.parametrize(
    ("name", "wrong", "sentence"),
    [
        ("rnn", {"activation": "selu"}, "activation 'selu' is not one of"),
        ("rnn", {"direction": "bidirectional"}, "direction 'bidirectional' is not one of"),
        ("rnn", {"bias": torch.zeros(3)}, r"\[3\] where 2 values belong"),
        ("rnn", {"weight_hh": torch.zeros(3, 2)}, "are not 1 gates"),
        ("lstm", {"direction": "bidirectional"}, "weight_ih_back"),
    ],
)
def test_what_does_not_fit_is_refused(name: str, wrong: dict[str, Any], sentence: str) -> None:
    given = arrays(1) if name == "rnn" else lstm_arrays("bidirectional")
    given = {k: v for k, v in given.items() if not k.endswith("_back")}
    with pytest.raises((ValueError, KeyError), match=sentence):
        call(name, **tensors(given) | wrong)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "target", "precision"),
    [
        ("rnn", "iOS15", "FLOAT32"),
        ("gru", "iOS18", "FLOAT16"),
        ("lstm", "iOS15", "FLOAT32"),
        ("lstm", "iOS17", "FLOAT16"),
    ],
)
def test_saved_layers(build: Build, name: str, target: str, precision: str) -> None:
    given = lstm_arrays("bidirectional") if name == "lstm" else arrays({"rnn": 1, "gru": 3}[name])
    words: dict[str, Any] = {"output_sequence": True}
    words |= {"direction": "bidirectional"} if name == "lstm" else {"direction": "reverse"}
    fed = [n for n in ("x", "initial_h", "initial_c") if n in given]
    fixed = {k: v for k, v in given.items() if k not in fed}

    def make(mb: Any, **inputs: Any) -> Any:
        return getattr(mb, name)(**inputs, **fixed, **words)

    def named(mb: Any, *inputs: Any) -> Any:
        return make(mb, **dict(zip(fed, inputs, strict=True)))

    shapes = {n: (given[n].shape, "fp32") for n in fed}
    function = Program(build(named, shapes, target=target, precision=precision)).function("main")
    got = function.run([torch.from_numpy(given[n]) for n in fed], mode=Mode.DECLARED)
    limit = 1e-5 if precision == "FLOAT32" else 1e-2
    for one, other in zip(got, call(name, **tensors(given), **words), strict=True):
        torch.testing.assert_close(one, other, rtol=limit, atol=limit)
