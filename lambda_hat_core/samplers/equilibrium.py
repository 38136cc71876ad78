"""Whether chains that were tuned are at equilibrium, from the steps after the tuning."""

import math
from typing import NamedTuple

import blackjax
import jax
import numpy as np
from jaxtyping import Array

_ENERGY_EXCESS = 10.0
"""Tolerated ratio of the energy error's variance to the desired one: bias stays under 1 %."""
_MEDIAN = 0.455
"""Median of a chi-square variable of one degree of freedom."""
_R_HAT_MAX = 1.2
_VIRIAL_MAX, _VIRIAL_NOISE = 0.1, 0.5


class StationaryCheck(NamedTuple):
    """Series of (chain, step) after a tuning."""

    potential: np.ndarray
    virial: np.ndarray
    energy_error: np.ndarray
    finite: np.ndarray

    def complaint(self, desired: float) -> str | None:
        """Say what shows that the chains are not at equilibrium, or that steps are too large."""
        if not self.finite.all():
            return "steps that are not finite"
        # Few steps up a wall carry most of the mean, and blackjax's step does not heed them.
        error = float(np.median(self.energy_error)) / _MEDIAN
        if error > _ENERGY_EXCESS * desired:
            return f"an energy error variance a dimension of {error:.1e}, not {desired:.1e}"
        r_hat, ess = map(float, _mixed(_halves(self.potential), _halves(self.virial)))
        if not r_hat < _R_HAT_MAX:
            return f"a split R-hat of the potential of {r_hat:.2f}"
        mean, se = float(self.virial.mean()), float(self.virial.std()) / math.sqrt(max(ess, 1.0))
        if not abs(mean - 1) < _VIRIAL_MAX + min(4 * se, _VIRIAL_NOISE):
            return f"a virial of {mean:.2f}, not 1"
        return None


def _halves(series: np.ndarray) -> np.ndarray:
    """Split every chain in two, centred: R-hat is sensitive to drift, and to rounding."""
    half = series.shape[1] // 2
    parts = np.concatenate([series[:, :half], series[:, half : 2 * half]])
    return parts - parts.mean()


@jax.jit
def _mixed(potential: Array, virial: Array) -> tuple[Array, Array]:
    """R-hat of one series and the effective size of another."""
    return blackjax.rhat(potential), blackjax.ess(virial)
