"""What is recorded of every draw: its loss, its distance, and both virials.

The loss is that of all examples, if they are not too many. Else it is estimated from a batch of R
fresh examples, paired with w* and with a control variate of first order:

    L(w) = L_n(w*) + g_n . (w - w*) + mean_i [l_i(w) - l_i(w*) - g_i . (w - w*)],

i in the batch, g_i and g_n the gradients of l_i and L_n at w*. It is unbiased, and its error is
that of a mean of second-order terms: relative to the llc about the coefficient of variation of the
curvatures of single examples, divided by sqrt(R).
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from lambda_hat_core.counters import split
from lambda_hat_core.posterior import Posterior, split_in_two
from lambda_hat_core.samplers.gradients import gradient_at_minimum
from lambda_hat_core.samplers.kernel import Kernel
from lambda_hat_core.types import Weights, constant

_LOSS_WORK = 1 / 3
_MANY = 4
"""A batch of R examples costs as much as three losses of R: that at w, and both at w*."""


class Paired(eqx.Module):
    """Losses from batches, paired with w*.

    Attributes:
        gradient: g_n.
        loss0: L_n(w*), as two numbers whose sum it is.
        rows: R.
    """

    gradient: Weights
    loss0: tuple[Scalar, Scalar]
    rows: int = eqx.field(static=True)

    def loss(
        self, key: PRNGKeyArray, posterior: Posterior, w: Weights
    ) -> tuple[tuple[Scalar, Scalar], Scalar, float]:
        """Return the loss at w as two numbers, the variance of its error, and its work.

        Call it where `Posterior.full_loss` may be called.
        """
        batch = posterior.minibatch(key, self.rows)
        away = w - posterior.w0

        def losses(w: Weights) -> Float[Array, " row"]:
            return posterior.loss.per_example(w, batch)

        before, slopes = jax.jvp(losses, (posterior.w0,), (away,))
        rises = losses(w) - before - slopes
        slope = self.gradient @ away
        with jax.enable_x64(True):
            wide = rises.astype(jnp.float64)
            value = jnp.mean(wide) + slope + self.loss0[0].astype(jnp.float64) + self.loss0[1]
            pair, variance = split_in_two(value, w), jnp.var(wide) / self.rows
        return pair, variance, posterior.batch_work(self.rows)


def paired(posterior: Posterior, rows: int | None, loss0: float) -> Paired | None:
    """Return what losses from batches need, or None if all examples are to be used."""
    has_rows = posterior.data is not None and posterior.loss.has_per_example
    if rows is None or not has_rows or posterior.n <= _MANY * rows:
        return None
    high = constant(loss0, posterior.w0)
    low = constant(loss0 - float(high), posterior.w0)
    return Paired(gradient_at_minimum(posterior), (high, low), rows)


class Monitor(eqx.Module):
    """The fixed directions of the projections and of the virial certificate.

    Attributes:
        projections: random unit vectors.
        vectors: orthonormal Lanczos vectors V of the Hessian averaged over the pilot's points.
        weights: shrinkage s_i of each vector; M = V^T diag(s) V is the certificate's matrix.
        paired: what losses from batches need, None if all examples are used.
    """

    projections: Float[Array, "p d"]
    vectors: Float[Array, "k d"]
    weights: Float[Array, " k"]
    paired: Paired | None = None

    def record(self, kernel: Kernel, key: PRNGKeyArray, state: Any) -> dict[str, Array]:
        """Return the loss and the other scalars at a chain's position, and their work."""
        w = kernel.position(state)
        noise: dict[str, Array] = {}
        if self.paired is None:
            (high, low), spent = kernel.posterior.full_loss(w), _LOSS_WORK
        else:
            batch_key, key = split(key)
            (high, low), variance, spent = self.paired.loss(batch_key, kernel.posterior, w)
            noise = {"loss_variance": variance.astype(w.dtype)}
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
            "recording_work": jnp.asarray(cost + spent, w.dtype),
            **noise,
        }


def random_projections(key: PRNGKeyArray, like: Weights, count: int) -> Float[Array, "p d"]:
    """Return `count` random unit vectors."""
    vectors = jr.normal(key, (count, like.size), like.dtype)
    return vectors / jnp.linalg.norm(vectors, axis=1, keepdims=True)
