"""One hidden layer of squares: f(x) = sum_h (u_h . x)^2, with U of shape inputs x width."""

from dataclasses import dataclass

import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from lambda_hat_core.targets.networks.layout import Shapes
from lambda_hat_core.types import Weights


@dataclass(frozen=True)
class QuadraticActivationNetwork:
    """The description of a quadratic-activation network; its flat vector is U, row by row."""

    in_dim: int
    width: int

    @property
    def out_dim(self) -> int:
        """The number of outputs, which is 1."""
        return 1

    @property
    def shapes(self) -> Shapes:
        """The shape of U, the only array."""
        return (("u", (self.in_dim, self.width)),)

    @property
    def size(self) -> int:
        """The number of weights d."""
        return self.in_dim * self.width

    def init(self, key: PRNGKeyArray) -> Weights:
        """Draw normal weights for which the mean output is |x|^2 / inputs."""
        return jr.normal(key, (self.size,)) / jnp.sqrt(self.in_dim * self.width)

    def apply(self, w: Weights, x: Float[Array, "n p"]) -> Float[Array, "n 1"]:
        """Return the outputs for every row of x."""
        hidden = x @ w.reshape(self.in_dim, self.width)
        return jnp.sum(hidden**2, axis=-1, keepdims=True)
