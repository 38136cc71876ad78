"""From w* to where the posterior is, before any sampler sets itself up.

The Hessian at w* tells little where the loss is flat there and curved around (an interpolating
classifier has H = 0 at w* and the steepest walls a unit away). So chains of underdamped Langevin
dynamics go outwards from the Laplace start, in the damped coordinates of the Hessian at w*, and
what the samplers then get is the Hessian averaged over where they arrive. On a quadratic it is the
Hessian at w* again.

The dynamics are not Metropolised: in many dimensions a Metropolis test forces steps that shrink
with d^(1/4), and a pilot need not be exact. What it must be is stable, so a flight in which a
chain's kinetic energy leaves its law is flown again at half the step, in twice as many steps: the
flat directions, which begin at w*, need the time to reach the localiser's width.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from lambda_hat_core.config.samplers.known import SamplerSpec
from lambda_hat_core.config.samplers.vi import Vi
from lambda_hat_core.counters import fold_in, split
from lambda_hat_core.linalg.spectrum import Spectrum, hessian_spectrum, stiffest
from lambda_hat_core.programs import quickly
from lambda_hat_core.samplers.alternating import alternation
from lambda_hat_core.samplers.coordinates import damped
from lambda_hat_core.samplers.gradients import GradientEstimate
from lambda_hat_core.samplers.sghmc import SghmcKernel, SghmcState
from lambda_hat_core.samplers.subset import Subset
from lambda_hat_core.types import constant

DAMPING = 5.0
"""Of the coordinates, in units of gamma."""
_STEPS = 60
_STEP_SIZE = 0.2
_ALPHA = 0.1
RANK = 128
"""Ritz pairs of the mean Hessian. The complement counts as being as stiff as the flattest accurate
pair, and of 64 pairs that one is still stiff on networks of ten thousand parameters."""
_MOST_HALVINGS = 12
_MOST_SLOWER = 3
"""Halvings up to which a flight lasts as long, with up to 8 times as many steps, or ends where the
next 60 would leave. A step that had to be halved more often meets walls that the Hessian at w* does
not show, as near a crossing, where nothing is flat and more steps would cost more than draws."""
_HOT = 2.0
"""Largest kinetic energy of a chain after a flight, in units of its expectation d / 2, beyond 10 of
its standard deviations. A stable flight stays within a few of them."""


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
    few: Subset,
    spec: SamplerSpec,
    start: Float[Array, "chain d"],
    spectrum: Spectrum,
) -> Pilot:
    """Return what `spec` sets itself up from, given the `spectrum` at w*.

    A Markov chain starts where the pilot arrives. A variational family starts from the Hessian at
    w*, and from the pilot's only where w* has no curvature beyond the localiser.
    """
    posterior = few.posterior
    if isinstance(spec, Vi) and float(posterior.nbeta) * spectrum.h_max > float(posterior.gamma):
        return Pilot(posterior.w0[None], spectrum, None, 0.0)
    return fly(key, few, start, spectrum)


@quickly
def _flight(
    key: PRNGKeyArray, turn: Array, kernel: SghmcKernel, start: Float[Array, "chain d"]
) -> tuple[Float[Array, "chain d"], Float[Array, " chain"], Scalar]:
    """Return where the chains end, their kinetic energies, and the mean rise of the loss."""
    begin_key, move_key = jr.split(fold_in(key, turn))
    count = len(start)
    states = jax.vmap(kernel.init)(jr.split(begin_key, count), start)

    def rise(w: Float[Array, " d"]) -> Scalar:
        posterior, tilt = kernel.posterior, kernel.estimate.tilt
        away = w - posterior.w0
        rise = posterior.loss_mean(w) - posterior.loss_mean(posterior.w0)
        return rise + tilt @ away if tilt.size else rise

    def step(states: SghmcState, key: PRNGKeyArray) -> tuple[SghmcState, None]:
        states, _ = jax.vmap(kernel.step)(jr.split(key, count), states)
        return states, None

    states, _ = jax.lax.scan(step, states, jr.split(move_key, _STEPS))
    momenta = jax.vmap(kernel.coordinates.inverse)(states.v)
    return states.w, 0.5 * jnp.sum(momenta**2, axis=1), jnp.mean(jax.lax.map(rise, states.w))


def fly(
    key: PRNGKeyArray,
    few: Subset,
    start: Float[Array, "chain d"],
    spectrum: Spectrum,
) -> Pilot:
    """Take the chains from `start`, with `spectrum` at w*, towards the typical set.

    Raises:
        FloatingPointError: if no step is small enough.
    """
    fly_key, spectrum_key = split(key)
    posterior = few.posterior
    n_chains, d = start.shape
    at = damped(posterior, stiffest(spectrum), DAMPING)
    most = 0.5 * _HOT * d + 10 * (0.5 * d) ** 0.5
    alpha = constant(_ALPHA, start)
    full = GradientEstimate(posterior, few.tilt, None)
    cold = constant(np.zeros(len(at.extra) + 1), start)
    size, flights = _STEP_SIZE, 0
    positions, rise = start, constant(0.0, start)
    for halvings in range(_MOST_HALVINGS):
        size, positions, is_stable = _STEP_SIZE / 2**halvings, start, False
        steps = alternation(size, 1, start, extrapolate=False)
        kernel = SghmcKernel(posterior, full, at, steps, alpha, cold, "threefry")
        for part in range(2**halvings if halvings <= _MOST_SLOWER else 1):
            turn = jax.device_put(np.array(halvings + part * _MOST_HALVINGS))
            flown, kinetic, risen = _flight(fly_key, turn, kernel, positions)
            flights += 1
            if not (np.asarray(kinetic) < most).all():
                break
            positions, rise, is_stable = flown, risen, True
        if is_stable:
            break
    else:
        raise FloatingPointError(
            f"the dynamics leave w* at every step size down to {size:.2g} in coordinates "
            "whitened by the Hessian there: the loss has no bound that the localiser could hold "
            "against; raise gamma, or check the loss away from w*"
        )
    spectrum, spent = hessian_spectrum(spectrum_key, posterior, at=positions, rank=RANK)
    work = flights * n_chains * (_STEPS + 1) + n_chains / 3 + spent
    llc = float(posterior.nbeta) * float(rise)
    return Pilot(positions, spectrum, llc, few.cost * work)
