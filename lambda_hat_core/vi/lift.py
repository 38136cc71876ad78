"""A density on k directions, lifted to R^d: u = V^T z + P (s * eps), P = I - V^T V, eps ~ N(0, I).

V has orthonormal rows, so P need not be stored, and the two parts are orthogonal:
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
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from lambda_hat_core.types import Weights
from lambda_hat_core.vi.family import Family, FamilyDraws, Moment, frozen


class Lifted(Family):
    """A flow on the chart's flattest directions and a Gaussian with fitted widths elsewhere.

    Attributes:
        flow: a flowjax distribution of z with a standard normal base.
        vectors: V of shape (k, d), the first vectors of the chart; not fitted.
        log_scale: log s for every axis.
    """

    flow: Any
    vectors: Any
    log_scale: Weights

    def project(self, u: Weights) -> Weights:
        """Return P u."""
        return u - (self.vectors @ u) @ self.vectors

    def _noise(
        self, key: PRNGKeyArray, count: int
    ) -> tuple[Float[Array, "sample k"], Float[Array, "sample d"]]:
        """Draw the input of the flow, and the part of u in the complement."""
        k, d = self.vectors.shape
        noise = jr.normal(key, (count, k + d), self.log_scale.dtype)
        return noise[:, :k], jax.vmap(self.project)(jnp.exp(self.log_scale) * noise[:, k:])

    def _push(self, x: Float[Array, " k"]) -> tuple[Float[Array, " k"], Scalar]:
        """Return z = T(x) and log q_z(z)."""
        z, log_det = self.flow.bijection.transform_and_log_det(x)
        return z, self.flow.base_dist.log_prob(x) - log_det

    def _linear(self) -> tuple[Float[Array, " k"], Float[Array, "k k"]]:
        """Return T(0) and the Jacobian there."""
        zero = jnp.zeros(self.vectors.shape[0], self.log_scale.dtype)
        transform = self.flow.bijection.transform
        return transform(zero), jax.jacfwd(transform)(zero)

    def draw(self, key: PRNGKeyArray, count: int) -> FamilyDraws:
        """Draw points; for their twins the flow is replaced by its linearisation at 0."""
        x, rest = self._noise(key, count)
        z, log_q = jax.vmap(self._push)(x)
        shift, jacobian = self._linear()
        return FamilyDraws(
            z @ self.vectors + rest,
            log_q + jax.vmap(self.complement_log_density)(rest),
            (shift + x @ jacobian.T) @ self.vectors + rest,
        )

    def draw_sticking(
        self, key: PRNGKeyArray, count: int
    ) -> tuple[Float[Array, "sample d"], Float[Array, " sample"]]:
        """Draw u and log q(u), which is differentiable only through u.

        With J the Jacobian of T at x, the gradient of log q_z at T(x) is J^-T grad_x log q_z(T(x)),
        so the flow need not be inverted.
        """
        still = frozen(self)
        x, rest = self._noise(key, count)

        def one(x: Float[Array, " k"]) -> tuple[Float[Array, " k"], Scalar]:
            value, slope_x = jax.value_and_grad(lambda x: still._push(x)[1])(x)
            jacobian = jax.jacfwd(still.flow.bijection.transform)(x)
            slope = jnp.linalg.solve(jacobian.T, slope_x)
            z = self.flow.bijection.transform(x)
            return z, value + slope @ (z - jax.lax.stop_gradient(z))

        z, log_q = jax.vmap(one)(x)
        return z @ self.vectors + rest, log_q + jax.vmap(still.complement_log_density)(rest)

    def log_density(self, u: Weights) -> Scalar:
        """Return log q_z(V u) plus the log density of the complement."""
        z = self.vectors @ u
        return self.flow.log_prob(z) + self.complement_log_density(u - z @ self.vectors)

    def complement_log_density(self, e: Weights) -> Scalar:
        """Return the log density of e = P (s * eps) on the (d - k)-dimensional complement."""
        k, d = self.vectors.shape
        whiten = jnp.exp(-self.log_scale)
        white, rows = e * whiten, self.vectors * whiten
        lower = jnp.linalg.cholesky(rows @ rows.T)
        along = jax.scipy.linalg.solve_triangular(lower, rows @ white, lower=True)
        square = jnp.sum(white**2) - jnp.sum(along**2)
        log_det = 2 * jnp.sum(self.log_scale) + 2 * jnp.sum(jnp.log(jnp.diagonal(lower)))
        return -0.5 * (square + log_det + (d - k) * math.log(2 * math.pi))

    def moment(self) -> Moment:
        """Return E[v v^T] = P S^2 P + V^T (J J^T + T(0) T(0)^T) V."""
        shift, jacobian = self._linear()
        factors = jnp.concatenate([jacobian.T, shift[None]]) @ self.vectors
        return Moment(jnp.exp(2 * self.log_scale), factors, self.vectors.shape[0])
