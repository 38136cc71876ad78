"""The posterior as a Gaussian, direction by direction, as minibatch samplers feel it.

Precision comes from Lanczos on the Hessian averaged over the start points, the noise of the
minibatch gradient from gradients there. What Lanczos leaves out is spread over the nodes of a
Gauss quadrature of its spectral density (stochastic Lanczos quadrature; Golub & Meurant 2010): one
mean curvature would overstate what wide spectra contribute. A preconditioned sampler moves in
u = P^(-1/2) (w - w*), and its directions are those of P^(1/2) (nbeta H + gamma) P^(1/2).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from lambda_hat_core.linalg.lanczos import lanczos
from lambda_hat_core.linalg.spectrum import Spectrum
from lambda_hat_core.posterior import Posterior
from lambda_hat_core.programs import quickly
from lambda_hat_core.samplers.coordinates import Coordinates
from lambda_hat_core.samplers.gradients import GradientEstimate
from lambda_hat_core.samplers.subset import Subset
from lambda_hat_core.types import Weights

_BATCHES = 16
"""Minibatch gradients per start point; with 4 chains, 60 degrees of freedom per direction."""
_PRECONDITIONED_RANK = 32
_PROBES, _NODES = 2, 12

Direction = Float[np.ndarray, " k"]


class Modes(NamedTuple):
    """Independent directions; some of them stand for several.

    Attributes:
        size: number of directions that this one stands for.
        mu: precision, an eigenvalue of P^(1/2) (nbeta H + gamma) P^(1/2).
        share: fraction of mu that comes from the loss, nbeta h / (nbeta h + gamma).
        noise: variance of the minibatch estimate of grad U along it.
        start: mean square of the chains' starts along it, in units of 1 / mu.
    """

    size: Direction
    mu: Direction
    share: Direction
    noise: Direction
    start: Direction


@quickly
def _gradients(
    key: PRNGKeyArray, estimate: GradientEstimate, points: Float[Array, "chain d"]
) -> Float[Array, "chain repeat d"]:
    """Return estimates of grad L_n at every point."""

    def at(point: Weights, key: PRNGKeyArray) -> Weights:
        return estimate.of_loss(key, point)

    keys = jr.split(key, (points.shape[0], _BATCHES))
    return jax.vmap(lambda w, ks: jax.lax.map(lambda k: at(w, k), ks))(points, keys)


@quickly
def _preconditioned(
    key: PRNGKeyArray, posterior: Posterior, points: Float[Array, "chain d"], root: Weights, k: int
) -> tuple[Float[Array, " k"], Float[Array, "k d"]]:
    """Return k Ritz pairs of P^(1/2) grad^2 U P^(1/2)."""
    return lanczos(key, _product(posterior, points, root), root.size, k)


@quickly
def _rest(
    key: PRNGKeyArray,
    posterior: Posterior,
    points: Float[Array, "chain d"],
    root: Weights,
    vectors: Float[Array, "k d"],
    n_nodes: int,
) -> tuple[Float[Array, " node"], Float[Array, "node d"], Float[Array, " node"]]:
    """Return the nodes of the quadrature on the complement, with directions and multiplicities."""
    d = root.size
    product = _product(posterior, points, root)

    def outside(v: Weights) -> Weights:
        return v - (vectors @ v) @ vectors

    def probe(key: PRNGKeyArray) -> tuple[Array, Array, Array]:
        start_key, key = jr.split(key)
        start = outside(outside(jr.normal(start_key, (d,), root.dtype)))
        start = start / jnp.linalg.norm(start)
        mu, nodes = lanczos(key, lambda v: outside(product(outside(v))), d, n_nodes, start=start)
        return mu, nodes, (nodes @ start) ** 2

    mu, nodes, weights = jax.lax.map(probe, jr.split(key, _PROBES))
    count = (d - vectors.shape[0]) / _PROBES
    return mu.reshape(-1), nodes.reshape(-1, d), count * weights.reshape(-1)


def _product(
    posterior: Posterior, points: Float[Array, "chain d"], root: Weights
) -> Callable[[Weights], Weights]:
    grad = jax.grad(posterior.potential)

    def apply(v: Weights) -> Weights:
        products = jax.vmap(lambda w: jax.jvp(grad, (w,), (root * v,))[1])(points)
        return root * jnp.mean(products, axis=0)

    return apply


def measure(
    key: PRNGKeyArray,
    estimate: GradientEstimate,
    few: Subset,
    *,
    start: Float[Array, "chain d"],
    spectrum: Spectrum,
    preconditioner: Callable[[Weights], Weights] | None = None,
) -> tuple[Modes, float]:
    """Return the modes and the work of finding them, in full-gradient evaluations.

    The noise is that of `estimate`, and curvature is measured on the examples of `few`.
    `preconditioner` maps the second moment of the loss gradient to P; None is P = 1.
    """
    posterior = few.posterior
    nbeta, gamma = posterior.nbeta, posterior.gamma
    n_chains, d = start.shape
    noise_key, pair_key, rest_key = jr.split(key, 3)
    stochastic = not estimate.is_exact
    gradients, root = None, jnp.ones_like(posterior.w0)
    work, products = 0.0, 0
    if stochastic or preconditioner is not None:
        gradients = _gradients(noise_key, estimate, start)
        work += estimate.work * n_chains * _BATCHES
    if preconditioner is None or gradients is None:
        vectors, mu = spectrum.vectors, nbeta * jnp.maximum(spectrum.theta, 0.0) + gamma
    else:
        root = jnp.sqrt(preconditioner(jnp.mean(gradients**2, axis=(0, 1))))
        rank = min(_PRECONDITIONED_RANK, d)
        mu, vectors = _preconditioned(pair_key, posterior, start, root, rank)
        products += rank
    size = jnp.ones_like(mu)
    if len(vectors) < d:
        n_nodes = min(_NODES, d - len(vectors))
        more, nodes, counts = _rest(rest_key, posterior, start, root, vectors, n_nodes)
        mu, size = jnp.append(mu, more), jnp.append(size, counts)
        vectors = jnp.append(vectors, nodes, axis=0)
        products += len(nodes)
    work += few.cost * 2.0 * n_chains * products
    soft = gamma * jnp.sum((vectors * root) ** 2, axis=1)
    mu = jnp.maximum(mu, soft)
    noise = jnp.zeros_like(mu)
    if stochastic and gradients is not None:
        noise = nbeta**2 * jnp.var((gradients * root) @ vectors.T, axis=1, ddof=1).mean(axis=0)
    begun = mu * jnp.mean((((start - middle(posterior, spectrum)) / root) @ vectors.T) ** 2, axis=0)
    host = (np.asarray(values, np.float64) for values in (size, mu, soft, noise, begun))
    size, mu, soft, noise, begun = host
    return Modes(size, mu, _share(mu, soft), noise, begun), work


def middle(posterior: Posterior, spectrum: Spectrum) -> Weights:
    """Return the mean of the Gaussian: w*, unless a prior shifts it."""
    if posterior.prior is None:
        return posterior.w0
    pull = posterior.tether_grad(jnp.zeros_like(posterior.w0))
    along = spectrum.vectors @ pull
    mu = posterior.nbeta * jnp.maximum(spectrum.theta, 0.0) + posterior.gamma
    rest = posterior.nbeta * spectrum.rest + posterior.gamma
    shift = (along / mu) @ spectrum.vectors + (pull - along @ spectrum.vectors) / rest
    return posterior.w0 - shift


def _share(mu: Direction, soft: Direction) -> Direction:
    """Return the fraction of mu that the localiser's part `soft` leaves to the loss."""
    return np.where(mu > 0, 1 - soft / np.where(mu > 0, mu, 1.0), 0.0)


