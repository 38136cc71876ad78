r"""The localised tempered posterior, whose mean loss determines the estimate.

log p(w) = -nbeta L_n(w) - gamma/2 |w - w*|^2 - precision/2 |w|^2 + const,
llc = nbeta (E_p[L_n(w)] - L_n(w*)), the estimator of Lau et al. 2023 (arXiv:2308.12108). The last
term, a prior, is usually absent. Both quadratic terms together are one Gaussian of precision
gamma + precision, whose centre is the multiple gamma / (gamma + precision) of w*.
"""

from typing import Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from lambda_hat_core import precision
from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.counters import indices
from lambda_hat_core.forward import jvp
from lambda_hat_core.programs import quickly
from lambda_hat_core.rounding import error_of_mean
from lambda_hat_core.types import Batch, Weights, constant


@runtime_checkable
class Loss(Protocol):
    """A loss function without its data.

    Implementations are frozen dataclasses that are compared by value, so that all targets of one
    architecture share compiled programs, or Equinox modules if they have arrays.
    """

    @property
    def has_per_example(self) -> bool:
        """Whether `per_example` exists; without it full-data losses are evaluated in float64."""
        ...

    def mean(self, w: Weights, batch: Batch) -> Scalar:
        """Return the mean loss over the rows of `batch`, which is None for a potential."""
        ...

    def per_example(self, w: Weights, batch: Batch) -> Float[Array, " n"]:
        """Return the loss of every row of `batch`, whose mean is `mean`."""
        ...


class Target(eqx.Module):
    """A trained minimum w*, its data and its loss.

    Attributes:
        w0: w* as a flat vector.
        data: arrays with leading axis n in any pytree, or None for a potential.
        loss: the loss, hashable by value but for its arrays.
        n: number of examples; for a potential, the n of n beta.
        shapes: of the arrays that w* joins, in order; empty where they are not known.
    """

    w0: Weights
    data: Batch
    loss: Loss
    n: int = eqx.field(static=True)
    shapes: tuple[tuple[int, ...], ...] = eqx.field(static=True, default=())


class Prior(eqx.Module):
    """A Gaussian prior about 0 beside the localiser.

    Attributes:
        precision: of the prior.
        localiser: gamma, of the localiser alone.
    """

    precision: Scalar
    localiser: Scalar


class Posterior(eqx.Module):
    """The density around w0 in R^d. All numbers are arrays, so a shape is compiled only once.

    Attributes:
        w0: w* as a flat vector.
        data: arrays with leading axis n in any pytree, or None for a potential.
        nbeta: n beta, in nats per unit of mean loss.
        gamma: strength of the localiser, always in the original coordinates; with a prior, the sum
            of both precisions, which is the curvature of what is not the loss.
        loss: the loss, hashable by value but for its arrays.
        n: number of examples.
        prior: what a prior has of gamma; None if there is none.
        shapes: of the arrays that w joins, in order; empty where they are not known.
    """

    w0: Weights
    data: Batch
    nbeta: Scalar
    gamma: Scalar
    loss: Loss
    n: int = eqx.field(static=True)
    prior: Prior | None = None
    shapes: tuple[tuple[int, ...], ...] = eqx.field(static=True, default=())

    @property
    def localiser(self) -> Scalar:
        """The gamma of the localiser alone."""
        return self.gamma if self.prior is None else self.prior.localiser

    @property
    def prior_precision(self) -> float | None:
        """The precision of the prior; None if there is none."""
        return None if self.prior is None else float(self.prior.precision)

    @property
    def centre(self) -> Weights:
        """The centre of localiser and prior together, where their gradient is 0."""
        return self.w0 if self.prior is None else self.w0 * (self.prior.localiser / self.gamma)

    def tether(self, away: Weights) -> Scalar:
        """Return what localiser and prior add to U at w* + `away`, relative to w*."""
        value = 0.5 * self.gamma * jnp.sum(away**2)
        return value if self.prior is None else value + self.prior.precision * (self.w0 @ away)

    def tether_grad(self, away: Weights) -> Weights:
        """Return the gradient of `tether`."""
        pull = self.gamma * away
        return pull if self.prior is None else pull + self.prior.precision * self.w0

    def tether_along(self, away: Weights, direction: Weights) -> Scalar:
        """Return the derivative of `tether` along a direction."""
        pull = self.gamma * (away @ direction)
        return pull if self.prior is None else pull + self.prior.precision * (self.w0 @ direction)

    @property
    def loss_dtype(self) -> str:
        """The dtype in which `full_loss` evaluates what it takes the mean of."""
        return self.w0.dtype.name if self.loss.has_per_example else "float64"

    def loss_mean(self, w: Weights) -> Scalar:
        """Return L_n(w) over all examples, in the process's dtype."""
        return self.loss.mean(w, self.data)

    def potential(self, w: Weights) -> Scalar:
        """Return U(w) = -log p(w) up to a constant."""
        return self.nbeta * self.loss_mean(w) + self.tether(w - self.w0)

    def log_density(self, w: Weights) -> Scalar:
        """Return log p(w) up to a constant."""
        return -self.potential(w)

    def minibatch(self, key: PRNGKeyArray, size: int | None) -> Batch:
        """Draw `size` examples with replacement; if `size` or the data is None, return the data."""
        if size is None or self.data is None:
            return self.data
        index = indices(key, size, self.n)
        return jax.tree.map(lambda a: a.at[index].get(mode="promise_in_bounds"), self.data)

    def batch_work(self, size: int | None) -> float:
        """Return the cost of one gradient on `size` examples, in full-gradient evaluations."""
        return 1.0 if size is None or self.data is None else size / self.n

    def loss_grad(self, w: Weights, batch: Batch) -> Weights:
        """Return the gradient of the mean loss over `batch`."""
        return jax.grad(self.loss.mean)(w, batch)

    def potential_grad(self, w: Weights, batch: Batch) -> Weights:
        """Return the estimate of grad U(w) from `batch`."""
        return self.nbeta * self.loss_grad(w, batch) + self.tether_grad(w - self.w0)

    def full_loss(self, w: Weights) -> tuple[Scalar, Scalar]:
        """Return L_n(w) over the full data with float64 sums, as a pair whose sum is the value.

        In a float32 process the pair keeps the digits that a single float32 would lose. A loss
        without per-example values is evaluated entirely in float64.

        Call this method inside of `precision.mixed`. To map it over points, apply `vmap` to the
        method itself and not to a loop that contains it, because JAX batches the body of a loop
        after leaving the context in which 64-bit types are on.
        """
        if self.loss.has_per_example:
            examples = self.loss.per_example(w, self.data)
            with jax.enable_x64(True):
                value = jnp.mean(examples.astype(jnp.float64))
                return split_in_two(value, w)
        return self.loss_at_once(w)

    def loss_at_once(self, w: Weights) -> tuple[Scalar, Scalar]:
        """Return the loss of all rows as one batch, entirely in float64, as `full_loss` does."""
        with jax.enable_x64(True):
            return split_in_two(self._wide_loss(_widen(w)), w)

    def full_loss_along(
        self, w: Weights, direction: Weights
    ) -> tuple[tuple[Scalar, Scalar], Scalar]:
        """Return `full_loss`, and the derivative of L_n along a direction; for twice its cost.

        Where a part of the loss has no forward mode (`forward`) it costs about twice that.
        """
        if self.loss.has_per_example:
            examples, slopes = jvp(lambda w: self.loss.per_example(w, self.data), w, direction)
            with jax.enable_x64(True):
                value, slope = (jnp.mean(x.astype(jnp.float64)) for x in (examples, slopes))
                return split_in_two(value, w), slope.astype(w.dtype)
        with jax.enable_x64(True):
            value, slope = jvp(self._wide_loss, _widen(w), _widen(direction))
            return split_in_two(value, w), slope.astype(w.dtype)

    def _wide_loss(self, w: Weights) -> Scalar:
        return self.loss.mean(w, jax.tree.map(_widen, self.data))


