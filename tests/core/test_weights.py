"""Rows that count unequally: exact under minibatches, refused where the weights are wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.core.test_contract import MASK, N, W, X, Y, masked, problem, residual

COUNTS = MASK.sum(1)


def test_a_masked_mean_with_weights_is_exact_under_minibatches(x64):
    at = problem(masked, data=(X, Y, MASK), weights=COUNTS)
    assert at.loss.has_per_example
    rows = jax.tree.map(lambda a: a[:, None], at.data)
    gradient = jax.jit(jax.grad(at.loss.mean))
    each = jax.jit(jax.vmap(jax.grad(at.loss.mean), (None, 0)))(at.start, rows)
    np.testing.assert_allclose(each.mean(0), gradient(at.start, at.data), rtol=1e-12, atol=1e-15)
    expected = float(masked(W, (X, Y, MASK)))
    assert float(at.loss.mean(at.start, at.data)) == pytest.approx(expected, rel=1e-12)
    per_row = np.asarray(at.loss.per_example(at.start, at.data))
    mean = ((X - Y[:, None]) ** 2 * MASK).sum(1) / COUNTS
    np.testing.assert_allclose(per_row, COUNTS * mean / COUNTS.mean(), rtol=1e-12)


def test_weights_that_are_not_those_of_the_loss_are_refused(x64):
    with pytest.raises(ValueError, match="weights must be what each row counts in it"):
        problem(lambda p, b: jnp.mean(residual(p, b) ** 2), weights=COUNTS)


WEIGHTS = {
    "too few": (np.ones(N - 1), "weights of shape (89,)"),
    "one for each token": (MASK.astype(float), "weights of shape (90, 3)"),
    "none for some rows": (np.arange(N), "of which 1 are not, the first of them 0"),
    "words": (np.full(N, "a"), "weights of shape (90,) and type str"),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_impossible_weights_are_named(x64, name):
    weights, words = WEIGHTS[name]
    with pytest.raises(ValueError, match="finite numbers > 0, what each row") as caught:
        problem(masked, data=(X, Y, MASK), weights=weights)
    assert words in str(caught.value)
    with pytest.raises(ValueError, match="has weights but no data"):
        problem(lambda p, b: jnp.sum(p["w"] ** 2), data=None, weights=weights)


def test_weighted_minibatches_give_the_exact_value():
    from lambda_hat_core import Sgld, estimate_llc

    best = {"w": (MASK * X * Y[:, None]).sum(0) / (MASK * X**2).sum(0)}
    h = 2 * (MASK * X**2).sum(0) / MASK.sum()
    nbeta, gamma = N / np.log(N), 1.0
    exact = 0.5 * np.sum(nbeta * h / (nbeta * h + gamma))
    sampler = Sgld(batch_size=30, n_draws=3000, n_burn=300)
    found = estimate_llc(
        masked, best, (X, Y, MASK), weights=COUNTS, sampler=sampler, progress=False
    )
    assert found.se is not None and found.se < 0.05 * exact
    assert abs(found.llc - exact) < 4 * found.se + 0.02 * exact
