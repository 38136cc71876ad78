"""Networks for one kind of task: their formulas, gradients, causality and heads."""

from functools import partial

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.special import erf

from lambda_hat_core.config import model
from lambda_hat_core.config.tasks import IclRegression, Induction, Modular, SparseFeatures
from lambda_hat_core.targets.losses import Supervised
from lambda_hat_core.targets.networks import (
    ModularMlpNetwork,
    SuperpositionNetwork,
    TransformerNetwork,
    make_task_network,
)
from lambda_hat_core.targets.networks.layout import split
from lambda_hat_core.targets.tasks import examples

TASKS = {
    "modular": (model.ModularMlp(embedding=3, hidden=4), Modular(p=5)),
    "superposition": (model.Superposition(), SparseFeatures(n_data=7, n_test=3)),
    "attention only": (
        model.Transformer(d_model=6),
        Induction(n_data=7, n_test=3, vocabulary=6, context=7, min_period=2, max_period=3),
    ),
    "whole": (
        model.Transformer(d_model=6, n_heads=3, d_mlp=5, layer_norm=True, tied=True),
        Induction(n_data=7, n_test=3, vocabulary=6, context=7, min_period=2, max_period=3),
    ),
    "last": (model.Transformer(n_layers=1, d_model=4), Modular(p=5)),
    "vectors": (
        model.Transformer(n_layers=1, d_model=4, d_mlp=3),
        IclRegression(n_data=7, n_test=3, dim=2, examples=3),
    ),
}
OUTPUTS = {
    "modular": (10, 5),
    "superposition": (7, 6),
    "attention only": (7, 7, 6),
    "whole": (7, 7, 6),
    "last": (10, 5),
    "vectors": (7, 3),
}


@partial(jax.jit, static_argnums=0)
def apply(network, w, x):
    return network.apply(w, x)


@partial(jax.jit, static_argnums=0)
def initial(network):
    return network.init(jr.key(0))


def parts(network, w):
    found = jax.jit(lambda w: split(network.shapes, w))(w)
    return {name: np.asarray(array) for name, array in found.items()}


def task(name):
    """Network, weights away from the start's zeros and ones, and training examples."""
    spec, data = TASKS[name]
    network = make_task_network(spec, data)
    w = np.asarray(initial(network))
    return network, w + 0.3 * np.random.default_rng(1).normal(size=w.size), examples(data, 0)[0]


@pytest.mark.parametrize("name", TASKS)
def test_outputs_have_their_shape_under_jit_and_vmap_in_either_precision(dtype, name):
    network, w, (x, y) = task(name)
    w = jnp.asarray(w, dtype)
    outputs = apply(network, w, x)
    assert outputs.shape == OUTPUTS[name] and outputs.dtype.name == dtype
    assert w.size == network.size and initial(network).dtype.name == dtype
    loss = Supervised(network, "cross_entropy" if jnp.issubdtype(y.dtype, jnp.integer) else "mse")
    several = jax.jit(jax.vmap(loss.per_example, in_axes=(0, None)))(jnp.stack([w, 2 * w]), (x, y))
    assert several.shape == (2, len(x))
    alone = jax.jit(loss.per_example)(2 * w, (x, y))
    np.testing.assert_allclose(several[1], alone, rtol=1e-4 if dtype == "float32" else 1e-10)


@pytest.mark.parametrize("name", TASKS)
def test_gradients_are_those_of_differences(x64, name):
    network, w, (x, y) = task(name)
    loss = Supervised(network, "cross_entropy" if jnp.issubdtype(y.dtype, jnp.integer) else "mse")
    value, gradient = jax.jit(lambda w: (loss.mean(w, (x, y)), jax.grad(loss.mean)(w, (x, y))))(w)
    assert np.isfinite(value) and np.all(np.isfinite(gradient))
    mean, h = jax.jit(lambda w: loss.mean(w, (x, y))), 1e-6
    for seed in range(3):
        direction = np.random.default_rng(seed).normal(size=w.size)
        slope = (mean(w + h * direction) - mean(w - h * direction)) / (2 * h)
        assert float(slope) == pytest.approx(float(gradient @ direction), rel=1e-6, abs=1e-8)


def gelu(z):
    return z * (1 + erf(z / np.sqrt(2))) / 2


def test_a_modular_mlp_embeds_both_integers_alike(x64):
    network, w, (x, _) = task("modular")
    a = parts(network, w)
    left = a["embedding"][x[:, 0]] @ a["left.weight"] + a["left.bias"]
    right = a["embedding"][x[:, 1]] @ a["right.weight"] + a["right.bias"]
    expected = gelu(left + right) @ a["unembedding"]
    np.testing.assert_allclose(apply(network, w, x), expected, rtol=1e-10)
    assert ModularMlpNetwork(53, 12, 48).size == 4428