def _widen(array: Array) -> Array:
    return array.astype(jnp.float64) if jnp.issubdtype(array.dtype, jnp.floating) else array


def split_in_two(value: Float[Array, ""], like: Weights) -> tuple[Scalar, Scalar]:
    """Return a float64 as two numbers of the dtype of `like` whose sum it is."""
    high = value.astype(like.dtype)
    return high, (value - high.astype(value.dtype)).astype(like.dtype)


def localised(target: Target, spec: PosteriorSpec) -> Posterior:
    """Return the posterior given by `spec` around the target's w*, in the dtype of `target.w0`."""
    gamma, prior = spec.resolved_gamma(target.w0.size), None
    if spec.prior is not None:
        precision_of = spec.prior.precision
        prior = Prior(constant(precision_of, target.w0), constant(gamma, target.w0))
        gamma += precision_of
    return Posterior(
        w0=target.w0,
        data=target.data,
        nbeta=constant(spec.resolved_nbeta(target.n), target.w0),
        gamma=constant(gamma, target.w0),
        loss=target.loss,
        n=target.n,
        prior=prior,
        shapes=target.shapes,
    )


_RESOLVED = 0.01
"""Largest error of nbeta L_n(w*), in nats."""


@quickly
def mean_loss(loss: Loss, w: Weights, batch: Batch) -> Scalar:
    """Return the mean loss over the rows of `batch`, in the process's dtype."""
    return loss.mean(w, batch)


@quickly
def _full_loss(posterior: Posterior, w: Weights) -> tuple[Scalar, Scalar]:
    with precision.of(w):
        return posterior.full_loss(w)


@quickly
def _loss_at_once(posterior: Posterior, w: Weights) -> tuple[Scalar, Scalar]:
    with precision.of(w):
        return posterior.loss_at_once(w)


def loss_at_minimum(posterior: Posterior) -> float:
    """Return L_n(w*) over the full data, with float64 sums.

    The rounding errors of the rows' losses average over the draws, but not at w*, which is one
    point. So where they could matter, all of it is in float64.
    """
    with precision.mixed():
        value = sum(map(float, _full_loss(posterior, posterior.w0)))
        error = error_of_mean(value, posterior.n, posterior.loss_dtype)
        if float(posterior.nbeta) * error > _RESOLVED:
            value = sum(map(float, _loss_at_once(posterior, posterior.w0)))
    return value
