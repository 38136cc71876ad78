"""What is recorded of every draw: its full-data loss, its distance, and both virials."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from lambda_hat_core.samplers.kernel import Kernel
from lambda_hat_core.types import Weights

_LOSS_WORK = 1 / 3


class Monitor(eqx.Module):
    """The fixed directions of the projections and of the virial certificate.

    Attributes:
        projections: random unit vectors.
        vectors: orthonormal Lanczos vectors V of the Hessian averaged over the pilot's points.
        weights: shrinkage s_i of each vector; M = V^T diag(s) V is the certificate's matrix.
    """

    projections: Float[Array, "p d"]
    vectors: Float[Array, "k d"]
    weights: Float[Array, " k"]

    def record(self, kernel: Kernel, key: PRNGKeyArray, state: Any) -> dict[str, Array]:
        """Return the full-data loss and the other scalars at a chain's position, and their work."""
        w = kernel.position(state)
        high, low = kernel.posterior.full_loss(w)
        delta = w - kernel.posterior.w0
        gradient, cost = kernel.gradient(key, state)
        trace = jnp.sum(self.weights)
        virial_m = jnp.sum(self.weights * (self.vectors @ delta) * (self.vectors @ gradient))
        return {
            "loss_high": high,
            "loss_low": low,
            "dist2": jnp.sum(delta**2),
            "projections": self.projections @ delta,
            "virial": delta @ gradient / delta.size,
            "virial_m": virial_m / jnp.where(trace > 0, trace, 1.0),
            "recording_work": jnp.asarray(cost + _LOSS_WORK, w.dtype),
        }


def random_projections(key: PRNGKeyArray, like: Weights, count: int) -> Float[Array, "p d"]:
    """Return `count` random unit vectors."""
    vectors = jr.normal(key, (count, like.size), like.dtype)
    return vectors / jnp.linalg.norm(vectors, axis=1, keepdims=True)
