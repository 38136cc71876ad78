"""Losses against their formulas in numpy."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from lambda_hat_core.losses import Supervised
from lambda_hat_core.networks import Mlp
from lambda_hat_core.potentials import NormalCrossing, Quadratic

NETWORK = Mlp((3, 4, 2), "tanh")


def batch():
    x = jr.normal(jr.key(1), (7, 3))
    return x, jr.normal(jr.key(2), (7, 2))


def test_regression_losses_are_their_formulas(x64):
    w, (x, y) = NETWORK.init(jr.key(0)), batch()
    r2 = np.asarray((NETWORK.apply(w, x) - y) ** 2)
    expected = {
        "mse": r2.mean(axis=1),
        "gaussian": r2.sum(axis=1) / (2 * 0.3**2),
        "student_t": (0.5 * 6 * np.log1p(r2 / (5 * 0.3**2))).mean(axis=1),
    }
    for name, values in expected.items():
        loss = Supervised(NETWORK, name, sigma=0.3, df=5.0)
        np.testing.assert_allclose(loss.per_example(w, (x, y)), values, rtol=1e-12)
        assert float(loss.mean(w, (x, y))) == pytest.approx(values.mean(), rel=1e-12)


def test_cross_entropy_is_minus_the_log_probability_of_the_label(x64):
    w, (x, _) = NETWORK.init(jr.key(0)), batch()
    y = jnp.arange(7) % 2
    loss = Supervised(NETWORK, "cross_entropy")
    outputs = np.asarray(NETWORK.apply(w, x))
    probability = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    expected = -np.log(probability[np.arange(7), np.asarray(y)])
    np.testing.assert_allclose(loss.per_example(w, (x, y)), expected, rtol=1e-12)
    assert float(loss.mean(w, (x, y))) == pytest.approx(expected.mean(), rel=1e-12)


def test_cross_entropy_of_far_logits_is_finite(dtype):
    loss = Supervised(Mlp((1, 2), bias=False), "cross_entropy")
    value = loss.mean(jnp.array([1e4, -1e4]), (jnp.ones((1, 1)), jnp.array([1])))
    assert float(value) == pytest.approx(2e4)


def test_losses_keep_the_precision_of_the_weights(dtype):
    w, data = NETWORK.init(jr.key(0)), batch()
    for name in ("mse", "gaussian", "student_t"):
        gradient = jax.grad(Supervised(NETWORK, name, 0.3, 5.0).mean)(w, data)
        assert gradient.dtype.name == dtype


def test_equal_losses_share_one_compilation():
    traces = []

    def mean(loss, w, data):
        traces.append(loss)
        return loss.mean(w, data)

    compiled = jax.jit(mean, static_argnums=0)
    w, data = NETWORK.init(jr.key(0)), batch()
    for _ in range(2):
        compiled(Supervised(Mlp((3, 4, 2), "tanh"), "mse"), w, data)
    assert len(traces) == 1
    compiled(Supervised(Mlp((3, 4, 2), "relu"), "mse"), w, data)
    assert len(traces) == 2


def test_a_rotated_quadratic_has_the_spectrum_it_was_given(dtype):
    loss = Quadratic(6, spectrum=(5.0, 3.0, 1.0, 0.5, 0.0, 0.0), seed=3)
    hessian = jax.hessian(loss.mean)(jnp.zeros(6), None)
    found = np.sort(np.linalg.eigvalsh(np.asarray(hessian, np.float64)))[::-1]
    np.testing.assert_allclose(found, loss.eigenvalues(), atol=2e-6)
    assert np.abs(np.asarray(hessian) - np.diag(np.diag(hessian))).max() > 0.1
    w = jnp.arange(6.0)
    half_form = 0.5 * float(w @ hessian @ w)
    assert float(jax.jit(loss.mean)(w, None)) == pytest.approx(half_form, rel=1e-5)


def test_a_log_spaced_spectrum_has_its_condition_number_and_rank():
    values = Quadratic(5, condition=1e6, h_max=2.0, rank=4).eigenvalues()
    np.testing.assert_allclose(values, [2.0, 2e-2, 2e-4, 2e-6, 0.0], rtol=1e-12)


def test_rotations_differ_between_seeds_and_are_the_same_in_both_precisions():
    w = jnp.arange(4.0)

    def value(seed):
        return float(Quadratic(4, condition=10.0, seed=seed).mean(w.astype(float), None))

    single = value(1)
    with jax.enable_x64(True):
        assert value(1) == pytest.approx(single, rel=1e-5)
    assert value(2) != pytest.approx(single, rel=1e-2)


def test_normal_crossing_and_its_gradient_at_zero(dtype):
    loss = NormalCrossing((1, 0, 2))
    w = jnp.array([2.0, 5.0, 3.0])
    assert float(loss.mean(w, None)) == pytest.approx(4 * 81)
    gradient = jax.grad(loss.mean)(w, None)
    np.testing.assert_allclose(gradient, [4 * 81, 0, 4 * 4 * 27], rtol=1e-6)
    np.testing.assert_array_equal(jax.grad(loss.mean)(jnp.zeros(3), None), 0)


def test_potentials_have_no_examples():
    loss = NormalCrossing((1,))
    assert not loss.has_per_example
    with pytest.raises(TypeError, match="NormalCrossing has no examples"):
        loss.per_example(jnp.zeros(1), None)
