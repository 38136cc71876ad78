"""What is recorded of every draw: its loss, its distance, and both virials.

The virial of the certificate is (w - w*)^T M grad U(w) / tr M. The gradient of a batch would make
it many times noisier than the posterior does, so there it is a derivative of the loss along
M (w - w*), which is taken together with the loss.

The loss is that of all examples, if they are not too many. Else it is estimated from a batch of R
fresh examples, paired with w* and with a control variate of first order:

    L(w) = L_n(w*) + g_n . (w - w*) + mean_i [l_i(w) - l_i(w*) - g_i . (w - w*)],

i in the batch, g_i and g_n the gradients of l_i and L_n at w*. It is unbiased, and its error is
that of a mean of second-order terms: relative to the llc about the coefficient of variation of the
curvatures of single examples, divided by sqrt(R).
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from lambda_hat_core.counters import split
from lambda_hat_core.forward import jvp, linearize
from lambda_hat_core.linalg.host import generator
from lambda_hat_core.linalg.kronecker import ProductBasis
from lambda_hat_core.posterior import Posterior, split_in_two
from lambda_hat_core.samplers.gradients import gradient_at_minimum
from lambda_hat_core.samplers.kernel import Kernel
from lambda_hat_core.samplers.moments import OBSERVED
from lambda_hat_core.samplers.observables import Observables
from lambda_hat_core.types import Weights, constant

_LOSS_WORK = 1 / 3
"""Of a loss, and of its derivative along a direction."""
_MANY = 4
"""A batch of R examples costs as much as three to five losses of R."""


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
        self, key: PRNGKeyArray, posterior: Posterior, w: Weights, direction: Weights | None
    ) -> "Measured":
        """Return the loss at w, and its derivative along a direction if there is one.

        Call it where `Posterior.full_loss` may be called.
        """
        batch = posterior.minibatch(key, self.rows)
        away = w - posterior.w0

        def losses(w: Weights) -> Float[Array, " row"]:
            return posterior.loss.per_example(w, batch)

        before, push = linearize(losses, posterior.w0)
        slope = None
        if direction is None:
            after = losses(w)
        else:
            after, along = jvp(losses, w, direction)
            slope = jnp.mean(along - push(direction)) + self.gradient @ direction
        rises = after - before - push(away)
        linear = self.gradient @ away
        with jax.enable_x64(True):
            wide = rises.astype(jnp.float64)
            value = jnp.mean(wide) + linear + self.loss0[0].astype(jnp.float64) + self.loss0[1]
            pair, variance = split_in_two(value, w), jnp.var(wide) / self.rows
        spent = (3 if direction is None else 5) * _LOSS_WORK * posterior.batch_work(self.rows)
        return Measured(pair, slope, variance, spent)


class Measured(NamedTuple):
    """A loss as two numbers whose sum it is, and what belongs to it.

    Attributes:
        loss: L_n(w).
        slope: its derivative along a direction; None if none was given.
        variance: of the error of the loss; None if there is none.
        work: full-gradient evaluations.
    """

    loss: tuple[Scalar, Scalar]
    slope: Scalar | None
    variance: Scalar | None
    work: float


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
        vectors: orthonormal directions of the certificate, the rows of a matrix V or a basis Q =
            V^T: of the Hessian averaged over the pilot's points.
        weights: shrinkage s_i along each of them; M = V^T diag(s) V is the certificate's matrix.
        paired: what losses from batches need, None if all examples are used.
        observables: what else is recorded, None if nothing is.
    """

    projections: Float[Array, "p d"]
    vectors: Float[Array, "k d"] | ProductBasis
    weights: Float[Array, " k"]
    paired: Paired | None = None
    observables: Observables | None = None

    def record(self, kernel: Kernel, key: PRNGKeyArray, state: Any) -> dict[str, Array]:
        """Return the loss and the other scalars at a chain's position, and their work."""
        w = kernel.position(state)
        delta = w - kernel.posterior.w0
        batch_key, key = split(key)
        gradient, cost = kernel.gradient(key, state)
        inside = self.weights * self.along(delta)
        trace = jnp.sum(self.weights)
        direction = self._joined(inside) if kernel.has_noise else None
        seen = self._measured(batch_key, kernel.posterior, w, direction)
        if direction is None or seen.slope is None:
            virial_m = inside @ self.along(gradient)
        else:
            pull = kernel.posterior.tether_along(delta, direction)
            virial_m = kernel.posterior.nbeta * seen.slope + pull
        noise = {} if seen.variance is None else {"loss_variance": seen.variance.astype(w.dtype)}
        cost += self.observables.work(kernel.posterior.n) if self.observables is not None else 0.0
        return {
            "loss_high": seen.loss[0],
            "loss_low": seen.loss[1],
            "dist2": jnp.sum(delta**2),
            "projections": self.projections @ delta,
            "virial": delta @ gradient / delta.size,
            "virial_m": virial_m / jnp.where(trace > 0, trace, 1.0),
            "recording_work": jnp.asarray(cost + seen.work, w.dtype),
            **noise,
            **self.observed(kernel.posterior, w, seen.loss),
        }

    def along(self, v: Weights) -> Float[Array, " k"]:
        """Return V v."""
        at = self.vectors
        return at.into(v) if isinstance(at, ProductBasis) else at @ v

    def _joined(self, inside: Float[Array, " k"]) -> Weights:
        """Return V^T x."""
        at = self.vectors
        return at.out_of(inside) if isinstance(at, ProductBasis) else inside @ at

    def observed(
        self, posterior: Posterior, w: Weights, loss: tuple[Scalar, Scalar]
    ) -> dict[str, Array]:
        """Return what the observables record at w, where the loss is known."""
        if self.observables is None:
            return {}
        return {OBSERVED: self.observables.record(posterior, w, loss)}

    def _measured(
        self, key: PRNGKeyArray, posterior: Posterior, w: Weights, direction: Weights | None
    ) -> Measured:
        """Measure the loss on all examples, or on a batch of them."""
        if self.paired is not None:
            return self.paired.loss(key, posterior, w, direction)
        if direction is None:
            return Measured(posterior.full_loss(w), None, None, _LOSS_WORK)
        loss, slope = posterior.full_loss_along(w, direction)
        return Measured(loss, slope, None, 2 * _LOSS_WORK)


def random_projections(key: PRNGKeyArray, like: Weights, count: int) -> Float[Array, "p d"]:
    """Return `count` random unit vectors."""
    vectors = generator(key).standard_normal((count, like.size))
    return constant(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), like)
