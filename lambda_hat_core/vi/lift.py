"""A density on k directions, lifted to R^d: u = V^T z + P (s * eps), P = I - V^T V, eps ~ N(0, I).

V has orthonormal rows, so P is applied and never stored, and the two parts are orthogonal:
log q(u) = log q_z(V u) + log N(P u; 0, P S^2 P) on the complement, S = diag(s). With the k x k
matrix B = V S^-2 V^T (Jacobi's identity for complementary minors, and the block inverse)

    log det (P S^2 P) = log det S^2 + log det B,
    e^T (P S^2 P)^+ e = |e / s|^2 - b^T B^-1 b,  b = V S^-2 e.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import paramax
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from lambda_hat_core.types import Weights
from lambda_hat_core.vi.family import Family


class Lifted(Family):
    """A flow on the chart's flattest directions, a Gaussian of learned widths elsewhere.

    Attributes:
        flow: a flowjax distribution of z.
        vectors: V, orthonormal rows; the chart's first.
        log_scale: log s of every axis.
    """

    flow: Any
    vectors: Float[Array, "k d"] | paramax.NonTrainable
    log_scale: Weights

    def known_part(self, u: Weights) -> Weights:
        """P u."""
        return u - (self.vectors @ u) @ self.vectors

    def draw(self, key: PRNGKeyArray, count: int) -> Float[Array, "{count} d"]:
        """Draw z from the flow and the complement from its Gaussian."""
        flow_key, wide_key = jr.split(key)
        z = self.flow.sample(flow_key, (count,))
        eps = jr.normal(wide_key, (count, self.log_scale.size), self.log_scale.dtype)
        rest = jax.vmap(self.known_part)(jnp.exp(self.log_scale) * eps)
        return z @ self.vectors + rest

    def log_density(self, u: Weights) -> Scalar:
        """log q_z(V u) plus the complement's."""
        z = self.vectors @ u
        return self.flow.log_prob(z) + self.complement_log_density(u - z @ self.vectors)

    def complement_log_density(self, e: Weights) -> Scalar:
        """Log density of e = P (s * eps) on the (d - k)-dimensional complement."""
        k, d = self.vectors.shape
        whiten = jnp.exp(-self.log_scale)
        white, rows = e * whiten, self.vectors * whiten
        lower = jnp.linalg.cholesky(rows @ rows.T)
        along = jax.scipy.linalg.solve_triangular(lower, rows @ white, lower=True)
        square = jnp.sum(white**2) - jnp.sum(along**2)
        log_det = 2 * jnp.sum(self.log_scale) + 2 * jnp.sum(jnp.log(jnp.diagonal(lower)))
        return -0.5 * (square + log_det + (d - k) * math.log(2 * math.pi))

    def known_moment(self) -> tuple[Weights, Float[Array, "m d"], int]:
        """E[P u (P u)^T] = P S^2 P."""
        k, d = self.vectors.shape
        return jnp.exp(2 * self.log_scale), jnp.zeros((0, d), self.log_scale.dtype), k
