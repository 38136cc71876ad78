"""The Laplace approximation of the posterior, direction by direction, as minibatch samplers feel it.

Precision and share of the loss come from Lanczos at w*, the noise of the minibatch gradient from
gradients at the start points. A preconditioned sampler moves in u = P^(-1/2) (w - w*), and its
directions are those of P^(1/2) (nbeta H + gamma) P^(1/2).
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from lambda_hat_core.linalg.lanczos import lanczos
from lambda_hat_core.linalg.spectrum import Spectrum
from lambda_hat_core.posterior import Posterior
from lambda_hat_core.types import Weights

_BATCHES = 16
"""Minibatch gradients a start point: with 4 chains, 60 degrees of freedom a direction."""
_PRECONDITIONED_RANK = 32
_PROBES = 4

Direction = Float[np.ndarray, " k"]


class Modes(NamedTuple):
    """Independent directions, the stiffest last but one; the last stands for all the rest.

    Attributes:
        count: directions that this one stands for.
        mu: precision, an eigenvalue of P^(1/2) (nbeta H + gamma) P^(1/2).
        share: part of it that the loss makes, nbeta h / (nbeta h + gamma).
        noise: variance of the minibatch estimate of grad U along it.
        start: variance of the chains' starts in units of the stationary one.
    """

    count: Direction
    mu: Direction
    share: Direction
    noise: Direction
    start: Direction


@eqx.filter_jit
def _gradients(
    key: PRNGKeyArray, posterior: Posterior, points: Float[Array, "chain d"], size: int | None
) -> Float[Array, "chain repeat d"]:
    def at(point: Weights, key: PRNGKeyArray) -> Weights:
        return posterior.loss_grad(point, posterior.minibatch(key, size))

    keys = jr.split(key, (points.shape[0], _BATCHES))
    return jax.vmap(lambda w, ks: jax.lax.map(lambda k: at(w, k), ks))(points, keys)


@eqx.filter_jit
def _preconditioned(
    key: PRNGKeyArray, posterior: Posterior, root: Weights, k: int
) -> tuple[Float[Array, " k"], Float[Array, "k d"], Float[Array, ""]]:
    """Return Ritz pairs of P^(1/2) grad^2 U P^(1/2) at w*, and its trace on their complement."""
    grad = jax.grad(posterior.potential)

    def apply(v: Weights) -> Weights:
        return root * jax.jvp(grad, (posterior.w0,), (root * v,))[1]

    lanczos_key, probe_key = jr.split(key)
    d = root.size
    mu, vectors = lanczos(lanczos_key, apply, d, k)
    probes = jr.rademacher(probe_key, (_PROBES, d), dtype=root.dtype)
    probes = probes - (probes @ vectors.T) @ vectors
    length = jnp.maximum(jnp.sum(probes**2), jnp.finfo(root.dtype).tiny)
    mean = jnp.sum(probes * jax.lax.map(apply, probes)) / length
    return mu, vectors, (d - k) * mean


def measure(
    key: PRNGKeyArray,
    posterior: Posterior,
    *,
    start: Float[Array, "chain d"],
    spectrum: Spectrum,
    batch_size: int | None,
    preconditioner: Callable[[Weights], Weights] | None = None,
) -> tuple[Modes, float]:
    """Return the modes and the work of finding them, in full-gradient evaluations.

    `preconditioner` maps the second moment of the loss gradient to P; None is P = 1.
    """
    nbeta, gamma, d = float(posterior.nbeta), float(posterior.gamma), posterior.w0.size
    noise_key, pair_key = jr.split(key)
    stochastic = batch_size is not None and posterior.data is not None
    work = 0.0
    gradients = None
    if stochastic or preconditioner is not None:
        gradients = _gradients(noise_key, posterior, start, batch_size)
        work += posterior.batch_work(batch_size) * gradients.shape[0] * gradients.shape[1]
    if preconditioner is None or gradients is None:
        root = jnp.ones_like(posterior.w0)
        vectors = spectrum.vectors
        stiff = nbeta * np.maximum(_host(spectrum.theta), 0.0)
        soft = gamma * np.ones(stiff.size)
        rest, rest_soft = nbeta * float(spectrum.rest), gamma
    else:
        root = jnp.sqrt(preconditioner(jnp.mean(gradients**2, axis=(0, 1))))
        rank = min(_PRECONDITIONED_RANK, d)
        mu, vectors, left = _preconditioned(pair_key, posterior, root, rank)
        work += 2.0 * (rank + _PROBES)
        soft = gamma * _host(jnp.sum((vectors * root) ** 2, axis=1))
        stiff = np.maximum(_host(mu) - soft, 0.0)
        others = max(d - rank, 1)
        rest_soft = max(gamma * float(jnp.sum(root**2)) - soft.sum(), 0.0) / others
        rest = max(float(left) / others - rest_soft, 0.0)
    count = np.append(np.ones(stiff.size), d - stiff.size)
    stiff, soft = np.append(stiff, rest), np.append(soft, rest_soft)
    mu = stiff + soft
    share = stiff / np.where(mu > 0, mu, 1.0)
    noise = np.zeros(mu.size)
    if stochastic and gradients is not None:
        noise = nbeta**2 * _variances(gradients * root, vectors)
    # Where the chains start wide and where at w* itself: `start.laplace_start`.
    begun = np.append(share[:-1] > 0.5, False).astype(float)
    kept = count > 0
    return Modes(*(values[kept] for values in (count, mu, share, noise, begun))), work


def _variances(
    gradients: Float[Array, "chain repeat d"], vectors: Float[Array, "k d"]
) -> Direction:
    """Variance over repeats along every vector, then the mean one of the rest."""
    along = jnp.var(gradients @ vectors.T, axis=1, ddof=1).mean(axis=0)
    whole = jnp.sum(jnp.var(gradients, axis=1, ddof=1).mean(axis=0))
    others = max(gradients.shape[-1] - vectors.shape[0], 1)
    return _host(jnp.append(along, jnp.maximum(whole - jnp.sum(along), 0.0) / others))


def _host(values: Array) -> np.ndarray:
    return np.asarray(values, np.float64)
