"""Estimates of grad U from a batch, and what each of them costs.

plain              nbeta grad L_B(w) + gamma (w - w*)
control variate    nbeta (grad L_B(w) - grad L_B(w*) + grad L_n(w*)) + gamma (w - w*)
Both are unbiased. The second has the noise of a difference, which is small if w is not far from w*,
and costs two gradients (Baker, Fearnhead, Fox & Nemeth 2019, arXiv:1706.05439).
"""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, UInt32

from lambda_hat_core.posterior import Posterior
from lambda_hat_core.programs import compiled, quickly
from lambda_hat_core.samplers.kernel import ONE_CHAIN_AT_A_TIME, Kernel
from lambda_hat_core.types import AnyArray, Weights, constant


class GradientEstimate(eqx.Module):
    """An estimate of grad U from a batch.

    Attributes:
        tilt: is added to the gradient of the loss; of size 0 if nothing is. With a control variate
            it is grad L_n(w*).
        batch_size: None is the full batch, which is exact.
        varies: whether the gradient of the same batch at w* is subtracted, the control variate.
    """

    posterior: Posterior
    tilt: Float[Array, " d_or_0"]
    batch_size: int | None = eqx.field(static=True)
    varies: bool = eqx.field(static=True, default=False)

    @property
    def is_exact(self) -> bool:
        """Whether there is no noise in it."""
        return self.batch_size is None or self.posterior.data is None

    @property
    def work(self) -> float:
        """Cost of one estimate, in full-gradient evaluations."""
        return (2 if self.varies else 1) * self.posterior.batch_work(self.batch_size)

    def on(self, batch_size: int | None) -> "GradientEstimate":
        """Return the same kind of estimate from batches of another size."""
        if self.varies and batch_size is None:
            return plain(self.posterior, None)
        return dataclasses.replace(self, batch_size=batch_size)

    def __call__(self, key: PRNGKeyArray, w: Weights) -> Weights:
        """Return an estimate of grad U(w), from a batch that `key` draws."""
        posterior = self.posterior
        gradient = self.of_loss(key, w)
        return posterior.nbeta * gradient + posterior.tether_grad(w - posterior.w0)

    def of_loss(self, key: PRNGKeyArray, w: Weights) -> Weights:
        """Return an estimate of grad L_n(w), from a batch that `key` draws."""
        # `sequential_vmap` does not see what a function closes over, so it gets all data.
        arrays, static = eqx.partition(self, eqx.is_array)

        def gradient(arrays: GradientEstimate, key: PRNGKeyArray, w: Weights) -> Weights:
            return eqx.combine(arrays, static)._of_one(key, w)

        if w.size >= ONE_CHAIN_AT_A_TIME:
            return jax.custom_batching.sequential_vmap(gradient)(arrays, key, w)
        return gradient(arrays, key, w)

    def _of_one(self, key: PRNGKeyArray, w: Weights) -> Weights:
        posterior = self.posterior
        batch = posterior.minibatch(key, self.batch_size)
        gradient = posterior.loss_grad(w, batch)
        if self.varies:
            gradient = gradient - posterior.loss_grad(posterior.w0, batch)
        return gradient + self.tilt if self.tilt.size else gradient


class EstimatingKernel(Kernel):
    """A kernel in a constant metric, whose state has w and an estimate of grad U from a new batch.

    That estimate, which w does not depend on, is the one that the next step uses.
    """

    estimate: eqx.AbstractVar[GradientEstimate]

    @property
    def together(self) -> bool:
        """The metric's vectors are read once for all chains."""
        return True

    @property
    def has_noise(self) -> bool:
        """Whether gradients are those of batches."""
        return not self.estimate.is_exact

    def position(self, state: Any) -> Weights:
        """Return w."""
        return state.w

    def gradient(self, key: PRNGKeyArray, state: Any) -> tuple[Weights, float]:
        """Return the estimate of grad U at w, which costs nothing more."""
        del key
        return state.gradient, 0.0


def plain(posterior: Posterior, batch_size: int | None) -> GradientEstimate:
    """Return the estimate whose noise is that of the batch."""
    return GradientEstimate(posterior, constant(np.zeros(0), posterior.w0), batch_size)


def control_variate(posterior: Posterior, batch_size: int) -> GradientEstimate:
    """Return the estimate with the noise of a difference. It takes one full gradient to make."""
    return GradientEstimate(posterior, gradient_at_minimum(posterior), batch_size, varies=True)


@compiled
def loss_gradients(
    words: UInt32[Array, "chain 2"], estimate: GradientEstimate, points: Float[AnyArray, "chain d"]
) -> Float[Array, "chain d"]:
    """Return an estimate of grad L_n at every point, from the batch that its random words draw."""
    return jax.vmap(lambda words, w: estimate.of_loss(jr.wrap_key_data(words), w))(words, points)


def random_words(rng: np.random.Generator, count: int) -> UInt32[Array, "count 2"]:
    """Return words for as many keys of `jax.random`."""
    return jax.device_put(rng.integers(0, 2**32, (count, 2), np.uint32))


@quickly
def gradient_at_minimum(posterior: Posterior) -> Weights:
    """Return grad L_n(w*)."""
    return posterior.loss_grad(posterior.w0, posterior.data)
