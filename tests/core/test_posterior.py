"""The posterior's density, gradients, minibatches and constants against numpy, with w* not at 0."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.posterior import Posterior, Target, localised

N, D, SIZE = 24, 3, 6
NBETA, GAMMA = 7.0, 3.0


class Regression:
    """Half the squared residual per row."""

    has_per_example = True

    def per_example(self, w, batch):
        x, y = batch
        return 0.5 * (x @ w - y) ** 2

    def mean(self, w, batch):
        return jnp.mean(self.per_example(w, batch))


@pytest.fixture
def made(x64):
    """Return a posterior, its rows, and a point near w*."""
    rng = np.random.default_rng(0)
    x, y, w0 = rng.normal(size=(N, D)), rng.normal(size=N), np.array([2.0, -1.0, 0.5])
    posterior = Posterior(
        w0=jnp.asarray(w0),
        data=(jnp.asarray(x), jnp.asarray(y)),
        nbeta=jnp.asarray(NBETA),
        gamma=jnp.asarray(GAMMA),
        loss=Regression(),
        n=N,
    )
    return posterior, x, y, w0, w0 + np.array([0.3, 0.1, -0.2])


def test_the_density_and_its_gradient_equal_their_formulas(made):
    posterior, x, y, w0, w = made

    @jax.jit
    def both(w):
        whole = posterior.potential_grad(w, posterior.data)
        return posterior.potential(w), jax.grad(posterior.log_density)(w), whole

    value, score, gradient = both(w)
    residual = x @ w - y
    exact = NBETA * x.T @ residual / N + GAMMA * (w - w0)
    expected = NBETA * np.mean(residual**2) / 2 + GAMMA / 2 * np.sum((w - w0) ** 2)
    assert float(value) == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(gradient, exact, rtol=1e-12)
    np.testing.assert_allclose(score, -exact, rtol=1e-12)


def test_minibatches_are_drawn_with_replacement_from_all_rows(made):
    """The gradient's covariance is therefore that of one row divided by the size."""
    posterior, x, y, _, w = made
    count = 20_000

    @jax.jit
    def many(keys, w):
        def one(key):
            rows = posterior.minibatch(key, SIZE)
            return posterior.loss_grad(w, rows), rows[1]

        return jax.vmap(one)(keys)

    gradients, rows = map(np.asarray, many(jr.split(jr.key(1), count), w))
    each = x * (x @ w - y)[:, None]
    centred = gradients - each.mean(axis=0)
    covariance = np.cov(each.T, bias=True) / SIZE
    np.testing.assert_allclose(
        np.mean(centred, axis=0), 0, atol=4 * np.sqrt(np.diag(covariance).max() / count)
    )
    products = centred[:, :, None] * centred[:, None, :]
    noise = np.std(products, axis=0) / np.sqrt(count)
    assert (noise < 0.02 * np.diag(covariance).max()).all()
    assert (np.abs(np.mean(products, axis=0) - covariance) < 4 * noise).all()
    assert set(rows.ravel()) == set(y)
    repeats = np.mean([len(set(row)) < SIZE for row in rows])
    all_apart = np.prod(1 - np.arange(SIZE) / N)
    assert abs(repeats - (1 - all_apart)) < 4 * np.sqrt(all_apart * (1 - all_apart) / count)
    assert posterior.batch_work(SIZE) == SIZE / N
    assert posterior.batch_work(None) == 1.0


def test_the_constants_of_a_posterior_are_those_of_its_spec(x64):
    target = Target(jnp.ones(8), None, Regression(), 1000)
    nbeta = 1000 / np.log(1000)
    for spec, expected in (
        (PosteriorSpec(), (nbeta, 1.0)),
        (PosteriorSpec(beta0=0.5, gamma=20.0), (nbeta / 2, 20.0)),
        (PosteriorSpec(beta_mode="fixed", beta0=0.1, prior_radius=2.0), (100.0, 2.0)),
        (PosteriorSpec(nbeta=12.0, gamma=0.0), (12.0, 0.0)),
    ):
        posterior = localised(target, spec)
        found = float(posterior.nbeta), float(posterior.gamma)
        assert found == pytest.approx(expected, rel=1e-12)
