"""MIL activations: iOS15.activation.

https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody reads at once

from exporters.mil.optable import Arguments, operation

SIGMOID_GELU_SLOPE = 1.702


@operation("relu", required="x")
def relu(a: Arguments) -> torch.Tensor:
    """iOS15.activation.relu: max(x, 0)."""
    return F.relu(a.tensor("x"))


@operation("relu6", required="x")
def relu6(a: Arguments) -> torch.Tensor:
    """iOS15.activation.relu6: min(max(x, 0), 6)."""
    return F.relu6(a.tensor("x"))


@operation("clamped_relu", required="x alpha beta")
def clamped_relu(a: Arguments) -> torch.Tensor:
    """iOS15.activation.clamped_relu: min(beta, x if x >= 0 else alpha * x)."""
    return F.leaky_relu(a.tensor("x"), a.number("alpha")).clamp(max=a.number("beta"))


@operation("leaky_relu", required="x alpha")
def leaky_relu(a: Arguments) -> torch.Tensor:
    """iOS15.activation.leaky_relu: x if x >= 0 else alpha * x."""
    return F.leaky_relu(a.tensor("x"), a.number("alpha"))


@operation("prelu", required="x alpha")
def prelu(a: Arguments) -> torch.Tensor:
    """iOS15.activation.prelu: leaky_relu with one alpha per channel (axis 1)."""
    return F.prelu(a.tensor("x"), a.tensor("alpha"))


@operation("elu", required="x alpha")
def elu(a: Arguments) -> torch.Tensor:
    """iOS15.activation.elu: x if x > 0 else alpha * (exp(x) - 1)."""
    return F.elu(a.tensor("x"), a.number("alpha"))


@operation("thresholded_relu", required="x alpha")
def thresholded_relu(a: Arguments) -> torch.Tensor:
    """iOS15.activation.thresholded_relu: x if x >= alpha else 0."""
    x = a.tensor("x")
    return torch.where(x >= a.number("alpha"), x, 0.0)


@operation("linear_activation", required="x alpha beta")
def linear_activation(a: Arguments) -> torch.Tensor:
    """iOS15.activation.linear_activation: alpha * x + beta."""
    return a.tensor("x") * a.number("alpha") + a.number("beta")


@operation("sigmoid", required="x")
def sigmoid(a: Arguments) -> torch.Tensor:
    """iOS15.activation.sigmoid."""
    return torch.sigmoid(a.tensor("x"))


@operation("sigmoid_hard", required="x alpha beta")
def sigmoid_hard(a: Arguments) -> torch.Tensor:
    """iOS15.activation.sigmoid_hard: min(max(alpha * x + beta, 0), 1)."""
    return (a.tensor("x") * a.number("alpha") + a.number("beta")).clamp(0.0, 1.0)


@operation("silu", required="x")
def silu(a: Arguments) -> torch.Tensor:
    """iOS15.activation.silu: x * sigmoid(x)."""
    return F.silu(a.tensor("x"))


@operation("scaled_tanh", required="x alpha beta")
def scaled_tanh(a: Arguments) -> torch.Tensor:
    """iOS15.activation.scaled_tanh: alpha * tanh(beta * x)."""
    return torch.tanh(a.tensor("x") * a.number("beta")) * a.number("alpha")


@operation("softplus", required="x")
def softplus(a: Arguments) -> torch.Tensor:
    """iOS15.activation.softplus: log(1 + exp(x))."""
    return F.softplus(a.tensor("x"))


@operation("softplus_parametric", required="x alpha beta")
def softplus_parametric(a: Arguments) -> torch.Tensor:
    """iOS15.activation.softplus_parametric: alpha_i * log(1 + exp(beta_i * x)), i is axis 1."""
    x = a.tensor("x")
    per_channel = [1, -1, *[1] * (x.dim() - 2)]
    alpha, beta = (a.tensor(name).reshape(per_channel) for name in ("alpha", "beta"))
    return alpha * F.softplus(x * beta)


@operation("softsign", required="x")
def softsign(a: Arguments) -> torch.Tensor:
    """iOS15.activation.softsign: x / (1 + |x|)."""
    return F.softsign(a.tensor("x"))


@operation("gelu", required="x", optional={"mode": "EXACT"})
def gelu(a: Arguments) -> torch.Tensor:
    """iOS15.activation.gelu in its three modes."""
    x, mode = a.tensor("x"), a.text("mode")
    if mode == "EXACT":
        return F.gelu(x)
    if mode == "TANH_APPROXIMATION":
        return F.gelu(x, approximate="tanh")
    if mode == "SIGMOID_APPROXIMATION":
        return x * torch.sigmoid(SIGMOID_GELU_SLOPE * x)
    raise ValueError(f"mode {mode!r} is unknown")


@operation("softmax", required="x", optional={"axis": -1})
def softmax(a: Arguments) -> torch.Tensor:
    """iOS15.activation.softmax along axis."""
    return torch.softmax(a.tensor("x"), a.integer("axis"))
