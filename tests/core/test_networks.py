"""Networks against explicit formulas on their named arrays."""

from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from lambda_hat_core.config import model
from lambda_hat_core.config.data import Teacher
from lambda_hat_core.targets.networks import (
    DeepLinearNetwork,
    DiagonalLinearNetwork,
    MlpNetwork,
    QuadraticActivationNetwork,
    make_network,
    make_teacher,
)
from lambda_hat_core.targets.networks.layout import join, split

X = np.random.default_rng(0).normal(size=(9, 3))
EXAMPLES = np.random.default_rng(1).normal(size=(500, 100))


@partial(jax.jit, static_argnums=0)
def init(network):
    return network.init(jr.key(0))


@partial(jax.jit, static_argnums=0)
def apply(network, w, x):
    return network.apply(w, x)


def parts(network, w):
    """Named arrays of the weights."""
    found = jax.jit(lambda w: split(network.shapes, w))(w)
    return {name: np.asarray(array) for name, array in found.items()}


def layers(network, w):
    return [np.asarray(layer) for layer in jax.jit(network.layers)(w)]


def normalise(h):
    return (h - h.mean(1, keepdims=True)) / np.sqrt(h.var(1, keepdims=True) + 1e-5)


@pytest.mark.parametrize("layernorm", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_an_mlp_equals_its_layers(x64, bias, layernorm):
    network = MlpNetwork((3, 5, 4, 2), "tanh", bias, layernorm)
    w = np.asarray(init(network))
    w = w + 0.1 * np.random.default_rng(2).normal(size=w.shape)
    a = parts(network, w)
    h = X
    for i in (1, 2, 3):
        h = h @ a[f"weight{i}"] + (a[f"bias{i}"] if bias else 0)
        if i < 3:
            h = normalise(h) * a[f"scale{i}"] + a[f"shift{i}"] if layernorm else h
            h = np.tanh(h)
    np.testing.assert_allclose(apply(network, w, X), h, rtol=1e-10, atol=1e-12)
    assert w.size == network.size == sum(array.size for array in a.values())


def test_skip_connections_add_the_input_of_a_block_of_equal_width(x64):
    network = MlpNetwork((3, 4, 4, 4, 4, 1), "relu", bias=False, residual_period=2)
    w = init(network)
    v = [*parts(network, w).values()]

    def layer(h, i):
        return np.maximum(h @ v[i], 0)

    first = layer(layer(X, 0), 1)
    second = layer(layer(first, 2), 3) + first
    np.testing.assert_allclose(apply(network, w, X), second @ v[4], rtol=1e-10)


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "identity"])
def test_initial_weights_preserve_the_variance_of_the_signal(x64, activation):
    network = MlpNetwork((100, 200, 200, 50), activation)
    outputs = apply(network, init(network), EXAMPLES)
    assert 0.2 < np.std(outputs) < 2.0


def test_split_and_join_are_inverse():
    network = MlpNetwork((3, 5, 2))
    w = init(network)
    there_and_back = jax.jit(lambda w: join(network.shapes, split(network.shapes, w)))
    np.testing.assert_array_equal(there_and_back(w), w)


@pytest.mark.parametrize("n", [1, 200])
def test_a_deep_linear_network_equals_its_product_in_either_order(x64, n):
    network = DeepLinearNetwork((3, 6, 5, 2))
    w, x = init(network), EXAMPLES[:n, :3]
    expected = x @ np.linalg.multi_dot(layers(network, w))
    np.testing.assert_allclose(apply(network, w, x), expected, rtol=1e-12)


@pytest.mark.parametrize("widths", [(6, 8, 5), (6, 4, 8, 3, 5)])
def test_factors_are_balanced_and_have_the_rank_of_their_product(x64, widths):
    network = DeepLinearNetwork(widths)
    product = EXAMPLES[:6, :2] @ EXAMPLES[:2, :5]
    factors = layers(network, jax.jit(lambda product: network.factor(product, 2))(product))
    np.testing.assert_allclose(np.linalg.multi_dot(factors), product, atol=1e-12)
    assert [np.linalg.matrix_rank(factor) for factor in factors] == [2] * len(factors)
    for left, right in pairwise(factors):
        np.testing.assert_allclose(left.T @ left, right @ right.T, atol=1e-12)


def test_a_rank_above_the_narrowest_width_is_rejected(x64):
    with pytest.raises(ValueError, match="rank 3 is impossible with widths"):
        DeepLinearNetwork((3, 2, 3)).factor(jnp.eye(3), 3)


def test_a_quadratic_activation_network_is_a_quadratic_form(x64):
    network = QuadraticActivationNetwork(3, 4)
    u = np.asarray(init(network)).reshape(3, 4)
    outputs = apply(network, u.reshape(-1), X)
    np.testing.assert_allclose(outputs[:, 0], np.einsum("ni,ij,nj->n", X, u @ u.T, X), rtol=1e-12)


def test_diagonal_linear_multiplies_its_factors(x64):
    network = DiagonalLinearNetwork(3, 2)
    w = np.array([1.0, 2.0, 0.0, 3.0, -1.0, 5.0])
    np.testing.assert_array_equal(jax.jit(network.theta)(w), [3.0, -2.0, 0.0])
    np.testing.assert_allclose(np.ravel(apply(network, w, X)), X @ [3.0, -2.0, 0.0])


def test_an_mlp_takes_null_dimensions_from_the_data():
    network = make_network(model.Mlp(depth=1, hidden=7), 64, 10)
    assert network == MlpNetwork((64, 7, 10))


def test_target_params_size_the_network():
    network = make_network(model.Mlp(depth=3, target_params=10_000), 32, 1)
    assert abs(network.size - 10_000) < 200


def test_a_teacher_without_fields_is_the_student():
    spec = model.Mlp(widths=(5, 6), activation="tanh", bias=False)
    student = MlpNetwork((4, 5, 6, 1), "tanh", bias=False)
    assert make_teacher(spec, None, student) == student
    assert make_teacher(spec, Teacher(dropout_rate=0.1), student) == student


def test_a_teacher_field_changes_only_itself():
    spec = model.Mlp(widths=(5, 6), activation="tanh")
    student = MlpNetwork((4, 5, 6, 1), "tanh")
    assert make_teacher(spec, Teacher(activation="relu"), student) == MlpNetwork(
        (4, 5, 6, 1), "relu"
    )
    assert make_teacher(spec, Teacher(hidden=3), student) == MlpNetwork((4, 3, 3, 1), "tanh")
    assert make_teacher(spec, Teacher(widths=(9,)), student) == MlpNetwork((4, 9, 1), "tanh")