def test_superposition_reconstructs_through_its_columns(x64):
    network, w, (x, _) = task("superposition")
    a = parts(network, w)
    expected = np.maximum(np.asarray(x) @ a["weight"].T @ a["weight"] + a["bias"], 0)
    np.testing.assert_allclose(apply(network, w, x), expected, rtol=1e-10, atol=1e-12)


def test_a_polygon_s_corners_are_equally_far_apart(x64):
    network = SuperpositionNetwork(6, 2, polygon=5)
    weight = parts(network, initial(network))["weight"]
    assert np.all(np.linalg.norm(weight[:, 5:], axis=0) < 0.3)
    gaps = np.diff(np.unwrap(np.arctan2(weight[1, :5], weight[0, :5])))
    np.testing.assert_allclose(gaps, 2 * np.pi / 5, atol=0.4)


def norm(a, name, h):
    if f"{name}.scale" not in a:
        return h
    centred = h - h.mean(-1, keepdims=True)
    scaled = centred / np.sqrt(h.var(-1, keepdims=True) + 1e-5)
    return scaled * a[f"{name}.scale"] + a[f"{name}.shift"]


def by_loops(network, a, tokens):
    """The outputs of one sequence, position by position and head by head."""
    h = np.array([a["embedding"][token] + a["positions"][t] for t, token in enumerate(tokens)])
    for i in range(network.n_layers):
        name = f"blocks.{i}.attention"
        seen, added = norm(a, f"{name}.norm", h), np.zeros_like(h)
        for head in range(network.n_heads):
            q, k, v = (seen @ a[f"{name}.{part}"][head] for part in ("query", "key", "value"))
            for t in range(len(tokens)):
                scores = np.exp(k[: t + 1] @ q[t] / np.sqrt(q.shape[1]))
                added[t] += (scores / scores.sum()) @ v[: t + 1] @ a[f"{name}.output"][head]
        h = h + added
        if network.d_mlp:
            name = f"blocks.{i}.mlp"
            hidden = norm(a, f"{name}.norm", h) @ a[f"{name}.in"] + a[f"{name}.in_bias"]
            h = h + gelu(hidden) @ a[f"{name}.out"] + a[f"{name}.out_bias"]
    read = a["embedding"].T if network.tied else a["unembedding"]
    return norm(a, "norm", h) @ read


@pytest.mark.parametrize("name", ["attention only", "whole"])
def test_a_transformer_equals_its_loops(x64, name):
    network, w, (x, _) = task(name)
    outputs = apply(network, w, x)
    for row in (0, 3):
        expected = by_loops(network, parts(network, w), np.asarray(x[row]))
        np.testing.assert_allclose(outputs[row], expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", ["attention only", "whole"])
def test_a_later_token_changes_no_earlier_output(x64, name):
    network, w, (x, _) = task(name)
    before = np.asarray(apply(network, w, x))
    for place in range(1, 7):
        changed = x.at[:, place].set((x[:, place] + 1) % 6)
        after = np.asarray(apply(network, w, changed))
        np.testing.assert_array_equal(before[:, :place], after[:, :place])
        assert np.all(np.abs(before[:, place:] - after[:, place:]).max(axis=(1, 2)) > 1e-6)


def test_an_answer_in_context_does_not_change_its_own_question(x64):
    network, w, (x, _) = task("vectors")
    before = np.asarray(apply(network, w, x))
    after = np.asarray(apply(network, w, x.at[:, 3, 0].add(1.0)))
    np.testing.assert_array_equal(before[:, :2], after[:, :2])
    assert np.all(before[:, 2] != after[:, 2])


def test_a_head_is_one_index_of_its_leaves(x64):
    network, w, (x, _) = task("attention only")
    shapes = dict(network.shapes)
    assert shapes["blocks.1.attention.query"] == (2, 6, 3)
    assert shapes["blocks.1.attention.output"] == (2, 3, 6)
    assert network == TransformerNetwork(6, 6, 7, 2, 2, 6)
    a = parts(network, w)
    silent = a | {
        f"blocks.{i}.attention.output": a[f"blocks.{i}.attention.output"] * [[[1]], [[0]]]
        for i in range(2)
    }
    one = TransformerNetwork(6, 6, 7, 2, 1, 6)
    first = {name: v[:1] if "attention" in name else v for name, v in silent.items()}
    flat = np.concatenate([silent[name].ravel() for name, _ in network.shapes])
    outputs = apply(network, flat, x)
    # One head alone has the same width, because d_head follows from the leaf and not from d_model.
    np.testing.assert_allclose(outputs[0], by_loops(one, first, np.asarray(x[0])), rtol=1e-9)
