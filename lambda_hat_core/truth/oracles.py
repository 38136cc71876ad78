r"""What exact sampling gives at finite temperature: nbeta (E_p[L] - L(w*)).

On a quadratic, with s_i = nbeta h_i / (nbeta h_i + gamma), it is 1/2 sum_i s_i. An unadjusted
sampler has a stationary law of its own; for SGLD it is known in closed form.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

Spectrum = Float[np.ndarray, " d"]


def _shrinkage(eigenvalues: Spectrum, nbeta: float, gamma: float) -> Spectrum:
    stiff = nbeta * eigenvalues
    return stiff / np.where(stiff > 0, stiff + gamma, 1.0)


def quadratic(eigenvalues: Spectrum, nbeta: float, gamma: float) -> float:
    """Centred at the minimum."""
    return float(0.5 * np.sum(_shrinkage(eigenvalues, nbeta, gamma)))


def quadratic_off_centre(
    eigenvalues: Spectrum, displacement: Spectrum, nbeta: float, gamma: float
) -> float:
    """With w* off the minimum by `displacement`, given in the eigenbasis.

    The loss falls by h delta^2 / 2 from w* to the minimum, and the localiser pulls back: the
    posterior's centre keeps a fraction 1 - s of the displacement.
    """
    s = _shrinkage(eigenvalues, nbeta, gamma)
    fall = 0.5 * nbeta * eigenvalues * displacement**2
    return float(np.sum(0.5 * s - fall * (1 - (1 - s) ** 2)))


class Biases(NamedTuple):
    """How far SGLD's estimate is from rank/2, by cause; they add up.

    Attributes:
        localisation: of exact sampling at this gamma, <= 0.
        discretisation: of the step size, >= 0.
        minibatch: of gradient noise, >= 0.
        burn_in: of the start at w*, <= 0.
    """

    localisation: float
    discretisation: float
    minibatch: float
    burn_in: float


def sgld(
    eigenvalues: Spectrum,
    nbeta: float,
    gamma: float,
    *,
    step_size: float,
    gradient_variance: Spectrum | float = 0.0,
    n_burn: int | None = None,
    n_steps: int | None = None,
) -> float:
    """Expected estimate of SGLD on a centred quadratic, started at w*.

    w <- w - (eps/2)(gamma (w - w*) + nbeta g) + sqrt(eps) xi. States n_burn + 1 .. n_steps are
    averaged; without them the stationary law is.

    Args:
        eigenvalues: h_i.
        nbeta: n beta.
        gamma: localiser.
        step_size: eps.
        gradient_variance: of the minibatch gradient of the mean loss, along each eigenvector.
        n_burn: steps dropped.
        n_steps: steps in all, the dropped ones included.

    Raises:
        ValueError: where the step is not stable.
    """
    rho = 1 - 0.5 * step_size * (nbeta * eigenvalues + gamma)
    curved = eigenvalues > 0
    if np.any(np.abs(rho[curved]) >= 1):
        limit = 4 / (nbeta * eigenvalues.max() + gamma)
        raise ValueError(f"sgld: step_size is {step_size}, but is stable only below {limit:.6g}")
    gap = np.where(curved, 1 - rho**2, 1.0)
    variance = (step_size + (0.5 * step_size * nbeta) ** 2 * gradient_variance) / gap
    if n_burn is not None and n_steps is not None:
        kept = n_steps - n_burn
        decay = rho ** (2 * (n_burn + 1)) * (1 - rho ** (2 * kept))
        variance = variance * (1 - decay / (kept * gap))
    return float(0.5 * nbeta * np.sum(np.where(curved, eigenvalues * variance, 0.0)))


def sgld_biases(
    eigenvalues: Spectrum,
    nbeta: float,
    gamma: float,
    *,
    step_size: float,
    gradient_variance: Spectrum | float,
    n_burn: int,
    n_steps: int,
) -> Biases:
    """Split SGLD's deviation from rank/2 into its four causes."""
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
