"""The Hessian of L_n, as Ritz pairs and the mean eigenvalue of their complement.

Taken at w*, or averaged over points of the posterior: where the loss is not quadratic the average
is what a chain meets.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, Scalar

from lambda_hat_core.linalg.lanczos import Operator, lanczos
from lambda_hat_core.posterior import Posterior
from lambda_hat_core.programs import quickly

RANK = 64
"""Ritz pairs kept. They cost 128 gradient evaluations, which is little compared with any run."""
_PROBES = 4


class Spectrum(eqx.Module):
    """H ~ V^T diag(theta) V + rest (I - V^T V).

    Attributes:
        theta: Ritz values, ascending; eigenvalues where k = d.
        vectors: orthonormal rows V.
        rest: mean eigenvalue on the complement (Hutchinson, 4 probes), at least 0; 0 where k = d.
    """

    theta: Float[Array, " k"]
    vectors: Float[Array, "k d"]
    rest: Scalar

    @property
    def is_finite(self) -> bool:
        """Whether all Ritz values are finite."""
        return bool(np.isfinite(np.asarray(self.theta)).all())

    @property
    def h_max(self) -> float:
        """Largest Ritz value, at least 0."""
        return max(float(np.asarray(self.theta)[-1]), 0.0)

    def shrinkage(self, nbeta: Scalar | float, gamma: Scalar | float) -> Float[Array, " k"]:
        """s_i = nbeta theta_i / (nbeta theta_i + gamma), 0 where theta_i <= 0."""
        stiff = nbeta * jnp.maximum(self.theta, 0.0)
        return stiff / jnp.where(stiff > 0, stiff + gamma, 1.0)


@quickly
def stiffest(spectrum: Spectrum) -> Spectrum:
    """Return the two thirds of the pairs with the largest |theta|; the others join the rest.

    Lanczos pairs converge from both ends of the spectrum, so that the others are mixtures of many
    eigenvectors. Of a complete spectrum all pairs are kept.
    """
    k, d = spectrum.vectors.shape
    if k == d:
        return spectrum
    order = jnp.argsort(-jnp.abs(spectrum.theta))
    m = max(1, 2 * k // 3)
    kept = jnp.sort(order[:m])
    dropped = jnp.sum(jnp.maximum(spectrum.theta[order[m:]], 0.0))
    rest = ((d - k) * spectrum.rest + dropped) / (d - m)
    return Spectrum(spectrum.theta[kept], spectrum.vectors[kept], rest)


def operator_spectrum(key: PRNGKeyArray, product: Operator, d: int, k: int) -> Spectrum:
    """Return k Ritz pairs of a symmetric operator on R^d, and the mean of its complement.

    Call it inside of a jitted function: the number of steps is static.
    """
    lanczos_key, probe_key = jr.split(key)
    theta, vectors = lanczos(lanczos_key, product, d, k)
    if k == d:
        return Spectrum(theta, vectors, jnp.zeros((), theta.dtype))
    probes = jr.rademacher(probe_key, (_PROBES, d), dtype=theta.dtype)
    probes = probes - (probes @ vectors.T) @ vectors
    products = jax.lax.map(product, probes)
    rest = jnp.sum(probes * products) / jnp.sum(probes**2)
    return Spectrum(theta, vectors, jnp.maximum(rest, 0.0))


def spectrum_work(d: int, k: int) -> float:
    """Full-gradient evaluations that `operator_spectrum` costs, 2 per Hessian-vector product."""
    return 2.0 * (k + (_PROBES if k < d else 0))


_FEWEST_ROWS = 64
"""Examples on which the Hessian at one of several points is taken at least."""


def shares_rows(posterior: Posterior, n_points: int) -> bool:
    """Return whether the mean over points takes other rows of the data at each of them."""
    return n_points > 1 and posterior.data is not None and posterior.n >= n_points * _FEWEST_ROWS


def mean_hessian(
    key: PRNGKeyArray, posterior: Posterior, points: Float[Array, "point d"]
) -> Operator:
    """Return v -> H v, the Hessian of L_n averaged over the points, one point after the other.

    If there are enough examples, each point takes a random share of them, so that a product costs
    one pass over the data for any number of points: the mean of a metric need not be exact.
    """
    count = points.shape[0]
    gradient = jax.grad(posterior.loss.mean)
    if not shares_rows(posterior, count):

        def product(v: Float[Array, " d"]) -> Float[Array, " d"]:
            def at(w: Float[Array, " d"]) -> Float[Array, " d"]:
                return jax.jvp(lambda u: gradient(u, posterior.data), (w,), (v,))[1]

            return jnp.mean(jax.lax.map(at, points), axis=0)

        return product
    size = posterior.n // count
    rows = jr.permutation(key, posterior.n)[: size * count].reshape(count, size)

    def shared(v: Float[Array, " d"]) -> Float[Array, " d"]:
        def at(w: Float[Array, " d"], index: Int[Array, " row"]) -> Float[Array, " d"]:
            batch = jax.tree.map(lambda a: a[index], posterior.data)
            return jax.jvp(lambda u: gradient(u, batch), (w,), (v,))[1]

        return jnp.mean(jax.lax.map(lambda pair: at(*pair), (points, rows)), axis=0)

    return shared


@quickly
def _compute(
    key: PRNGKeyArray, posterior: Posterior, points: Float[Array, "point d"] | None, k: int
) -> Spectrum:
    rows_key, key = jr.split(key)
    points = posterior.w0[None] if points is None else points
    product = mean_hessian(rows_key, posterior, points)
    return operator_spectrum(key, product, posterior.w0.size, k)


def hessian_spectrum(
    key: PRNGKeyArray,
    posterior: Posterior,
    *,
    at: Float[Array, "point d"] | None = None,
    rank: int = RANK,
) -> tuple[Spectrum, float]:
    """Return the spectrum and its work in full-gradient evaluations (2 per product and point).

    The Hessian is averaged over the points `at`; None is w* alone.

    Raises:
        FloatingPointError: if it is not finite there, which leaves a sampler nothing to start from.
    """
    d = posterior.w0.size
    k = min(rank, d)
    n_points = 1 if at is None else len(at)
    found = _compute(key, posterior, at, k)
    if not found.is_finite:
        where = "at w*" if at is None else "where the chains set out"
        raise FloatingPointError(
            f"the Hessian of L_n is not finite {where} in {found.theta.dtype.name}, and every "
            "sampler sets itself up by it: choose dtype float64, or write the loss so that it has "
            "two derivatives there"
        )
    times = 1 if shares_rows(posterior, n_points) else n_points
    return found, times * spectrum_work(d, k)
