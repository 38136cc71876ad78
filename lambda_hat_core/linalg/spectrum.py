"""The Hessian of L_n, as Ritz pairs and the mean eigenvalue of their complement.

Taken at w*, or averaged over points of the posterior: where the loss is not quadratic the average
is what a chain meets.
"""

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from lambda_hat_core.linalg.hessian import MeanHessian
from lambda_hat_core.linalg.host import generator, hosted, namespace
from lambda_hat_core.linalg.kronecker import Factors, factors
from lambda_hat_core.linalg.lanczos import Operator, lanczos, outside
from lambda_hat_core.posterior import Posterior
from lambda_hat_core.types import Weights, constant

RANK = 64
"""Ritz pairs kept. They cost 128 gradient evaluations, which is little compared with any run."""
_PROBES = 4


class Spectrum(eqx.Module):
    """H ~ V^T diag(theta) V + rest (I - V^T V).

    Attributes:
        theta: Ritz values, ascending; eigenvalues where k = d.
        vectors: orthonormal rows V.
        rest: mean eigenvalue on the complement (Hutchinson, 4 probes), at least 0; 0 where k = d.
        factors: the same matrix in a product basis, if that was asked for.
    """

    theta: Float[Array, " k"]
    vectors: Float[Array, "k d"]
    rest: Scalar
    factors: Factors | None = None

    @property
    def is_finite(self) -> bool:
        """Whether all Ritz values are finite."""
        return bool(np.isfinite(np.asarray(self.theta)).all())

    @property
    def h_max(self) -> float:
        """Largest Ritz value, at least 0."""
        return max(float(np.asarray(self.theta)[-1]), 0.0)

    def shrinkage(self, nbeta: Scalar | float, gamma: Scalar | float) -> Float[np.ndarray, " k"]:
        """s_i = nbeta theta_i / (nbeta theta_i + gamma), 0 where theta_i <= 0."""
        stiff = float(nbeta) * np.maximum(np.asarray(self.theta, np.float64), 0.0)
        return stiff / np.where(stiff > 0, stiff + float(gamma), 1.0)


def stiffest(spectrum: Spectrum) -> Spectrum:
    """Return the two thirds of the pairs with the largest |theta|; the others join the rest.

    Lanczos pairs converge from both ends of the spectrum, so that the others are mixtures of many
    eigenvectors. Of a complete spectrum all pairs are kept.
    """
    k, d = spectrum.vectors.shape
    if k == d:
        return spectrum
    theta = np.asarray(spectrum.theta, np.float64)
    order = np.argsort(-np.abs(theta), kind="stable")
    m = max(1, 2 * k // 3)
    kept = np.sort(order[:m])
    dropped = np.maximum(theta[order[m:]], 0.0).sum()
    rest = ((d - k) * float(spectrum.rest) + dropped) / (d - m)
    like = spectrum.theta
    vectors = hosted(spectrum.vectors)[kept]
    return Spectrum(
        constant(theta[kept], like),
        jax.device_put(vectors),
        constant(rest, like),
        spectrum.factors,
    )


def operator_spectrum(
    rng: np.random.Generator, product: Operator, k: int, *, like: Weights
) -> Spectrum:
    """Return k Ritz pairs of a symmetric operator on R^d, and the mean of its complement.

    Args:
        rng: for the start and the probes.
        product: v -> A v.
        k: number of pairs.
        like: an array of shape (d,) in the dtype of the result.
    """
    theta, vectors = lanczos(rng, product, k, like=like)
    rest = 0.0
    if k < like.size and np.isfinite(theta).all():
        xp, above, below = namespace(), 0.0, 0.0
        for _ in range(_PROBES):
            signs = 2.0 * rng.integers(0, 2, like.size) - 1
            probe = outside(vectors, xp.asarray(signs.astype(like.dtype)))
            above += float(probe @ xp.asarray(product(probe)))
            below += float(probe @ probe)
        rest = max(above / below, 0.0)
    return Spectrum(constant(theta, like), jax.device_put(vectors), constant(rest, like))


def spectrum_work(d: int, k: int) -> float:
    """Full-gradient evaluations that `operator_spectrum` costs, 2 per Hessian-vector product."""
    return 2.0 * (k + (_PROBES if k < d else 0))


def hessian_spectrum(
    key: PRNGKeyArray,
    posterior: Posterior,
    *,
    at: Float[Array, "point d"] | None = None,
    rank: int = RANK,
    beside: int = 1,
    in_factors: bool = False,
) -> tuple[Spectrum, float]:
    """Return the spectrum and its work in full-gradient evaluations (2 per product and point).

    Args:
        key: random key.
        posterior: its data and its loss.
        at: the Hessian is averaged over these points; None is w* alone.
        rank: number of Ritz pairs, at most d of them.
        beside: points of the averages that will be taken later: that at w* uses their program.
        in_factors: take the factors too.

    Raises:
        FloatingPointError: if it is not finite there, which leaves a sampler nothing to start from.
    """
    d = posterior.w0.size
    k, rng = min(rank, d), generator(key)
    points = jax.device_put(hosted(posterior.w0)[None]) if at is None else at
    mean = MeanHessian(rng, posterior, beside if at is None else len(at))
    product, passes = mean.at(points)
    found = operator_spectrum(rng, product, k, like=posterior.w0)
    if not found.is_finite:
        where = "at w*" if at is None else "where the chains set out"
        raise FloatingPointError(
            f"the Hessian of L_n is not finite {where} in {found.theta.dtype.name}, and every "
            "sampler sets itself up by it: choose dtype float64, or write the loss so that it has "
            "two derivatives there"
        )
    work = spectrum_work(d, k)
    if in_factors:
        made, products = factors(rng, product, posterior.shapes or ((d,),), like=posterior.w0)
        found, work = Spectrum(found.theta, found.vectors, found.rest, made), work + 2.0 * products
    return found, passes * work
