"""From w* to where the posterior is, before any sampler sets itself up.

The Hessian at w* tells little where the loss is flat there and curved around (an interpolating
classifier has H = 0 at w* and the steepest walls a unit away). So chains of underdamped Langevin
dynamics go outwards from the Laplace start, in the damped coordinates of the Hessian at w*, and
what the samplers then get is the Hessian averaged over where they arrive. On a quadratic it is the
Hessian at w* again.

Where the posterior is colder than the examples of the set-up allow, every step takes a new batch: a
chain on a fixed subset would go where that subset, not all examples, is fitted best (`subset`).

The dynamics are not Metropolised: in many dimensions a Metropolis test forces steps that shrink
with d^(1/4), and a pilot need not be exact. What it must be is stable, so a flight in which a
chain's kinetic energy leaves its law is flown again at half the step, in twice as many steps: the
flat directions, which begin at w*, need the time to reach the localiser's width.
"""

from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, UInt32

from lambda_hat_core.config.samplers.known import SamplerSpec
from lambda_hat_core.config.samplers.vi import Vi
from lambda_hat_core.counters import split
from lambda_hat_core.linalg.host import generator, hosted, namespace, placed
from lambda_hat_core.linalg.spectrum import Spectrum, hessian_spectrum, stiffest
from lambda_hat_core.posterior import Posterior
from lambda_hat_core.programs import quickly
from lambda_hat_core.rounding import error_of_mean
from lambda_hat_core.samplers.coordinates import Coordinates, damped
from lambda_hat_core.samplers.gradients import (
    GradientEstimate,
    control_variate,
    loss_gradients,
    plain,
    random_words,
)
from lambda_hat_core.samplers.subset import Subset
from lambda_hat_core.types import AnyArray

DAMPING = 5.0
"""Of the coordinates, in units of gamma."""
_STEPS = 60
_STEP_SIZE = 0.2
_ALPHA = 0.1
RANK = 128
"""Fewest Ritz pairs of the mean Hessian. The complement counts as being as stiff as the flattest
accurate pair, and of 64 pairs that one is still stiff on networks of ten thousand parameters."""
_BESIDE_FACTORS = 16
"""Pairs where metric and certificate come from factors: enough for the largest eigenvalue."""
_ROWS_PER_PAIR = 3
"""Examples of the set-up per pair: of fewer, the flat pairs tell what these examples are like."""
_MOST_ARITHMETIC = 2e9
"""Largest k^2 d of k pairs, which take 4 k^2 d operations and O(k d) at every step of a chain."""
_COLDEST = 0.5
"""Largest nbeta, in units of the examples of the set-up, at which chains may fly on these alone."""
_FRESH, _SHARE, _VARIED_SHARE = 4096, 16, 128
"""Beyond that every gradient is one of a new batch, of 4096 or a sixteenth of all examples. It
heats the chains by a quarter at most. With a control variate less than 1 in 128 are enough, which
is cheaper where n is large, though every step takes two gradients."""
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
    return fly(key, few, spec, start, spectrum)


class _Flight(NamedTuple):
    """What all flights share, as arrays of `host.namespace`.

    Attributes:
        estimate: the full gradient, or one from a new batch at every step.
        at: the damped coordinates.
        unused: words of keys, which a full gradient does not use.
    """

    estimate: GradientEstimate
    at: Coordinates
    unused: UInt32[Array, "chain 2"]

    def gradient(
        self, rng: np.random.Generator, w: Float[AnyArray, "chain d"]
    ) -> Float[AnyArray, "chain d"]:
        """Return grad U at every point, or an estimate of it."""
        posterior, is_exact = self.estimate.posterior, self.estimate.is_exact
        words = self.unused if is_exact else random_words(rng, len(w))
        of_loss = loss_gradients(words, self.estimate, w)
        pull = float(posterior.gamma) * (w - self.at.origin)
        if posterior.prior is not None:
            pull = pull + float(posterior.prior.precision) * self.at.origin
        return float(posterior.nbeta) * hosted(of_loss) + pull

    def take(
        self, rng: np.random.Generator, w: Float[AnyArray, "chain d"], size: float
    ) -> tuple[Float[AnyArray, "chain d"], Float[np.ndarray, " chain"]]:
        """Return where `_STEPS` steps of this size lead, and the kinetic energies there.

        These are the steps of `sghmc` with a full gradient.
        """
        xp, dtype = namespace(), w.dtype.type

        def noise() -> Any:
            return self.at.powered(xp.asarray(rng.standard_normal(w.shape, dtype)), 1)

        keep, h = dtype(1 - _ALPHA), dtype(size)
        fresh = np.sqrt(1 - keep**2)
        # A flight that leaves overflows, which its energy tells.
        with np.errstate(over="ignore", invalid="ignore"):
            v, gradient = noise(), self.gradient(rng, w)
            for _ in range(_STEPS):
                kicked = v - h * self.at.powered(gradient, 2)
                v = keep * kicked + fresh * noise()
                w = w + dtype(0.5) * h * (kicked + v)
                gradient = self.gradient(rng, w)
            momenta = np.asarray(self.at.powered(v, -1), np.float64)
            return w, 0.5 * (momenta**2).sum(axis=1)


