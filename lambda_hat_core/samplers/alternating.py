"""Two step sizes in one run, so that its bias can be measured and taken away.

Draws come in blocks, and in every other one the step is half as long. If the bias is of first
order, the extrapolation has the variance 4 V_fine + V_coarse, and draws at half the step count
half: a share p of them makes it proportional to 8 / p + 1 / (1 - p), which is 33 at a quarter, 18
at a half, and 15 at its least, but the smaller steps mix more slowly. `analysis.extrapolation`
makes one estimate of both. Burn-in and length are whole cycles of two blocks, so short cycles waste
fewer draws.

A change of the step must not disturb the chains. Two half kicks are joined at every point, and the
first of them belongs to the step before: on a Gaussian of curvature mu that keeps the mean of u v
right, but a velocity of variance 1 comes out of it with 1 + mu (h^2 - h'^2) / 4, where h' is the
step before. Damping leaves a share c^2 of that, which would go into the positions: for a time of
1 / friction the draws would be hotter or colder than those of their step. A position that is moved
along the force by c^2 (h^2 - h'^2) / 8 begins with that much less potential energy, for every mu to
leading order in h^2 mu, and in the mean over a period the two cancel.
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

    def kick(self, t: Scalar) -> Scalar:
        """Return how long the force acts on the velocity after `t` steps.

        That is half of the step before, of which there is none at first, and half of this one.
        """
        return 0.5 * (self._before(t) + self.step_size(t))

    def shift(self, t: Scalar, keep: Scalar | float) -> Scalar:
        """Return how far along the force a position is moved, in units of time squared.

        Args:
            t: steps taken.
            keep: c, the share of the velocity that this step keeps.
        """
        changed = self.step_size(t) ** 2 - self._before(t) ** 2
        return jnp.where(t > 0, keep**2 * changed / 8, 0.0)

    def _before(self, t: Scalar) -> Scalar:
        return jnp.where(t > 0, self.step_size(t - 1), 0.0)

    def drift(self, t: Scalar) -> Scalar:
        """Return how long the force acts where no velocity is kept, and step sizes are h^2.

        Leimkuhler-Matthews is that limit. A whole step takes h^2 / 2 from two joined half kicks.
        """
        now = self.step_size(t)
        return 0.5 * (now + jnp.sqrt(now * self._before(t)))


def alternation(whole: float, thin: int, like: Array, *, extrapolate: bool) -> Alternation:
    """Return the step sizes of a run whose draws are `thin` steps apart."""
    block = BLOCK * thin if extrapolate else 0
    return Alternation(constant(whole, like), constant(block, like))
