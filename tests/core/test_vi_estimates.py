"""The control variate and k-hat, on examples with known answers."""

import numpy as np
import pytest


def test_the_control_variate_is_unbiased():
    """For any coefficient, the mean over 2000 runs on a cubic loss is that of the plain mean."""
    from lambda_hat_core.vi.control import controlled_means

    draws = np.random.default_rng(7).normal(size=(2000, 200))
    losses = draws**2 + 0.2 * draws**3 + 3
    means, ses = controlled_means(losses, draws**2, np.ones(2000))
    assert abs(means.mean() - 4) < 4 * means.std() / np.sqrt(2000)
    assert means.std() < 0.85 * losses.mean(axis=1).std()
    assert ses.mean() == pytest.approx(means.std(), rel=0.1)


@pytest.mark.parametrize(("variance", "expected"), [(0.2, 0.8), (0.5, 0.5)])
def test_k_hat_of_a_narrow_gaussian(variance, expected):
    """p = N(0, 1), q = N(0, s): p/q has tail index 1 - s (the ratio is unbounded)."""
    from lambda_hat_core.vi.psis import smooth

    x = np.sqrt(variance) * np.random.default_rng(8).normal(size=(4, 20_000))
    weights, khat = smooth(-0.5 * x**2 + 0.5 * x**2 / variance)
    assert abs(khat.mean() - expected) < 0.15
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)


def test_k_hat_of_equal_and_of_few_ratios():
    from lambda_hat_core.vi.psis import smooth

    weights, khat = smooth(np.zeros((2, 100)))
    np.testing.assert_array_equal(khat, 0.0)
    np.testing.assert_allclose(weights, 0.01)
    weights, khat = smooth(np.log([[1.0, 3.0]]))
    np.testing.assert_allclose(weights, [[0.25, 0.75]])
    assert np.isnan(khat).all()


def test_importance_weights_include_the_localiser():
    """Before the first step the family is Laplace's, here exact, so all weights equal the evidence.

    log Z = -1/2 log det((nbeta H + gamma) / 2 pi), where the localiser contributes half.
    """
    from tests.core import vicases

    made, _ = vicases.quadratic(1e3)
    gamma = 30.0
    target = vicases.posterior(*made.data[:2], made.w0, 0, gamma=gamma)
    trace = vicases.run(target, steps=0, setup_rows=None)
    stiff = trace.nbeta * 1e3 ** (-np.arange(vicases.D) / (vicases.D - 1))
    evidence = -0.5 * np.sum(np.log((stiff + gamma) / (2 * np.pi)))
    assert 0.5 * np.sum(gamma / (stiff + gamma)) > 2
    np.testing.assert_allclose(trace.stats["log_ratio"], evidence, atol=0.1)
    np.testing.assert_allclose(trace.extras["elbo_final"], evidence, atol=0.01)
    np.testing.assert_allclose(trace.stats["weight"], 1 / 700, rtol=0.2)
    exact = 0.5 * np.sum(stiff / (stiff + gamma))
    plain = trace.llc.std() / np.sqrt(trace.llc.size)
    assert plain < 0.02 * exact
    assert abs(trace.info["llc_importance"] - exact) < 4 * plain + 0.01 * exact
