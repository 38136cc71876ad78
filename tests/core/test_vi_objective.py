"""The objective of a fit against an integral on a grid, and minibatches where they are exact."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from tests.core.surfaces import DiagonalQuadratic

NBETA, GAMMA, CURVATURE = 3.0, 1.5, 0.4


def setting():
    """Return a mixture of two Gaussians in one dimension, away from its start, and a posterior."""
    import equinox as eqx

    from lambda_hat_core.config.samplers.vi import Vi
    from lambda_hat_core.posterior import Posterior
    from lambda_hat_core.samplers import coordinates
    from lambda_hat_core.vi import mfa
    from lambda_hat_core.vi.chart import Chart

    posterior = Posterior(
        w0=jnp.asarray([0.5]),
        data=None,
        nbeta=jnp.asarray(NBETA),
        gamma=jnp.asarray(GAMMA),
        loss=DiagonalQuadratic((CURVATURE,)),
        n=100,
    )
    inner = coordinates.diagonal(posterior, jnp.asarray([0.6]))
    inner = eqx.tree_at(lambda c: c.origin, inner, jnp.zeros(1))
    chart = Chart(inner, jnp.asarray([1.25]), posterior.w0)
    family = mfa.build(jr.key(0), Vi(M=2, r=1), posterior.w0)
    family = eqx.tree_at(
        lambda f: (f.logits, f.means, f.factors, f.log_scale),
        family,
        tuple(map(jnp.asarray, ([0.7, -0.4], [[-0.8], [1.1]], [[[0.3]], [[0.9]]], [-0.2]))),
    )
    return posterior, chart, family


def test_the_ascent_follows_the_gradient_of_the_elbo(x64):
    """Test all parameters, including the mixture weights, in which draws are not smooth."""
    from lambda_hat_core.vi.family import join, split
    from lambda_hat_core.vi.fit import FitOptions, Minimum, _objective

    posterior, chart, family = setting()
    params, static = split(family)
    flat, unravel = ravel_pytree(params)
    minimum = Minimum(
        posterior.loss_mean(posterior.w0), jax.grad(posterior.loss_mean)(posterior.w0)
    )
    grid = jnp.linspace(-12.0, 12.0, 6001)[:, None]
    options = FitOptions(n_samples=2, batch_size=None, clip=None)
    baseline = jnp.asarray(0.3)

    def elbo(flat):
        log_q = jax.vmap(join(unravel(flat), static).log_density)(grid)
        w = jax.vmap(chart.to_w)(grid)
        above = jax.vmap(posterior.loss_mean)(w) - minimum.loss
        log_p = -NBETA * above - GAMMA / 2 * jnp.sum((w - posterior.w0) ** 2, axis=1)
        return jnp.sum(jnp.exp(log_q) * (log_p - log_q + chart.log_det)) * (grid[1, 0] - grid[0, 0])

    def one(key, flat):
        arguments = (unravel, static, key, posterior, chart, minimum, baseline, options)
        return jax.grad(_objective, has_aux=True)(flat, *arguments)

    @jax.jit
    def both(keys, flat):
        exact = jax.value_and_grad(elbo)(flat)
        return exact, jax.vmap(one, in_axes=(0, None))(keys, flat)

    (value, exact), (grads, (seen, _)) = both(jr.split(jr.key(1), 40_000), flat)
    for found, expected in ((np.asarray(seen)[:, None], [value]), (-np.asarray(grads), exact)):
        noise = found.std(axis=0) / math.sqrt(len(found))
        assert (noise < 0.03 * np.abs(expected).max()).all()
        assert (np.abs(found.mean(axis=0) - expected) < 4.5 * noise).all()


@dataclasses.dataclass(frozen=True)
class Linear:
    """A linear function per row, plus half the squared length times a number of the row."""

    has_per_example: bool = True

    def per_example(self, w, batch):
        x, bend = batch
        return x @ w + 0.5 * bend * jnp.sum(w**2)

    def mean(self, w, batch):
        return jnp.mean(self.per_example(w, batch))


@pytest.mark.parametrize("bend", [0.0, 2.0])
def test_only_the_curvature_differs_between_minibatch_and_full_loss(x64, bend):
    """If rows differ only in value and slope, a minibatch gives the rise on the full data."""
    from lambda_hat_core.posterior import Posterior
    from lambda_hat_core.vi.fit import FitOptions, _losses_above_minimum, minimum_of, step_work

    rng = np.random.default_rng(0)
    x, w0, delta = rng.normal(size=(50, 3)), np.array([1.0, -0.5, 2.0]), rng.normal(size=(4, 3))
    posterior = Posterior(
        w0=jnp.asarray(w0),
        data=(jnp.asarray(x), jnp.full(50, bend)),
        nbeta=jnp.asarray(NBETA),
        gamma=jnp.asarray(GAMMA),
        loss=Linear(),
        n=50,
    )
    minimum = minimum_of(posterior, float(posterior.loss_mean(posterior.w0)))
    w = w0 + delta
    exact = delta @ x.mean(axis=0) + 0.5 * bend * (np.sum(w**2, axis=1) - np.sum(w0**2))
    for size in (7, None):
        options = FitOptions(n_samples=4, batch_size=size, clip=None)
        found = _losses_above_minimum(jr.key(2), posterior, minimum, jnp.asarray(delta), options)
        np.testing.assert_allclose(found, exact, rtol=1e-10)
        assert step_work(posterior, options) == pytest.approx(4 if size is None else 5 * size / 50)
