"""The toy model of superposition (arXiv:2209.10652): f(x) = relu(W^T W x + b), W of shape m x n."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from lambda_hat_core.targets.networks.layout import Shapes, join, size, split
from lambda_hat_core.types import Weights

_RADIUS = 0.9
"""Length of a polygon's columns: a little below 1, where an orthogonal feature would end."""
_NEAR = 0.05
"""Standard deviation of the weights about a polygon, which breaks its symmetry."""


@dataclass(frozen=True)
class SuperpositionNetwork:
    """The description of a toy model of superposition.

    Attributes:
        features: n, the number of features.
        hidden: m, the dimensions that they share.
        polygon: number of features on a regular polygon where training starts, or None.
    """

    features: int
    hidden: int
    polygon: int | None = None

    @property
    def in_dim(self) -> int:
        """The length of an input row."""
        return self.features

    @property
    def out_dim(self) -> int:
        """The length of an output row, that of an input row."""
        return self.features

    @property
    def shapes(self) -> Shapes:
        """W, of which each column is a feature's direction, and b."""
        return (("weight", (self.hidden, self.features)), ("bias", (self.features,)))

    @property
    def size(self) -> int:
        """The number of weights d."""
        return size(self.shapes)

    def init(self, key: PRNGKeyArray) -> Weights:
        """Draw columns of mean square length 1 and no biases, or weights near a polygon."""
        if self.polygon is None:
            weight = jr.normal(key, (self.hidden, self.features)) / jnp.sqrt(self.hidden)
            return join(self.shapes, {"weight": weight, "bias": jnp.zeros(self.features)})
        angle = 2 * jnp.pi * jnp.arange(self.polygon) / self.polygon
        corners = _RADIUS * jnp.stack([jnp.cos(angle), jnp.sin(angle)])
        weight = jnp.pad(corners, ((0, 0), (0, self.features - self.polygon)))
        exact = join(self.shapes, {"weight": weight, "bias": jnp.zeros(self.features)})
        return exact + _NEAR * jr.normal(key, (self.size,))

    def apply(self, w: Weights, x: Float[Array, "n p"]) -> Float[Array, "n p"]:
        """Return the reconstruction of every row of x."""
        arrays = split(self.shapes, w)
        hidden = x @ arrays["weight"].T
        return jax.nn.relu(hidden @ arrays["weight"] + arrays["bias"])
