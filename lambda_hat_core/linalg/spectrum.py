"""The Hessian of L_n, as Ritz pairs and the mean eigenvalue of their complement.

Taken at w*, or averaged over points of the posterior: where the loss is not quadratic the average
is what a chain meets.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from lambda_hat_core.linalg.lanczos import Operator, lanczos
from lambda_hat_core.posterior import Posterior

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
    def h_max(self) -> Scalar:
        """Largest Ritz value, at least 0."""
        return jnp.maximum(self.theta[-1], 0.0)

    def shrinkage(self, nbeta: Scalar | float, gamma: Scalar | float) -> Float[Array, " k"]:
        """s_i = nbeta theta_i / (nbeta theta_i + gamma), 0 where theta_i <= 0."""
        stiff = nbeta * jnp.maximum(self.theta, 0.0)
        return stiff / jnp.where(stiff > 0, stiff + gamma, 1.0)


def operator_spectrum(key: PRNGKeyArray, product: Operator, d: int, k: int) -> Spectrum:
    """Return k Ritz pairs of a symmetric operator on R^d, and the mean of its complement."""
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


def mean_hessian(posterior: Posterior, points: Float[Array, "point d"]) -> Operator:
    """Return v -> H v, the Hessian of L_n averaged over the points."""
    grad = jax.grad(posterior.loss_mean)

    def product(v: Float[Array, " d"]) -> Float[Array, " d"]:
        products = jax.vmap(lambda w: jax.jvp(grad, (w,), (v,))[1])(points)
        return jnp.mean(products, axis=0)

    return product


@eqx.filter_jit
def _compute(
    key: PRNGKeyArray, posterior: Posterior, points: Float[Array, "point d"], k: int
) -> Spectrum:
    return operator_spectrum(key, mean_hessian(posterior, points), posterior.w0.size, k)


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
    points = posterior.w0[None] if at is None else at
    found = _compute(key, posterior, points, k)
    if not bool(jnp.all(jnp.isfinite(found.theta))):
        where = "at w*" if at is None else "where the chains set out"
        raise FloatingPointError(
            f"the Hessian of L_n is not finite {where} in {points.dtype.name}, and every sampler "
            "sets itself up by it: choose dtype float64, or write the loss so that it has two "
            "derivatives there"
        )
    return found, points.shape[0] * spectrum_work(d, k)
