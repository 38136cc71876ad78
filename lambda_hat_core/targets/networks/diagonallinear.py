"""Diagonal linear network: f(x) = sum_i theta_i x_i with theta_i = prod_l w_(l,i)."""

from dataclasses import dataclass
from functools import reduce
from operator import mul

import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from lambda_hat_core.targets.networks.layout import Shapes
from lambda_hat_core.types import Weights


@dataclass(frozen=True)
class DiagonalLinearNetwork:
    """The description of a diagonal linear network; its flat vector is factor 1, factor 2, ..."""

    in_dim: int
    depth: int

    @property
    def out_dim(self) -> int:
        """The number of outputs, which is 1."""
        return 1

    @property
    def shapes(self) -> Shapes:
        """All factors, depth x inputs."""
        return (("factors", (self.depth, self.in_dim)),)

    @property
    def size(self) -> int:
        """The number of weights d."""
        return self.depth * self.in_dim

    def init(self, key: PRNGKeyArray) -> Weights:
        """Draw standard normal factors."""
        return jr.normal(key, (self.size,))

    def theta(self, w: Weights) -> Float[Array, " p"]:
        """Return the coefficients theta, the products of the factors."""
        return reduce(mul, list(w.reshape(self.depth, self.in_dim)))

    def apply(self, w: Weights, x: Float[Array, "n p"]) -> Float[Array, "n 1"]:
        """Return the outputs for every row of x."""
        return (x @ self.theta(w))[:, None]
