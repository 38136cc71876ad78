"""Estimates of grad U from a batch, and what each of them costs.

plain              nbeta grad L_B(w) + gamma (w - w*)
control variate    nbeta (grad L_B(w) - grad L_B(w*) + grad L_n(w*)) + gamma (w - w*)
Both are unbiased. The second has the noise of a difference, which is small where w has not gone far
from w*, and costs two gradients (Baker, Fearnhead, Fox & Nemeth 2019, arXiv:1706.05439).
"""

import equinox as eqx
import jax
from jaxtyping import Array, Float, PRNGKeyArray

from lambda_hat_core.posterior import Posterior
from lambda_hat_core.types import Weights

IN_TURN = 1000
"""From this d on the gradients of several chains are computed in turn: one chain's products are
plain matrix products instead of batched ones, and its activations fit the cache."""


class GradientEstimate(eqx.Module):
    """How a kernel estimates grad U.

    Attributes:
        at_minimum: grad L_n(w*) where the estimate has a control variate, else of size 0.
        batch_size: None is the full batch, which is exact.
    """

    posterior: Posterior
    at_minimum: Float[Array, " d_or_0"]
    batch_size: int | None = eqx.field(static=True)

    @property
    def is_exact(self) -> bool:
        """Whether there is no noise in it."""
        return self.batch_size is None or self.posterior.data is None

    @property
    def work(self) -> float:
        """Cost of one estimate, in full-gradient evaluations."""
        times = 2 if self.at_minimum.size and not self.is_exact else 1
        return times * self.posterior.batch_work(self.batch_size)

    def __call__(self, key: PRNGKeyArray, w: Weights) -> Weights:
        """Return an estimate of grad U(w), from a batch that `key` draws."""
        # `sequential_vmap` does not see what a function closes over: it is given all its data.
        arrays, static = eqx.partition(self, eqx.is_array)

        def gradient(arrays: GradientEstimate, key: PRNGKeyArray, w: Weights) -> Weights:
            return eqx.combine(arrays, static)._of_one(key, w)

        if w.size >= IN_TURN:
            return jax.custom_batching.sequential_vmap(gradient)(arrays, key, w)
        return gradient(arrays, key, w)

    def _of_one(self, key: PRNGKeyArray, w: Weights) -> Weights:
        posterior = self.posterior
        batch = posterior.minibatch(key, self.batch_size)
        gradient = posterior.loss_grad(w, batch)
        if self.at_minimum.size and not self.is_exact:
            gradient = gradient - posterior.loss_grad(posterior.w0, batch) + self.at_minimum
        return posterior.nbeta * gradient + posterior.gamma * (w - posterior.w0)
