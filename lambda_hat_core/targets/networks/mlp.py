"""Multilayer perceptron: h_i = act(norm(h_(i-1) W_i + b_i)), outputs h_L W_(L+1) + b_(L+1)."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from lambda_hat_core.config.mlp import Activation
from lambda_hat_core.targets.networks.layout import Shapes, join, normalised, size, split
from lambda_hat_core.types import Weights

_ACTIVATIONS: MappingProxyType[str, Callable[[Array], Array]] = MappingProxyType(
    {"relu": jax.nn.relu, "tanh": jnp.tanh, "gelu": jax.nn.gelu, "identity": lambda x: x}
)
_HALVED = ("relu", "gelu")
"""Activations that halve the variance; the weights' variance is doubled (He et al. 2015)."""


@dataclass(frozen=True)
class MlpNetwork:
    """The description of an MLP.

    Attributes:
        widths: inputs, hidden widths, outputs.
        activation: name of the activation function.
        bias: whether layers have biases.
        layernorm: whether to normalise before each activation, with learned scale and shift.
        residual_period: number of hidden layers after which the input of the block is added, if
            the widths agree; 0: no skip connections.
    """

    widths: tuple[int, ...]
    activation: Activation = "relu"
    bias: bool = True
    layernorm: bool = False
    residual_period: int = 0

    @property
    def in_dim(self) -> int:
        """The length of an input row."""
        return self.widths[0]

    @property
    def out_dim(self) -> int:
        """The length of an output row."""
        return self.widths[-1]

    @property
    def hidden_units(self) -> int:
        """The number of hidden units."""
        return sum(self.widths[1:-1])

    @property
    def shapes(self) -> Shapes:
        """Weights, bias, scale and shift of layer 1, then of layer 2, and so on."""
        last = len(self.widths) - 1
        shapes: list[tuple[str, tuple[int, ...]]] = []
        for i in range(1, last + 1):
            shapes.append((f"weight{i}", (self.widths[i - 1], self.widths[i])))
            if self.bias:
                shapes.append((f"bias{i}", (self.widths[i],)))
            if self.layernorm and i < last:
                shapes += [(f"scale{i}", (self.widths[i],)), (f"shift{i}", (self.widths[i],))]
        return tuple(shapes)

    @property
    def size(self) -> int:
        """The number of weights d."""
        return size(self.shapes)

    def init(self, key: PRNGKeyArray) -> Weights:
        """Draw variance-preserving normal weights, and biases uniform in +-1/sqrt(fan-in)."""
        gain = 2.0 if self.activation in _HALVED else 1.0
        weight_key, bias_key = jr.split(key)
        normal = split(self.shapes, jr.normal(weight_key, (self.size,)))
        uniform = split(self.shapes, jr.uniform(bias_key, (self.size,), minval=-1.0, maxval=1.0))
        arrays: dict[str, Array] = {}
        for i, (fan_in, width) in enumerate(pairwise(self.widths), start=1):
            reach = 1 / math.sqrt(fan_in)
            arrays[f"weight{i}"] = normal[f"weight{i}"] * reach * gain**0.5
            if self.bias:
                arrays[f"bias{i}"] = uniform[f"bias{i}"] * reach
            arrays[f"scale{i}"], arrays[f"shift{i}"] = jnp.ones(width), jnp.zeros(width)
        return join(self.shapes, arrays)

    def apply(self, w: Weights, x: Float[Array, "n p"]) -> Float[Array, "n q"]:
        """Return the outputs for every row of x."""
        arrays = split(self.shapes, w)
        act = _ACTIVATIONS[self.activation]
        last = len(self.widths) - 1
        block, h = x, x
        for i in range(1, last + 1):
            h = h @ arrays[f"weight{i}"]
            if self.bias:
                h = h + arrays[f"bias{i}"]
            if i == last:
                return h
            if self.layernorm:
                h = normalised(h) * arrays[f"scale{i}"] + arrays[f"shift{i}"]
            h = act(h)
            if self.residual_period and i % self.residual_period == 0:
                h = h + block if h.shape == block.shape else h
                block = h
        return h
