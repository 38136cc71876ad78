r"""The exact expectation at finite temperature, nbeta (E_p[L] - L(w*)), on quadratics.

With s_i = nbeta h_i / (nbeta h_i + gamma) it is 1/2 sum_i s_i. An unadjusted sampler has a
different stationary distribution, which for SGLD is known in closed form.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

Eigenvalues = Float[np.ndarray, " d"]


def _shrinkage(eigenvalues: Eigenvalues, nbeta: float, gamma: float) -> Eigenvalues:
    stiff = nbeta * eigenvalues
    return stiff / np.where(stiff > 0, stiff + gamma, 1.0)


def quadratic(eigenvalues: Eigenvalues, nbeta: float, gamma: float) -> float:
    """Return the expectation for a posterior centred at the minimum."""
    return float(0.5 * np.sum(_shrinkage(eigenvalues, nbeta, gamma)))


def quadratic_off_centre(
    eigenvalues: Eigenvalues, displacement: Eigenvalues, nbeta: float, gamma: float
) -> float:
    """Return the expectation if w* differs from the minimum by `displacement` (in the eigenbasis).

    The loss falls by h delta^2 / 2 from w* to the minimum. Because of the localiser, the centre of
    the posterior keeps a fraction 1 - s of the displacement.
    """
    s = _shrinkage(eigenvalues, nbeta, gamma)
    fall = 0.5 * nbeta * eigenvalues * displacement**2
    return float(np.sum(0.5 * s - fall * (1 - (1 - s) ** 2)))


class Biases(NamedTuple):
    """The differences between SGLD's estimate and rank/2 by cause, whose sum is the total.

    Attributes:
        localisation: bias of the exact expectation at this gamma, <= 0.
        discretisation: bias from the step size, >= 0.
        minibatch: bias from gradient noise, >= 0.
        burn_in: bias from the start at w*, <= 0.
    """

    localisation: float
    discretisation: float
    minibatch: float
    burn_in: float


def sgld(
    eigenvalues: Eigenvalues,
    nbeta: float,
    gamma: float,
    *,
    step_size: float,
    gradient_variance: Eigenvalues | float = 0.0,
    n_burn: int | None = None,
    n_steps: int | None = None,
) -> float:
    """Return the expected estimate of SGLD on a centred quadratic, started at w*.

    The update is w <- w - (eps/2)(gamma (w - w*) + nbeta g) + sqrt(eps) xi. The average is over
    states n_burn + 1 .. n_steps, or over the stationary distribution if these are None.

    Args:
        eigenvalues: the h_i.
        nbeta: n beta.
        gamma: strength of the localiser.
        step_size: eps.
        gradient_variance: variance of the minibatch gradient of the mean loss along each
            eigenvector.
        n_burn: number of discarded steps.
        n_steps: total number of steps, including the discarded ones.

    Raises:
        ValueError: if the step size is unstable.
    """
    rho = 1 - 0.5 * step_size * (nbeta * eigenvalues + gamma)
    curved = eigenvalues > 0
    if np.any(np.abs(rho[curved]) >= 1):
        limit = 4 / (nbeta * eigenvalues.max() + gamma)
        raise ValueError(
            f"sgld: step_size is {step_size}, but must be below {limit:.6g} to be stable"
        )
    gap = np.where(curved, 1 - rho**2, 1.0)
    variance = (step_size + (0.5 * step_size * nbeta) ** 2 * gradient_variance) / gap
    if n_burn is not None and n_steps is not None:
        kept = n_steps - n_burn
        decay = rho ** (2 * (n_burn + 1)) * (1 - rho ** (2 * kept))
        variance = variance * (1 - decay / (kept * gap))
    return float(0.5 * nbeta * np.sum(np.where(curved, eigenvalues * variance, 0.0)))


def sgld_biases(
    eigenvalues: Eigenvalues,
    nbeta: float,
    gamma: float,
    *,
    step_size: float,
    gradient_variance: Eigenvalues | float,
    n_burn: int,
    n_steps: int,
) -> Biases:
    """Return the difference of SGLD's estimate from rank/2, split by its four causes."""
    exact = quadratic(eigenvalues, nbeta, gamma)
    noiseless = sgld(eigenvalues, nbeta, gamma, step_size=step_size)
    noisy = sgld(
        eigenvalues, nbeta, gamma, step_size=step_size, gradient_variance=gradient_variance
    )
    finite = sgld(
        eigenvalues,
        nbeta,
        gamma,
        step_size=step_size,
        gradient_variance=gradient_variance,
        n_burn=n_burn,
        n_steps=n_steps,
    )
    return Biases(
        localisation=exact - 0.5 * float(np.sum(eigenvalues > 0)),
        discretisation=noiseless - exact,
        minibatch=noisy - noiseless,
        burn_in=finite - noisy,
    )
