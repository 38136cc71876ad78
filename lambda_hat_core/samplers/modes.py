"""The posterior as a Gaussian, direction by direction, as minibatch samplers feel it.

Precision comes from Lanczos on the Hessian averaged over the start points, the noise of the
minibatch gradient from gradients there. What Lanczos leaves out is spread over the nodes of a
Gauss quadrature of its spectral density (stochastic Lanczos quadrature; Golub & Meurant 2010): one
mean curvature would overstate what wide spectra contribute. A preconditioned sampler moves in
u = P^(-1/2) (w - w*), and its directions are those of P^(1/2) (nbeta H + gamma) P^(1/2).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from lambda_hat_core.linalg.host import generator, hosted, namespace, placed
from lambda_hat_core.linalg.lanczos import Operator, Vector, lanczos, norm, outside, times
from lambda_hat_core.linalg.spectrum import Spectrum
from lambda_hat_core.posterior import Posterior
from lambda_hat_core.programs import quickly
from lambda_hat_core.samplers.coordinates import Coordinates
from lambda_hat_core.samplers.gradients import GradientEstimate, loss_gradients, random_words
from lambda_hat_core.samplers.subset import Subset
from lambda_hat_core.types import AnyArray, Weights

BATCHES = 16
"""Minibatch gradients per start point; with 4 chains, 60 degrees of freedom per direction."""
PROBE = 64
"""Examples in each of them where the size of a batch is not settled by their noise."""
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

    @property
    def mean_noise(self) -> float:
        """The noise of the directions that make the llc."""
        weight = self.size * self.share
        return float(weight @ self.noise / weight.sum()) if weight.sum() > 0 else 0.0


class Felt(NamedTuple):
    """What a sampler in a constant metric feels.

    Attributes:
        modes: the directions that its ledger tells apart.
        noise: variance of the minibatch estimate of grad U in each direction of the metric's own.
        mu: precision in each of them.
        work: full-gradient evaluations that it took to find out.
    """

    modes: Modes
    noise: Direction
    mu: Direction
    work: float

    def scaled(self, share: float) -> "Felt":
        """Return the same with this share of the noise."""
        modes = self.modes._replace(noise=self.modes.noise * share)
        return self._replace(modes=modes, noise=self.noise * share)


@quickly
def _potential_products(
    posterior: Posterior,
    points: Float[Array, "chain d"],
    root: Any,
    v: Float[AnyArray, " d"],
) -> Weights:
    """Return P^(1/2) grad^2 U P^(1/2) v, the mean over the points."""
    gradient = jax.grad(posterior.potential)
    products = jax.lax.map(lambda w: jax.jvp(gradient, (w,), (root * v,))[1], points)
    return root * jnp.mean(products, axis=0)


def _rest(
    rng: np.random.Generator,
    product: Operator,
    vectors: Vector,
    n_nodes: int,
) -> tuple[Float[np.ndarray, " node"], Vector, Float[np.ndarray, " node"]]:
    """Return the nodes of the quadrature on the complement, with directions and multiplicities."""
    xp, (k, d) = namespace(), vectors.shape
    found = []
    for _ in range(_PROBES):
        start = rng.standard_normal(d).astype(vectors.dtype)
        start = outside(vectors, xp.asarray(start))

        def across(v: Vector) -> Vector:
            return outside(vectors, product(outside(vectors, v)))

        mu, nodes = lanczos(rng, across, n_nodes, like=start, start=start)
        found.append(
            (mu, nodes, np.asarray(times(nodes, start), np.float64) ** 2 / norm(start) ** 2)
        )
    mu, nodes, weights = zip(*found, strict=True)
    return np.concatenate(mu), xp.concatenate(nodes), (d - k) / _PROBES * np.concatenate(weights)


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
    xp, posterior, rng = namespace(), few.posterior, generator(key)
    nbeta, gamma = float(posterior.nbeta), float(posterior.gamma)
    n_chains, d = start.shape
    stochastic = not estimate.is_exact
    gradients, root = None, xp.ones_like(hosted(posterior.w0))
    work, products = 0.0, 0
    if stochastic or preconditioner is not None:
        gradients = batch_gradients(rng, estimate, start)
        work += estimate.work * n_chains * BATCHES

    def product(v: Vector) -> Vector:
        return xp.asarray(_potential_products(posterior, start, root, v))

    if preconditioner is None or gradients is None:
        vectors = hosted(spectrum.vectors)
        mu = nbeta * np.maximum(np.asarray(spectrum.theta, np.float64), 0.0) + gamma
    else:
        moment = placed((gradients**2).mean(axis=(0, 1)))
        root = xp.sqrt(hosted(preconditioner(moment)))
        rank = min(_PRECONDITIONED_RANK, d)
        mu, vectors = lanczos(rng, product, rank, like=posterior.w0)
        products += rank
    size = np.ones(len(mu))
    if len(vectors) < d:
        n_nodes = min(_NODES, d - len(vectors))
        more, nodes, counts = _rest(rng, product, vectors, n_nodes)
        mu, size = np.append(mu, more), np.append(size, counts)
        vectors = xp.concatenate([vectors, nodes])
        products += len(nodes)
    work += few.cost * 2.0 * n_chains * products
    soft = gamma * np.asarray((vectors * root) ** 2, np.float64).sum(axis=1)
    mu = np.maximum(np.asarray(mu, np.float64), soft)
    noise = np.zeros_like(mu)
    if stochastic and gradients is not None:
        along = np.asarray(times(gradients * root, vectors.T), np.float64)
        noise = nbeta**2 * along.var(axis=1, ddof=1).mean(axis=0)
    away = times((hosted(start) - middle(posterior, spectrum)) / root, vectors.T)
    begun = mu * (np.asarray(away, np.float64) ** 2).mean(axis=0)
    return Modes(size, mu, of_loss(mu, soft), noise, begun), work


def middle(posterior: Posterior, spectrum: Spectrum) -> Vector:
    """Return the mean of the Gaussian: w*, unless a prior shifts it."""
    w0 = hosted(posterior.w0)
    if posterior.prior is None:
        return w0
    pull, vectors = float(posterior.prior.precision) * w0, hosted(spectrum.vectors)
    nbeta, gamma = float(posterior.nbeta), float(posterior.gamma)
    along = times(vectors, pull)
    mu = (nbeta * np.maximum(np.asarray(spectrum.theta), 0.0) + gamma).astype(w0.dtype)
    rest = nbeta * float(spectrum.rest) + gamma
    shift = times(along / namespace().asarray(mu), vectors)
    return w0 - shift - (pull - times(along, vectors)) / rest


def batch_gradients(
    rng: np.random.Generator, estimate: GradientEstimate, points: Float[Array, "chain d"]
) -> Vector:
    """Return estimates of grad L_n, an array of shape (chain, batch, d)."""
    found = [
        hosted(loss_gradients(random_words(rng, len(points)), estimate, points))
        for _ in range(BATCHES)
    ]
    return namespace().stack(found, axis=1)


def of_loss(mu: Direction, soft: Direction) -> Direction:
    """Return the fraction of mu that the localiser's part `soft` leaves to the loss."""
    return np.where(mu > 0, 1 - soft / np.where(mu > 0, mu, 1.0), 0.0)


