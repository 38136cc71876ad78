"""Mixture of factor analysers: q(u) = sum_k pi_k N(mu_k, D + U_k U_k^T), D diagonal and shared.

The fit starts at the Laplace Gaussian: D = 1, with means and factors of length 0.02 in random
directions, which break the symmetry of the components. Densities use the Woodbury identity and cost
O(M r d).
"""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import paramax
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from lambda_hat_core.config.samplers.vi import Vi
from lambda_hat_core.types import Weights
from lambda_hat_core.vi.family import Family, FamilyDraws, Moment, frozen

_START = 0.02
"""Initial length, which adds at most (r + 1) 4e-4 / 2 to the estimate before the first step."""


class Mfa(Family):
    """A mixture of factor analysers (Ghahramani & Hinton 1996) in d dimensions.

    Attributes:
        logits: pi = softmax(logits / temperature).
        means: mu_k of shape (m, d); not fitted if they are tied to w*.
        factors: the rows of U_k^T.
        mask: array of shape (m, r), not fitted: 1 for the first r_k rows of component k, else 0.
        log_scale: log sqrt(D).
        temperature: temperature of the softmax.
        dirichlet: concentration of the prior on pi; 1: no prior.
        entropy_bonus: factor of the entropy of pi in the objective.
    """

    logits: Float[Array, " m"]
    means: Any
    factors: Float[Array, "m r d"]
    mask: Any
    log_scale: Weights
    temperature: float = eqx.field(static=True)
    dirichlet: float = eqx.field(static=True)
    entropy_bonus: float = eqx.field(static=True)

    @property
    def log_weights(self) -> Float[Array, " m"]:
        """The logarithms of pi."""
        return jax.nn.log_softmax(self.logits / self.temperature)

    @property
    def _rows(self) -> Float[Array, "m r d"]:
        return self.factors * self.mask[..., None]

    def _points(self, key: PRNGKeyArray, count: int) -> Float[Array, "sample d"]:
        """Draw points, with components chosen by systematic sampling."""
        choice_key, noise_key = jr.split(key)
        dtype, (m, r, d) = self.log_scale.dtype, self.factors.shape
        grid = (jr.uniform(choice_key, dtype=dtype) + jnp.arange(count, dtype=dtype)) / count
        cumulative = jnp.cumsum(jnp.exp(self.log_weights))
        k = jnp.minimum(jnp.searchsorted(cumulative, grid * cumulative[-1]), m - 1)
        noise = jr.normal(noise_key, (count, d + r), dtype)
        along = jnp.einsum("sr,srd->sd", noise[:, d:], self._rows[k])
        return self.means[k] + jnp.exp(self.log_scale) * noise[:, :d] + along

    def draw(self, key: PRNGKeyArray, count: int) -> FamilyDraws:
        """Draw points, each of which is its own twin."""
        u = self._points(key, count)
        return FamilyDraws(u, jax.vmap(self.log_density)(u), u)

    def draw_sticking(
        self, key: PRNGKeyArray, count: int
    ) -> tuple[Float[Array, "sample d"], Float[Array, " sample"]]:
        """Draw u and log q(u), which is differentiable only through u."""
        u = self._points(key, count)
        return u, jax.vmap(frozen(self).log_density)(u)

    def component_log_density(self, u: Weights) -> Float[Array, " m"]:
        """Return log N(u; mu_k, D + U_k U_k^T) for every component."""
        whiten = jnp.exp(-self.log_scale)
        white = (u - self.means) * whiten
        rows = self._rows * whiten
        inner = rows @ rows.mT + jnp.eye(rows.shape[1], dtype=u.dtype)
        lower = jnp.linalg.cholesky(inner)
        along = jnp.einsum("mrd,md->mr", rows, white)
        solved = jax.scipy.linalg.solve_triangular(lower, along[..., None], lower=True)
        square = jnp.sum(white**2, axis=1) - jnp.sum(solved[..., 0] ** 2, axis=1)
        diagonal = jnp.diagonal(lower, axis1=1, axis2=2)
        log_det = 2 * jnp.sum(self.log_scale) + 2 * jnp.sum(jnp.log(diagonal), axis=1)
        return -0.5 * (square + log_det + u.size * math.log(2 * math.pi))

    def log_density(self, u: Weights) -> Scalar:
        """Return log q(u)."""
        return jax.nn.logsumexp(self.log_weights + self.component_log_density(u))

    def score_log_density(self, u: Weights) -> Scalar:
        """Return log q(u) as a function of the weights alone.

        Its gradient is (responsibility - pi) / temperature: the choice of the component is
        integrated out (Rao-Blackwell).
        """
        components = jax.lax.stop_gradient(self.component_log_density(u))
        return jax.nn.logsumexp(self.log_weights + components)

    def regulariser(self) -> Scalar:
        """Return the log Dirichlet prior up to a constant, plus the entropy bonus."""
        prior = (self.dirichlet - 1) * jnp.sum(self.log_weights)
        return prior + self.entropy_bonus * self.weights_entropy()

    def weights_entropy(self) -> Scalar:
        """Return -sum pi log pi."""
        return -jnp.sum(jnp.exp(self.log_weights) * self.log_weights)

    def moment(self) -> Moment:
        """Return E[u u^T] = D + sum_k pi_k (U_k U_k^T + mu_k mu_k^T)."""
        weight = jnp.exp(0.5 * self.log_weights)
        low_rank = (self._rows * weight[:, None, None]).reshape(-1, self.log_scale.size)
        factors = jnp.concatenate([low_rank, self.means * weight[:, None]])
        return Moment(jnp.exp(2 * self.log_scale), factors, 0)


def build(key: PRNGKeyArray, spec: Vi, like: Weights) -> Mfa:
    """Return the initial family."""
    d, dtype = like.size, like.dtype
    ranks = spec.r_per_component or (spec.r,) * spec.M
    width = max(ranks)
    mask = jnp.asarray([[j < rank for j in range(width)] for rank in ranks], dtype)
    step = _START / math.sqrt(d)
    start = step * jr.normal(key, (spec.M, 1 + width, d), dtype)
    means = start[:, 0]
    return Mfa(
        logits=jnp.zeros(spec.M, dtype),
        means=paramax.NonTrainable(jnp.zeros_like(means)) if spec.tie_means else means,
        factors=start[:, 1:],
        mask=paramax.NonTrainable(mask.reshape(spec.M, width)),
        log_scale=jnp.zeros(d, dtype),
        temperature=spec.alpha_temperature,
        dirichlet=1.0 if spec.alpha_dirichlet_prior is None else spec.alpha_dirichlet_prior,
        entropy_bonus=spec.entropy_bonus,
    )
