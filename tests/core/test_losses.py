"""Losses against their formulas in numpy."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lambda_hat_core.targets.losses import Supervised
from lambda_hat_core.targets.networks import MlpNetwork, TransformerNetwork
from lambda_hat_core.targets.potentials import NormalCrossingPotential, QuadraticPotential

NETWORK = MlpNetwork((3, 4, 2), "tanh")


def weights_and_batch():
    rng = np.random.default_rng(0)
    shapes = NETWORK.size, (7, 3), (7, 2)
    w, x, y = (jnp.asarray(rng.normal(size=shape)) for shape in shapes)
    return w, (x, y)


@partial(jax.jit, static_argnums=0)
def evaluated(loss, w, data):
    return loss.per_example(w, data), loss.mean(w, data), loss.network.apply(w, data[0])


def test_regression_losses_equal_their_formulas(x64):
    w, (x, y) = weights_and_batch()
    formulas = {
        "mse": lambda r2: r2.mean(axis=1),
        "gaussian": lambda r2: r2.sum(axis=1) / (2 * 0.3**2),
        "student_t": lambda r2: (0.5 * 6 * np.log1p(r2 / (5 * 0.3**2))).mean(axis=1),
    }
    for name, formula in formulas.items():
        each, mean, outputs = evaluated(Supervised(NETWORK, name, sigma=0.3, df=5.0), w, (x, y))
        expected = formula(np.subtract(outputs, y) ** 2)
        np.testing.assert_allclose(each, expected, rtol=1e-12)
        assert float(mean) == pytest.approx(expected.mean(), rel=1e-12)


def test_cross_entropy_is_minus_the_log_probability_of_the_label(x64):
    w, (x, _) = weights_and_batch()
    y = np.arange(7) % 2
    each, mean, outputs = evaluated(Supervised(NETWORK, "cross_entropy"), w, (x, jnp.asarray(y)))
    probability = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    expected = -np.log(probability[np.arange(7), y])
    np.testing.assert_allclose(each, expected, rtol=1e-12)
    assert float(mean) == pytest.approx(expected.mean(), rel=1e-12)


def test_a_sequence_costs_the_mean_over_its_scored_labels(x64):
    network = TransformerNetwork(5, 5, 4, n_layers=1, n_heads=2, d_model=4)
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 5, (3, 4)), np.array([[-1, -1, 2, 0], [-1, 4, 1, 1], [3, 0, 2, 4]])
    w = jnp.asarray(rng.normal(size=network.size))
    loss = Supervised(network, "cross_entropy")
    each, mean, outputs = evaluated(loss, w, (jnp.asarray(x), jnp.asarray(y)))
    log_p = outputs - np.log(np.exp(outputs).sum(axis=-1, keepdims=True))
    expected = [
        np.mean([-log_p[row, place, label] for place, label in enumerate(labels) if label >= 0])
        for row, labels in enumerate(y)
    ]
    np.testing.assert_allclose(each, expected, rtol=1e-12)
    assert float(mean) == pytest.approx(np.mean(expected), rel=1e-12)
    right, scored = jax.jit(loss.hits)(w, (jnp.asarray(x), jnp.asarray(y)))
    np.testing.assert_array_equal(scored, y >= 0)
    np.testing.assert_array_equal(right, np.argmax(outputs, axis=-1) == y)


def test_cross_entropy_of_far_logits_is_finite(dtype):
    loss = Supervised(MlpNetwork((1, 2), bias=False), "cross_entropy")
    one = jnp.asarray(np.ones((1, 1), dtype))
    _, value, _ = evaluated(loss, jnp.asarray(np.array([1e4, -1e4], dtype)), (one, jnp.array([1])))
    assert float(value) == pytest.approx(2e4)


def test_losses_keep_the_precision_of_the_weights(dtype):
    w, data = weights_and_batch()
    assert w.dtype.name == dtype
    for name in ("mse", "gaussian", "student_t"):
        gradient = jax.eval_shape(jax.grad(Supervised(NETWORK, name, 0.3, 5.0).mean), w, data)
        assert gradient.dtype.name == dtype


def test_equal_losses_share_one_compilation():
    traces = []

    def mean(loss, w, data):
        traces.append(loss)
        return loss.mean(w, data)

    compiled = jax.jit(mean, static_argnums=0)
    w, data = weights_and_batch()
    for _ in range(2):
        compiled(Supervised(MlpNetwork((3, 4, 2), "tanh"), "mse"), w, data)
    assert len(traces) == 1
    compiled(Supervised(MlpNetwork((3, 4, 2), "relu"), "mse"), w, data)
    assert len(traces) == 2


def test_a_rotated_quadratic_has_the_spectrum_it_was_given(dtype):
    loss = QuadraticPotential(6, spectrum=(5.0, 3.0, 1.0, 0.5, 0.0, 0.0), seed=3)
    w = np.arange(6, dtype=dtype)
    value, hessian = jax.jit(lambda w: (loss.mean(w, None), jax.hessian(loss.mean)(w, None)))(w)
    hessian = np.asarray(hessian, np.float64)
    found = np.sort(np.linalg.eigvalsh(hessian))[::-1]
    np.testing.assert_allclose(found, loss.eigenvalues(), atol=2e-6)
    assert np.abs(hessian - np.diag(np.diag(hessian))).max() > 0.1
    assert float(value) == pytest.approx(0.5 * w @ hessian @ w, rel=1e-5)


def test_a_log_spaced_spectrum_has_its_condition_number_and_rank():
    values = QuadraticPotential(5, condition=1e6, h_max=2.0, rank=4).eigenvalues()
    np.testing.assert_allclose(values, [2.0, 2e-2, 2e-4, 2e-6, 0.0], rtol=1e-12)


def test_rotations_differ_between_seeds_and_are_the_same_in_both_precisions():

    def value(seed):
        loss = QuadraticPotential(4, condition=10.0, seed=seed)
        return float(jax.jit(loss.mean)(jnp.asarray(np.arange(4.0)), None))

    single = value(1)
    with jax.enable_x64(True):
        assert value(1) == pytest.approx(single, rel=1e-5)
    assert value(2) != pytest.approx(single, rel=1e-2)


def test_normal_crossing_and_its_gradient_at_zero(dtype):
    loss = NormalCrossingPotential((1, 0, 2))
    both = jax.jit(jax.value_and_grad(lambda w: loss.mean(w, None)))
    value, gradient = both(np.array([2.0, 5.0, 3.0], dtype))
    assert float(value) == pytest.approx(4 * 81)
    np.testing.assert_allclose(gradient, [4 * 81, 0, 4 * 4 * 27], rtol=1e-6)
    np.testing.assert_array_equal(both(np.zeros(3, dtype))[1], 0)


def test_potentials_have_no_examples():
    loss = NormalCrossingPotential((1,))
    assert not loss.has_per_example
    with pytest.raises(TypeError, match="NormalCrossingPotential has no examples"):
        loss.per_example(jnp.zeros(1), None)
