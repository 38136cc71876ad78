"""Two step sizes in one run, so that its bias can be measured and taken away.

Draws come in blocks, and in every other one the step is half as long. If the bias is of first
order, the extrapolation has the variance 4 V_fine + V_coarse, and draws at half the step count
half: a share p of them makes it proportional to 8 / p + 1 / (1 - p), which is 33 at a quarter, 18
at a half, and 15 at its least, but the smaller steps mix more slowly. `analysis.extrapolation`
makes one estimate of both. Burn-in and length are whole cycles of two blocks, so short cycles waste
fewer draws.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Scalar

from lambda_hat_core.types import constant

BLOCK, CYCLE = 10, 2
"""Draws in a block, and blocks in a cycle, of which the second half has the smaller step."""


class Alternation(eqx.Module):
    """The step size of every step.

    Attributes:
        whole: the larger step size.
        block: steps in a block; 0: every step is a whole one.
    """

    whole: Scalar
    block: Scalar

    def share(self, t: Scalar) -> Scalar:
        """Return the step size after `t` steps in units of the larger one: 1 or 1/2."""
        turn = (t // jnp.maximum(self.block, 1)) % CYCLE
        return jnp.where((self.block > 0) & (turn >= CYCLE // 2), 0.5, 1.0).astype(self.whole.dtype)

    def step_size(self, t: Scalar) -> Scalar:
        """Return the step size after `t` steps."""
        return self.share(t) * self.whole


def alternation(whole: float, thin: int, like: Array, *, extrapolate: bool) -> Alternation:
    """Return the step sizes of a run whose draws are `thin` steps apart."""
    block = BLOCK * thin if extrapolate else 0
    return Alternation(constant(whole, like), constant(block, like))
