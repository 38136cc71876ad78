"""From w* to where the posterior is, before any sampler sets itself up.

The Hessian at w* tells little where the loss is flat there and curved around (an interpolating
classifier has H = 0 at w* and the steepest walls a unit away). So a short HMC, exact in law, takes
the chains from the Laplace start outwards, in two rounds, each in the coordinates of the Hessian
that the last one met; what the samplers then get is the Hessian averaged over the chains. On a
quadratic it is the Hessian at w* again.
"""

from typing import NamedTuple

import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from lambda_hat_core.config.samplers.known import SamplerSpec
from lambda_hat_core.config.samplers.vi import Vi
from lambda_hat_core.linalg.spectrum import Spectrum, hessian_spectrum
from lambda_hat_core.posterior import Posterior
from lambda_hat_core.samplers.adapt import dual_averaging
from lambda_hat_core.samplers.coordinates import laplace
from lambda_hat_core.samplers.hmc import HmcKernel

_ROUNDS = 2
_STEPS = 50
_LEAPFROGS = 4
"""Leapfrogs of a mean trajectory, which makes 200 gradients per round and chain."""
_ACCEPTANCE = 0.8


class Pilot(NamedTuple):
    """The positions of the chains, and what the pilot measured on the way.

    Attributes:
        positions: positions of the chains.
        spectrum: spectrum of the Hessian averaged over these positions.
        llc: rough estimate, the mean of nbeta (L_n - L_n(w*)) over the last steps; None if no pilot
            ran.
        work: full-gradient evaluations of the pilot and of the spectrum.
    """

    positions: Float[Array, "chain d"]
    spectrum: Spectrum
    llc: float | None
    work: float


def set_out(
    key: PRNGKeyArray,
    posterior: Posterior,
    spec: SamplerSpec,
    start: Float[Array, "chain d"],
    spectrum: Spectrum,
    loss0: float,
) -> Pilot:
    """Return what `spec` sets itself up from, given the `spectrum` at w*.

    A Markov chain starts where the pilot arrives. A variational family starts from the Hessian at
    w*, and from the pilot's only where w* has no curvature beyond the localiser.
    """
    if isinstance(spec, Vi) and posterior.nbeta * spectrum.h_max > posterior.gamma:
        return Pilot(posterior.w0[None], spectrum, None, 0.0)
    return fly(key, posterior, start, spectrum, loss0)


def fly(
    key: PRNGKeyArray,
    posterior: Posterior,
    start: Float[Array, "chain d"],
    spectrum: Spectrum,
    loss0: float,
) -> Pilot:
    """Take the chains from `start`, with `spectrum` and `loss0` at w*, to the typical set."""
    work, mean_loss = 0.0, 0.0
    positions = start
    step = jnp.asarray(posterior.w0.size**-0.25, start.dtype)
    for round_key in jr.split(key, _ROUNDS):
        move_key, spectrum_key = jr.split(round_key)
        kernel = HmcKernel(posterior, laplace(posterior, spectrum), step, _LEAPFROGS)
        target = jnp.asarray(_ACCEPTANCE, start.dtype)
        moved = dual_averaging(move_key, kernel, positions, _STEPS, target)
        positions, mean_loss = moved.positions, float(moved.mean_loss)
        spectrum, spent = hessian_spectrum(spectrum_key, posterior, at=positions)
        work += float(moved.work) + spent
    return Pilot(positions, spectrum, mean_loss - float(posterior.nbeta) * loss0, work)
