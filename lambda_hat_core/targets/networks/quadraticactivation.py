"""One hidden layer of squares, summed: f(x) = sum_h (u_h . x)^2, U of shape inputs x width."""

from dataclasses import dataclass

import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from lambda_hat_core.targets.networks.layout import Shapes
from lambda_hat_core.types import Weights


@dataclass(frozen=True)
class QuadraticActivationNetwork:
    """A quadratic-activation network without arrays; its flat vector is U, row by row."""

    in_dim: int
    width: int

    @property
    def out_dim(self) -> int:
        """One output."""
        return 1

    @property
    def shapes(self) -> Shapes:
        """U alone."""
        return (("u", (self.in_dim, self.width)),)

    @property
    def size(self) -> int:
        """Number of weights d."""
        return self.in_dim * self.width

    def init(self, key: PRNGKeyArray) -> Weights:
        """Draw normal weights with mean output |x|^2 / inputs."""
        return jr.normal(key, (self.size,)) / jnp.sqrt(self.in_dim * self.width)

    def apply(self, w: Weights, x: Float[Array, "n p"]) -> Float[Array, "n 1"]:
        """Return the outputs for every row of x."""
        hidden = x @ w.reshape(self.in_dim, self.width)
        return jnp.sum(hidden**2, axis=-1, keepdims=True)