@quickly
def _losses(posterior: Posterior, points: Float[AnyArray, "point d"]) -> Float[Array, " point"]:
    return jax.lax.map(posterior.loss_mean, points)


def _rise(few: Subset, points: Float[AnyArray, "chain d"]) -> float:
    """Return the mean rise of the loss of the set-up from w* to the points."""
    w0 = hosted(few.posterior.w0)
    losses = np.asarray(_losses(few.posterior, namespace().vstack([w0[None], points])), np.float64)
    rise = float((losses[1:] - losses[0]).mean())
    if not few.is_all:
        away = np.asarray((points - w0).mean(axis=0), np.float64)
        rise += float(np.asarray(few.tilt, np.float64) @ away)
    return rise


def rank_for(few: Subset) -> int:
    """Return how many Ritz pairs of the mean Hessian to take.

    On a share of the examples more pairs cost the same number of passes over all of them. They are
    worth it: a direction that the metric does not resolve takes hundreds of draws to relax.
    """
    if few.is_all:
        return RANK
    d = few.whole.w0.size
    most = min(RANK / few.cost, few.posterior.n / _ROWS_PER_PAIR, (_MOST_ARITHMETIC / d) ** 0.5)
    return min(d, max(RANK, int(most)))


def mean_spectrum(
    key: PRNGKeyArray, few: Subset, spec: SamplerSpec, at: Float[Array, "chain d"]
) -> tuple[Spectrum, float]:
    """Return the spectrum of the Hessian averaged over where chains are, and its work."""
    in_factors = getattr(spec, "precond", None) == "kronecker"
    rank = _BESIDE_FACTORS if in_factors else rank_for(few)
    found, spent = hessian_spectrum(key, few.posterior, at=at, rank=rank, in_factors=in_factors)
    return found, few.cost * spent


def _gradient(few: Subset) -> tuple[GradientEstimate, float, float]:
    """Return the gradient that chains fly by, its cost, and what it cost to make.

    Both are in full-gradient evaluations.
    """
    if few.is_all or float(few.posterior.nbeta) <= _COLDEST * few.posterior.n:
        return GradientEstimate(few.posterior, few.tilt, None), few.cost, 0.0
    n = few.whole.n
    size, varied = (max(_FRESH, few.posterior.n, n // share) for share in (_SHARE, _VARIED_SHARE))
    if 2 * varied < size:
        estimate = control_variate(few.whole, varied)
        return estimate, estimate.work, 1.0
    estimate = plain(few.whole, None if size >= n else size)
    return estimate, estimate.work, 0.0


def _why(few: Subset) -> str:
    """Return what may be wrong where no step is small enough, and the way out."""
    w0, nbeta = few.posterior.w0, float(few.posterior.nbeta)
    loss = float(_losses(few.posterior, w0[None])[0])
    rounding = nbeta * error_of_mean(loss, few.posterior.n, w0.dtype.name)
    if rounding > 1:
        wider = ", or dtype float64" if w0.dtype == np.float32 else ""
        return (
            f"nbeta is {nbeta:.3g}, at which the rounding of the loss in {w0.dtype.name} alone is "
            f"{rounding:.2g} nats; choose a smaller nbeta{wider}"
        )
    return (
        "the loss has no bound that the localiser could hold against; raise gamma, or check the "
        "loss away from w*"
    )


def fly(
    key: PRNGKeyArray,
    few: Subset,
    spec: SamplerSpec,
    start: Float[Array, "chain d"],
    spectrum: Spectrum,
) -> Pilot:
    """Take the chains from `start`, with `spectrum` at w*, towards the typical set.

    What is measured there is what `spec` needs.

    Raises:
        FloatingPointError: if no step is small enough.
    """
    fly_key, spectrum_key = split(key)
    rng, posterior = generator(fly_key), few.posterior
    n_chains, d = start.shape
    most = 0.5 * _HOT * d + 10 * (0.5 * d) ** 0.5
    at = hosted(damped(posterior, stiffest(spectrum), DAMPING))
    estimate, cost, made = _gradient(few)
    flight = _Flight(estimate, at, random_words(rng, n_chains))
    size, flights, arrived = _STEP_SIZE, 0, None
    for halvings in range(_MOST_HALVINGS):
        size, points, is_stable = _STEP_SIZE / 2**halvings, hosted(start), False
        for _ in range(2**halvings if halvings <= _MOST_SLOWER else 1):
            flown, kinetic = flight.take(rng, points, size)
            flights += 1
            if not (kinetic < most).all():
                break
            points, is_stable = flown, True
        if is_stable:
            arrived = points
            break
    if arrived is None:
        raise FloatingPointError(
            f"the dynamics leave w* at every step size down to {size:.2g} in coordinates "
            f"whitened by the Hessian there: {_why(few)}"
        )
    positions = placed(arrived)
    spectrum, spent = mean_spectrum(spectrum_key, few, spec, positions)
    work = few.cost * n_chains / 3 + spent
    work += made + cost * flights * n_chains * (_STEPS + 1)
    llc = float(posterior.nbeta) * _rise(few, arrived)
    return Pilot(positions, spectrum, llc, work)
