"""A constant metric that is diagonal in a product basis, array by array of a network.

A = Q diag(width) Q^T with Q of `linalg.kronecker`. Where a network has more stiff directions than
Lanczos resolves, those that it leaves out all count as equally stiff, and flat ones among them take
thousands of steps to relax; here every direction has a width of its own. The certificate's matrix
is diagonal in the same basis, which saves the Ritz pairs.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from lambda_hat_core.linalg.host import generator, hosted
from lambda_hat_core.linalg.kronecker import Factors, ProductBasis
from lambda_hat_core.linalg.lanczos import Vector
from lambda_hat_core.posterior import Posterior
from lambda_hat_core.samplers.coordinates import Coordinates
from lambda_hat_core.samplers.gradients import GradientEstimate
from lambda_hat_core.samplers.modes import Felt, Modes, batch_gradients, of_loss
from lambda_hat_core.types import AnyArray, Weights, constant

_GROUPS = 128
"""Groups of directions that the ledger tells apart."""
_IN_A_GROUP = 64
"""Most directions in a group of the certificate, beyond as many groups: in larger ones the stiffest
directions of a network of a million parameters would count no more than thousands of others."""


class ProductMetric(eqx.Module):
    """A, symmetric.

    Attributes:
        basis: Q.
        width: of every direction of Q.
    """

    basis: ProductBasis
    width: Weights

    def apply(self, v: Float[AnyArray, " d"]) -> Any:
        """A v."""
        return self.basis.out_of(self.width * self.basis.into(v))

    def kick(
        self, gradient: Weights, xi: Weights, sizes: Float[Array, " d"]
    ) -> tuple[Weights, Weights]:
        """Return A^2 g, and A M xi' with M = Q diag(sizes) Q^T and xi' = Q xi, as normal as xi."""
        force = self.width**2 * self.basis.into(gradient)
        turned = self.basis.out_of(jnp.stack([force, self.width * sizes * xi]))
        return turned[0], turned[1]


Metric = Coordinates | ProductMetric


def product_metric(posterior: Posterior, factors: Factors, damping: float) -> ProductMetric:
    """A = (nbeta D + (1 + damping) gamma)^(-1/2), D the norms of the rows of Q^T H Q."""
    stiff = float(posterior.nbeta) * np.asarray(factors.norms, np.float64)
    largest = stiff.max()
    soft = (1 + damping) * float(posterior.gamma)
    soft = max(soft, 1e-6 * largest if largest > 0 else 1.0)
    return ProductMetric(factors.basis, constant(1 / np.sqrt(stiff + soft), posterior.w0))


class _Sorted(NamedTuple):
    """Directions in groups of about one stiffness."""

    order: np.ndarray
    starts: np.ndarray
    size: np.ndarray

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Return the mean over every group."""
        return np.add.reduceat(values[self.order], self.starts) / self.size

    def each(self, values: np.ndarray) -> np.ndarray:
        """Return for every direction the value of its group."""
        found = np.empty(len(self.order))
        found[self.order] = np.repeat(values, self.size.astype(int))
        return found


def _sorted(stiffness: np.ndarray, most: int = _GROUPS) -> _Sorted:
    d = len(stiffness)
    starts = np.unique(np.linspace(0, d, min(most, d), endpoint=False).astype(int))
    return _Sorted(np.argsort(stiffness), starts, np.diff(np.append(starts, d)).astype(float))


def certificate(factors: Factors) -> Float[np.ndarray, " d"]:
    """Return the weight of every direction of Q in the certificate's matrix, at most 1.

    It is the mean diagonal of the direction's group. The shrinkage would give weight to thousands
    of directions that are hardly stiff, and these hide the heat of the stiff ones. Its square would
    give all of it to some hundred directions, for which chains that had mixed were kept waiting.
    """
    norms = np.asarray(factors.norms, np.float64)
    groups = _sorted(norms, max(_GROUPS, len(norms) // _IN_A_GROUP))
    h = np.maximum(groups.mean(np.asarray(factors.diagonal, np.float64)), 0.0)
    return groups.each(h / max(h.max(), 1e-300))


def felt(
    key: PRNGKeyArray,
    estimate: GradientEstimate,
    metric: ProductMetric,
    factors: Factors,
    *,
    start: Float[Array, "chain d"],
) -> Felt:
    """Return the modes in the coordinates of a metric that these factors made.

    A group of directions counts with its means: the error of a single diagonal entry is large.
    """
    posterior = estimate.posterior
    nbeta, gamma = float(posterior.nbeta), float(posterior.gamma)
    basis, width = hosted(metric.basis), np.asarray(metric.width, np.float64)
    groups = _sorted(np.asarray(factors.norms, np.float64))
    h = groups.mean(np.asarray(factors.diagonal, np.float64))
    squared = groups.mean(width**2)
    precision = nbeta * np.maximum(h, 0.0) + gamma
    mu = precision * squared
    away = np.asarray(basis.into(hosted(start) - hosted(posterior.w0)), np.float64)
    if posterior.prior is not None:
        # The prior moves the middle of the Gaussian from w*.
        pull = float(posterior.prior.precision) * basis.into(hosted(posterior.w0))
        away = away + np.asarray(pull, np.float64) / groups.each(precision)
    begun = precision * groups.mean((away**2).mean(axis=0))
    noise, work = np.zeros_like(width), 0.0
    if not estimate.is_exact:
        found = batch_gradients(generator(key), estimate, start)
        noise = nbeta**2 * width**2 * variance_in(found, basis)
        work = estimate.work * found.shape[0] * found.shape[1]
    modes = Modes(groups.size, mu, of_loss(mu, gamma * squared), groups.mean(noise), begun)
    return Felt(modes, noise, groups.each(mu), work)


def variance_in(found: Vector, basis: ProductBasis) -> Float[np.ndarray, " d"]:
    """Return the variance of gradients, an array of shape (chain, batch, d), within the chains.

    It is that along every direction of the basis, whose arrays are those of `host.namespace`.
    """
    return np.asarray(basis.into(found), np.float64).var(axis=1, ddof=1).mean(axis=0)
