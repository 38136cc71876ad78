"""Deep linear network: f(x) = x W_1 ... W_L, the transpose of W_L ... W_1 x."""

import math
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise

import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from lambda_hat_core.targets.networks.layout import Shapes, join, size, split
from lambda_hat_core.types import Weights


@dataclass(frozen=True)
class DeepLinearNetwork:
    """The description of a deep linear network, where `widths` are H_0 .. H_L."""

    widths: tuple[int, ...]

    @property
    def in_dim(self) -> int:
        """The length of an input row."""
        return self.widths[0]

    @property
    def out_dim(self) -> int:
        """The length of an output row."""
        return self.widths[-1]

    @property
    def shapes(self) -> Shapes:
        """W_1 .. W_L, each inputs x outputs."""
        return tuple((f"weight{i}", pair) for i, pair in enumerate(pairwise(self.widths), start=1))

    @property
    def size(self) -> int:
        """The number of weights d."""
        return size(self.shapes)

    def init(self, key: PRNGKeyArray) -> Weights:
        """Draw normal weights that preserve the variance from layer to layer."""
        keys = jr.split(key, len(self.shapes))
        arrays = {
            name: jr.normal(sub, shape) / math.sqrt(shape[0])
            for sub, (name, shape) in zip(keys, self.shapes, strict=True)
        }
        return join(self.shapes, arrays)

    def layers(self, w: Weights) -> list[Array]:
        """Return W_1 .. W_L."""
        return list(split(self.shapes, w).values())

    def apply(self, w: Weights, x: Float[Array, "n p"]) -> Float[Array, "n q"]:
        """Return the outputs in the cheaper order: layer by layer, or the product first."""
        n, p, q = x.shape[0], self.in_dim, self.out_dim
        through_layers = n * sum(a * b for a, b in pairwise(self.widths))
        through_product = n * p * q + p * sum(a * b for a, b in pairwise(self.widths[1:]))
        layers = self.layers(w)
        if through_product < through_layers:
            return x @ reduce(jnp.matmul, layers)
        return reduce(jnp.matmul, layers, x)

    def factor(self, product: Float[Array, "p q"], rank: int) -> Weights:
        """Return balanced weights of a product of the given rank, each layer having that rank.

        Raises:
            ValueError: if the rank is larger than the narrowest layer.
        """
        if rank > min(self.widths):
            raise ValueError(
                f"deep linear: a product of rank {rank} is impossible with widths {self.widths}; "
                "choose rank <= min(widths)"
            )
        left, singular, right = jnp.linalg.svd(product, full_matrices=False)
        depth = len(self.widths) - 1
        root = jnp.diag(singular[:rank] ** (1 / depth))
        inner = [root] * (depth - 2)
        cores = [left[:, :rank] @ root, *inner, root @ right[:rank]]
        arrays = {
            name: jnp.zeros(shape, product.dtype).at[: core.shape[0], : core.shape[1]].set(core)
            for (name, shape), core in zip(self.shapes, cores, strict=True)
        }
        return join(self.shapes, arrays)
