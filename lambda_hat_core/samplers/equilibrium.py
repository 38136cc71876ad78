"""A check that tuned chains are at equilibrium, from the steps that follow the tuning."""

import math
from typing import NamedTuple

import blackjax
import jax
import numpy as np
from jaxtyping import Array

_ENERGY_EXCESS = 10.0
"""Largest ratio of the energy error's variance to the desired one; the bias is then below 1 %."""
_MEDIAN = 0.455
"""Median of a chi-squared variable with one degree of freedom."""
_R_HAT_MAX = 1.2
_VIRIAL_MAX, _VIRIAL_NOISE = 0.1, 0.5


class StationaryCheck(NamedTuple):
    """Scalars of the steps after a tuning, each an array of shape (chain, step).

    Attributes:
        potential: U(w) up to a constant.
        virial: u . grad U(u) / d in the coordinates of the metric; its mean is 1 at equilibrium.
        energy_error: squared energy error of the step, per dimension.
        finite: whether the step was finite.
    """

    potential: np.ndarray
    virial: np.ndarray
    energy_error: np.ndarray
    finite: np.ndarray

    def complaint(self, desired: float) -> str | None:
        """Return evidence that the chains are not at equilibrium or the steps too large, or None.

        Args:
            desired: the variance of the energy error per dimension that the tuning aims at.
        """
        if not self.finite.all():
            return "steps that are not finite"
        # The median, because a few steps up a steep wall dominate the mean, and blackjax's
        # adaptation of the step size gives them hardly any weight.
        error = float(np.median(self.energy_error)) / _MEDIAN
        if error > _ENERGY_EXCESS * desired:
            return f"an energy error variance per dimension of {error:.1e}, not {desired:.1e}"
        r_hat, ess = map(float, _mixed(_halves(self.potential), _halves(self.virial)))
        if not r_hat < _R_HAT_MAX:
            return f"a split R-hat of the potential of {r_hat:.2f}"
        mean, se = float(self.virial.mean()), float(self.virial.std()) / math.sqrt(max(ess, 1.0))
        if not abs(mean - 1) < _VIRIAL_MAX + min(4 * se, _VIRIAL_NOISE):
            return f"a virial of {mean:.2f}, not 1"
        return None


def _halves(series: np.ndarray) -> np.ndarray:
    """Split every chain into two halves, so that R-hat detects drift, and centre all of them.

    Centring keeps the digits that float32 would otherwise lose.
    """
    half = series.shape[1] // 2
    parts = np.concatenate([series[:, :half], series[:, half : 2 * half]])
    return parts - parts.mean()


@jax.jit
def _mixed(potential: Array, virial: Array) -> tuple[Array, Array]:
    """Return the R-hat of one series and the effective sample size of the other."""
    return blackjax.rhat(potential), blackjax.ess(virial)