def whitened(
    key: PRNGKeyArray,
    estimate: GradientEstimate,
    metric: Coordinates,
    *,
    start: Float[Array, "chain d"],
    spectrum: Spectrum,
) -> Felt:
    """Return the modes in the coordinates of a metric that the same spectrum made.

    They are the Ritz vectors, and the complement, which counts as one direction: there is nothing
    more to measure but the noise of minibatches. The metric's own directions are the same, and the
    complement is one of them even where it is empty.
    """
    k, d = spectrum.vectors.shape
    posterior = estimate.posterior
    nbeta, gamma = float(posterior.nbeta), float(posterior.gamma)
    width = widths(metric)
    theta = np.asarray(spectrum.theta, np.float64)
    h = np.append(np.maximum(theta, 0.0), float(spectrum.rest))
    mu, soft = (nbeta * h + gamma) * width**2, gamma * width**2
    noise, work = np.zeros_like(mu), 0.0
    centre = middle(posterior, spectrum)
    away, variance = _seen(generator(key), estimate, start, centre, spectrum.vectors)
    if not estimate.is_exact:
        work = estimate.work * len(start) * BATCHES
        noise = nbeta**2 * width**2 * variance
    share = of_loss(mu, soft)
    size = np.append(np.ones(k), float(d - k))
    kept = slice(None) if k < d else slice(k)
    modes = Modes(*(x[kept] for x in (size, mu, share, noise, mu / width**2 * away)))
    own = np.zeros(k + 1), np.ones(k + 1)
    own[0][kept], own[1][kept] = modes.noise, np.maximum(modes.mu, 1e-12)
    return Felt(modes, *own, work)


def widths(metric: Coordinates) -> Direction:
    """Return the width along each of its vectors, and last that of their complement."""
    scale, extra = (np.asarray(x, np.float64) for x in (metric.scale, metric.extra))
    return np.append(scale[0] + extra, scale[0])


def _seen(
    rng: np.random.Generator,
    estimate: GradientEstimate,
    points: Float[Array, "chain d"],
    centre: Vector,
    vectors: Float[Array, "k d"],
) -> tuple[Float[np.ndarray, " k+1"], Float[np.ndarray, " k+1"]]:
    """Return the mean square of w - centre, and the variance of batch gradients of the loss.

    Both along each vector, and last, in the mean over directions, on their complement. The variance
    is 0 for the full batch.
    """
    vectors = hosted(vectors)
    rest = max(points.shape[1] - len(vectors), 1)
    along, across = _split(hosted(points) - centre, vectors)
    away = np.append((along**2).mean(axis=0), across.mean() / rest)
    if estimate.is_exact:
        return away, np.zeros_like(away)
    return away, variance_along(batch_gradients(rng, estimate, points), vectors)


def _split(v: Any, vectors: Vector) -> tuple[np.ndarray, np.ndarray]:
    """Return what of v is along the vectors, and the square of what is not."""
    along = times(v, vectors.T)
    across = np.asarray(v - times(along, vectors), np.float64)
    return np.asarray(along, np.float64), (across**2).sum(axis=-1)


def variance_along(found: Vector, vectors: Float[AnyArray, "k d"]) -> Float[np.ndarray, " k+1"]:
    """Return the variance of gradients, an array of shape (chain, batch, d), within the chains.

    It is that along each vector, and last, in the mean over directions, on their complement.
    """
    n_chains, n_batches, d = found.shape
    along, across = _split(found - found.mean(axis=1, keepdims=True), vectors)
    rest, freedom = max(d - len(vectors), 1), n_chains * (n_batches - 1)
    return np.append((along**2).sum(axis=(0, 1)), across.sum() / rest) / freedom
