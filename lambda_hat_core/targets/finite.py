"""The exact expectation at a finite temperature, for targets for which it can be computed.

Where several ways are open the cheapest is taken: the formula of a Gaussian posterior, quadrature
in one and two dimensions, Gibbs sampling of a product of matrices. None takes more than about 20
CPU seconds; larger problems are left out, with the reason.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lambda_hat_core.analysis.diagnostics import mcmc_mean, r_hat
from lambda_hat_core.config.spec import TargetSpec
from lambda_hat_core.posterior import Loss, Target
from lambda_hat_core.programs import quickly
from lambda_hat_core.targets.losses import Supervised
from lambda_hat_core.targets.networks import DeepLinearNetwork
from lambda_hat_core.targets.potentials import QuadraticPotential
from lambda_hat_core.truth import gibbs, oracles, quadrature
from lambda_hat_core.truth.exact import Exact
from lambda_hat_core.types import Batch, Weights

_POINTS = 3e8
"""Largest number of losses of single examples in a quadrature, about 10 CPU seconds."""

_LEVELS = (6, quadrature.LEVELS)
"""Halvings of the panels that are tried on data: a posterior on data is seldom as narrow as the
ridges of a potential."""

_BLOCK = 2**22
"""Losses of single examples that are evaluated at once."""

_DENSE, _PRODUCTS = 800, 2e9
"""Largest d for a Hessian, and largest n d^2."""

_STRAIGHT = 1e-8
"""Third and fourth differences of a quadratic loss, relative to how far it rises."""

_SE_MAX, _R_HAT_MAX = 0.02, 1.05
"""Largest relative error and R-hat of the Gibbs sampler."""


class Held(NamedTuple):
    """The Gaussian that localiser and prior are together.

    Attributes:
        gamma: its precision.
        at: its centre, in units of w*: 1 without a prior.
    """

    gamma: float
    at: float


def _held(gamma: float, prior: float) -> Held:
    return Held(gamma + prior, gamma / (gamma + prior) if prior else 1.0)


def oracle(
    spec: TargetSpec, target: Target, nbeta: float, gamma: float, prior: float = 0.0
) -> Exact:
    """Return nbeta (E_p[L] - L(w*)), if it can be computed, and how it was found or why not.

    Args:
        spec: of the target.
        target: the target itself.
        nbeta: n beta.
        gamma: strength of the localiser.
        prior: precision of a prior about 0; 0: there is none.
    """
    loss = target.loss
    found = computed(target, nbeta, gamma, prior)
    if found.value is not None or target.w0.size <= 2:
        return found
    if isinstance(loss, Supervised) and isinstance(loss.network, DeepLinearNetwork):
        with jax.enable_x64(True):
            wide = _widened(target)
        return _product(wide, loss, loss.network, nbeta, _held(gamma, prior))
    if target.data is None:
        return found
    return found._replace(source=f"no formula for {spec.model.kind}, and {found.source}")


def computed(target: Target, nbeta: float, gamma: float, prior: float = 0.0) -> Exact:
    """Return the value if a formula or quadrature has it, in about a second at most."""
    held = _held(gamma, prior)
    if isinstance(target.loss, QuadraticPotential) and not prior:
        value = oracles.quadratic(target.loss.eigenvalues(), nbeta, gamma)
        return Exact(value, None, "half the sum of nbeta h / (nbeta h + gamma)")
    with jax.enable_x64(True):
        wide = _widened(target)
        if target.w0.size <= 2:
            return _quadrature(wide, nbeta, held)
        found = _gaussian(wide, nbeta, held)
    if found is not None:
        return Exact(found, None, "the loss is quadratic: the formula of a Gaussian posterior")
    return Exact(None, None, f"quadrature is limited to d <= 2, but d is {target.w0.size}")


def _widened(target: Target) -> Target:
    def widen(array: jax.Array) -> jax.Array:
        floating = jnp.issubdtype(array.dtype, jnp.floating)
        return jnp.asarray(np.asarray(array, np.float64)) if floating else array

    return Target(widen(target.w0), jax.tree.map(widen, target.data), target.loss, target.n)


def _rows(target: Target) -> int:
    return 1 if target.data is None else target.n


@quickly
def _many(loss: Loss, points: Float[Array, "point d"], data: Batch) -> Float[Array, " point"]:
    return jax.vmap(lambda w: loss.mean(w, data))(points)


def _losses(target: Target) -> Callable[[np.ndarray], np.ndarray]:
    block = max(1, _BLOCK // _rows(target))

    def losses(points: np.ndarray) -> np.ndarray:
        """Evaluate blocks of one size, the last one filled up, so that one program serves all."""
        size = min(block, len(points))
        short = -len(points) % size
        filled = np.concatenate([points, np.repeat(points[:1], short, axis=0)])
        parts = [
            np.asarray(_many(target.loss, jnp.asarray(part), target.data))
            for part in filled.reshape(-1, size, d)
        ]
        return np.concatenate(parts)[: len(points)]

    d = target.w0.size
    return losses


def _quadrature(target: Target, nbeta: float, held: Held) -> Exact:
    if held.gamma <= 0:
        why = "quadrature needs gamma > 0: without it the posterior need not be proper"
        return Exact(None, None, why)
    w0, losses = np.asarray(target.w0), _losses(target)
    centre = held.at * w0
    for levels in _LEVELS if target.data is not None else (quadrature.LEVELS,):
        if quadrature.size(w0, levels, centre) * _rows(target) > _POINTS:
            return Exact(None, None, f"quadrature over {target.n} examples would take too long")
        value = quadrature.potential(losses, w0, nbeta, held.gamma, levels=levels, centre=centre)
        if value is not None:
            return Exact(value, None, f"quadrature in {w0.size} dimensions")
    return Exact(None, None, "quadrature did not converge")


def _gaussian(target: Target, nbeta: float, held: Held) -> float | None:
    """Return the value if the loss is quadratic, on all scales on which the localiser holds.

    With L_n(w* + v) = L_n(w*) + g v + v H v / 2 and the localiser centred at w* + c the posterior
    of v is N(m, A^-1), where A = nbeta H + gamma and m = A^-1 (gamma c - nbeta g).
    """
    gamma = held.gamma
    d = target.w0.size
    if d > _DENSE or _rows(target) * d**2 > _PRODUCTS:
        return None
    steps, values = _lines(target, held)
    if not _is_quadratic(values):
        return None
    g, hessian = map(np.asarray, _derivatives(target.loss, target.w0, target.data))
    if not _has(values, steps @ g, np.sum(steps @ hessian * steps, axis=1)):
        return None
    h, vectors = np.linalg.eigh((hessian + hessian.T) / 2)
    h = np.where(h > d * np.finfo(float).eps * np.abs(h).max(), h, np.minimum(h, 0.0))
    precision = nbeta * np.where(np.abs(h) < 1e-12 * np.abs(h).max(), 0.0, h) + gamma
    if precision.min() <= 0:
        return None
    slope = vectors.T @ g
    away = vectors.T @ ((held.at - 1) * np.asarray(target.w0))
    mean = (gamma * away - nbeta * slope) / precision
    return float(nbeta * (slope @ mean + 0.5 * np.sum(h * (mean**2 + 1 / precision))))


@quickly
def _derivatives(loss: Loss, w: Weights, data: Batch) -> tuple[Weights, Float[Array, "d d"]]:
    grad = jax.grad(loss.mean)

    def product(v: Weights) -> Weights:
        return jax.jvp(lambda w: grad(w, data), (w,), (v,))[1]

    return grad(w, data), jax.lax.map(product, jnp.eye(w.size), batch_size=16)


def _lines(
    target: Target, held: Held
) -> tuple[Float[np.ndarray, "line d"], Float[np.ndarray, "line 5"]]:
    """Return a few random steps, and the losses from two of them before w* to two beyond it."""
    rng = np.random.default_rng(0)
    width = 1.0 if held.gamma <= 0 else held.gamma**-0.5
    width = max(width, (1 - held.at) * float(np.abs(np.asarray(target.w0)).max()))
    steps = width * rng.standard_normal((3, 1, target.w0.size))
    points = np.asarray(target.w0) + steps * np.arange(-2, 3)[:, None]
    values = _losses(target)(points.reshape(-1, target.w0.size))
    return steps[:, 0], values.reshape(3, 5)


def _is_quadratic(values: Float[np.ndarray, "line 5"]) -> bool:
    far2, far1, here, near1, near2 = values.T
    third = near2 - 2 * near1 + 2 * far1 - far2
    fourth = near2 - 4 * near1 + 6 * here - 4 * far1 + far2
    rise = np.ptp(values)
    return bool(rise > 0 and max(np.abs(third).max(), np.abs(fourth).max()) <= _STRAIGHT * rise)


def _has(
    values: Float[np.ndarray, "line 5"],
    slopes: Float[np.ndarray, " line"],
    curvatures: Float[np.ndarray, " line"],
) -> bool:
    """Return whether losses have these derivatives along their lines.

    JAX has no second derivative of |z|^2 as jnp.abs(z) ** 2 where z = 0, as of a Fourier transform.
    """
    _, far1, here, near1, _ = values.T
    off = np.abs(0.5 * (near1 - far1) - slopes) + np.abs(near1 - 2 * here + far1 - curvatures)
    return bool(off.max() <= _STRAIGHT * np.ptp(values))


def _product(
    target: Target, loss: Supervised, network: DeepLinearNetwork, nbeta: float, held: Held
) -> Exact:
    if loss.name not in ("mse", "gaussian"):
        return Exact(None, None, f"Gibbs sampling needs squared errors, the loss is {loss.name}")
    assert target.data is not None
    x, y = (np.asarray(array, np.float64) for array in target.data)
    layers = [np.asarray(layer, np.float64) for layer in network.layers(target.w0)]
    if gibbs.work(layers) > gibbs.LARGEST_WORK:
        return Exact(None, None, f"Gibbs sampling of widths {network.widths} would take too long")
    factor = 2 / y.shape[1] if loss.name == "mse" else loss.sigma**-2
    best = np.linalg.lstsq(x, y)[0]
    product = gibbs.Product(layers, x.T @ x / len(x), best, factor * nbeta)
    draws = gibbs.sample(product, held.gamma, held=held.at)
    found, mixed = mcmc_mean(draws), r_hat(draws)
    if found.se is None or mixed is None or mixed > _R_HAT_MAX or found.se > _SE_MAX * found.mean:
        return Exact(None, None, f"{len(draws[0])} sweeps of Gibbs sampling were too few")
    source = f"{draws.size} draws of a Gibbs sampler, layer by layer"
    return Exact(found.mean, found.se, source, "exact, by Gibbs sampling")
