r"""A step size for Langevin dynamics from curvature and gradient noise measured near w*.

For w <- w - (eps/2) P grad U + sqrt(eps P) xi on a quadratic, with mu_i the eigenvalues of
P^(1/2) (nbeta H + gamma) P^(1/2) and g_i the variance of the minibatch gradient of the mean loss
along them, the stationary variance of direction i is too large by a factor of about
    1 + eps mu_i / 4   (discretisation; exactly 1 / (1 - eps mu_i / 4))
    1 + eps nbeta^2 g_i / 4   (minibatch noise).
The curvature rule eps = fraction / mu_max keeps the first under fraction / 4 in the stiffest
direction; the noise rule keeps the second under a budget on average over the directions that make
the llc. The smaller of the two is taken.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from lambda_hat_core.linalg.lanczos import lanczos
from lambda_hat_core.linalg.spectrum import Spectrum
from lambda_hat_core.posterior import Posterior
from lambda_hat_core.types import Weights

NOISE_BUDGET = 0.05
"""Largest relative inflation of the llc by minibatch noise: what the curvature rule allows."""
_BATCHES = 16
"""Minibatch gradients a start point: with 4 chains, 60 degrees of freedom a direction."""
_PRECONDITIONED_RANK = 32


@eqx.filter_jit
def _gradients(
    key: PRNGKeyArray, posterior: Posterior, points: Float[Array, "chain d"], size: int | None
) -> Float[Array, "chain repeat d"]:
    def at(point: Weights, key: PRNGKeyArray) -> Weights:
        return posterior.loss_grad(point, posterior.minibatch(key, size))

    keys = jr.split(key, (points.shape[0], _BATCHES))
    return jax.vmap(lambda w, ks: jax.lax.map(lambda k: at(w, k), ks))(points, keys)


@eqx.filter_jit
def _preconditioned_pairs(
    key: PRNGKeyArray, posterior: Posterior, root: Weights, k: int
) -> tuple[Float[Array, " k"], Float[Array, "k d"]]:
    grad = jax.grad(posterior.potential)

    def apply(v: Weights) -> Weights:
        return root * jax.jvp(grad, (posterior.w0,), (root * v,))[1]

    return lanczos(key, apply, root.size, k)


def automatic_step(
    key: PRNGKeyArray,
    posterior: Posterior,
    *,
    start: Float[Array, "chain d"],
    spectrum: Spectrum,
    batch_size: int | None,
    fraction: float,
    preconditioner: Callable[[Weights], Weights] | None,
) -> tuple[float, float, dict[str, Any]]:
    """Return eps, its work in full-gradient evaluations, and what was measured.

    `preconditioner` maps the second moment of the loss gradient to P; None is P = 1.
    """
    nbeta, gamma = posterior.nbeta, posterior.gamma
    noise_key, pair_key = jr.split(key)
    stochastic = batch_size is not None and posterior.data is not None
    gradients = _gradients(noise_key, posterior, start, batch_size)
    work = posterior.batch_work(batch_size) * gradients.shape[0] * gradients.shape[1]
    if preconditioner is None:
        root = jnp.ones_like(posterior.w0)
        mu, vectors = nbeta * jnp.maximum(spectrum.theta, 0.0) + gamma, spectrum.vectors
    else:
        root = jnp.sqrt(preconditioner(jnp.mean(gradients**2, axis=(0, 1))))
        rank = min(_PRECONDITIONED_RANK, root.size)
        mu, vectors = _preconditioned_pairs(pair_key, posterior, root, rank)
        mu = jnp.maximum(mu, 0.0)
        work += 2.0 * rank
    largest = float(mu[-1])
    by_curvature = fraction / largest if largest > 0 else float("inf")
    localised = gamma * jnp.sum((vectors * root) ** 2, axis=1)
    weight = jnp.clip(1 - localised / jnp.where(mu > 0, mu, jnp.inf), 0.0, 1.0)
    variance = jnp.var((gradients * root) @ vectors.T, axis=1, ddof=1).mean(axis=0)
    heat = float(nbeta**2 * jnp.sum(weight * variance) / jnp.maximum(jnp.sum(weight), 1e-30) / 4)
    by_noise = NOISE_BUDGET / heat if stochastic and heat > 0 else float("inf")
    step = min(by_curvature, by_noise)
    if step == float("inf"):
        raise ValueError(
            "step_size: auto found neither curvature nor a localiser at w* (nbeta h_max + gamma "
            "is 0); give step_size a number or choose gamma > 0"
        )
    info = {
        "h_max": float(spectrum.h_max),
        "mu_max": largest,
        "noise_inflation_per_step_size": heat if stochastic else 0.0,
        "step_limited_by": "curvature" if by_curvature <= by_noise else "minibatch noise",
    }
    return step, work, info