def whitened(
    key: PRNGKeyArray,
    estimate: GradientEstimate,
    metric: Coordinates,
    *,
    start: Float[Array, "chain d"],
    spectrum: Spectrum,
) -> tuple[Modes, float]:
    """Return the modes in the coordinates of a metric that the same spectrum made, and the work.

    They are the Ritz vectors, and the complement, which counts as one direction: there is nothing
    more to measure but the noise of minibatches.
    """
    k, d = spectrum.vectors.shape
    posterior = estimate.posterior
    nbeta, gamma = float(posterior.nbeta), float(posterior.gamma)
    scale, extra, theta = (
        np.asarray(x, np.float64) for x in (metric.scale, metric.extra, spectrum.theta)
    )
    width = np.append(scale[0] + extra, scale[0])
    h = np.append(np.maximum(theta, 0.0), float(spectrum.rest))
    mu, soft = (nbeta * h + gamma) * width**2, gamma * width**2
    noise, work = np.zeros_like(mu), 0.0
    seen = _seen(key, estimate, start, middle(posterior, spectrum), spectrum.vectors)
    away, variance = (np.asarray(x, np.float64) for x in seen)
    if not estimate.is_exact:
        work = estimate.work * len(start) * _BATCHES
        noise = nbeta**2 * width**2 * variance
    share = _share(mu, soft)
    size = np.append(np.ones(k), float(d - k))
    kept = slice(None) if k < d else slice(k)
    return Modes(*(x[kept] for x in (size, mu, share, noise, mu / width**2 * away))), work


@quickly
def _seen(
    key: PRNGKeyArray,
    estimate: GradientEstimate,
    points: Float[Array, "chain d"],
    centre: Weights,
    vectors: Float[Array, "k d"],
) -> tuple[Float[Array, " k+1"], Float[Array, " k+1"]]:
    """Return the mean square of w - centre, and the variance of batch gradients of the loss.

    Both along each vector, and last, in the mean over directions, on their complement. The variance
    is 0 for the full batch.
    """
    rest = max(points.shape[1] - len(vectors), 1)

    def split(v: Array) -> tuple[Array, Array]:
        along = v @ vectors.T
        return along, v - along @ vectors

    along, across = split(points - centre)
    away = jnp.append(jnp.mean(along**2, axis=0), jnp.mean(jnp.sum(across**2, axis=1)) / rest)
    if estimate.is_exact:
        return away, jnp.zeros_like(away)
    along, across = split(_gradients(key, estimate, points))
    seen = jnp.var(along, axis=1, ddof=1).mean(axis=0)
    left = jnp.var(across, axis=1, ddof=1).mean(axis=0).sum() / rest
    return away, jnp.append(seen, left)
