"""Networks for one kind of task: trained by the product until they can do it, and their LLC."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lambda_hat_core import estimate_llc, targets
from lambda_hat_core.config import model
from lambda_hat_core.config.samplers.exact import Nuts
from lambda_hat_core.config.spec import TargetSpec
from lambda_hat_core.config.tasks import IclRegression, Induction, Modular, SparseFeatures
from lambda_hat_core.config.training import Training
from lambda_hat_core.streams import stream
from lambda_hat_core.targets.assemble import assemble
from lambda_hat_core.targets.figures import draw_figures
from lambda_hat_core.targets.train import train

FLAT = {"schedule": "constant", "polish": "none", "lr": 1e-2}

TINY = {
    "modular": TargetSpec(
        model=model.ModularMlp(embedding=3, hidden=6),
        data=Modular(p=5, train_fraction=0.8),
        training=Training(**FLAT, steps=200),
    ),
    "superposition": TargetSpec(
        model=model.Superposition(polygon=5),
        data=SparseFeatures(n_data=200, n_test=20),
        training=Training(steps=300, lr=1e-2),
    ),
    "induction": TargetSpec(
        model=model.Transformer(n_heads=1, d_model=4),
        data=Induction(n_data=40, n_test=9, vocabulary=4, context=5, min_period=2, max_period=2),
        training=Training(**FLAT, steps=100),
    ),
    "regression in context": TargetSpec(
        model=model.Transformer(n_layers=1, d_model=4, d_mlp=3, layer_norm=True),
        data=IclRegression(n_data=40, n_test=9, dim=1, examples=2),
        training=Training(**FLAT, steps=100),
    ),
}


@pytest.fixture(scope="module")
def built():
    """Each tiny target, built once for the file."""
    found = {}

    def build(name):
        if name not in found:
            with jax.enable_x64(True):
                found[name] = targets.build(TINY[name], lambda line: None)
        return found[name]

    return build


def trained(spec):
    """The problem of a target, the weights that its training ends with, and its curve."""
    problem = assemble(spec)
    end = train(stream(spec.seed, "training"), problem, spec.training)
    return problem, end.w, end.curve


@jax.jit
def counts(right, scored):
    return jnp.sum(right), jnp.sum(scored)


def share_right(problem, w, rows):
    right, scored = counts(*jax.jit(problem.loss.hits)(w, rows))
    return float(right) / float(scored)


def test_modular_addition_is_learned(x64):
    spec = TargetSpec(
        model=model.ModularMlp(embedding=6, hidden=24),
        data=Modular(p=7, train_fraction=0.6),
        training=Training(**FLAT, steps=500, batch_size=16, l2=2e-4),
    )
    problem, w, curve = trained(spec)
    assert share_right(problem, w, problem.data) == 1
    assert curve[-1, 1] < 0.1 < 0.9 * np.log(7) < curve[0, 1]


def test_two_layers_of_attention_learn_induction(x64):
    spec = TargetSpec(
        model=model.Transformer(n_heads=1, d_model=16),
        data=Induction(
            n_data=500, n_test=100, vocabulary=8, context=10, min_period=3, max_period=5
        ),
        training=Training(**FLAT, steps=300, batch_size=64),
    )
    problem, w, curve = trained(spec)
    assert share_right(problem, w, problem.test) > 0.9
    assert curve[-1, 2] < 0.2 < np.log(3) < curve[0, 2]


def test_examples_in_context_lower_the_error(x64):
    spec = TargetSpec(
        model=model.Transformer(d_model=8, d_mlp=16),
        data=IclRegression(n_data=500, n_test=200, dim=1, examples=3, noise_scale=0.1),
        training=Training(**FLAT, steps=500, batch_size=64),
    )
    problem, w, curve = trained(spec)
    x, y = problem.test
    outputs = jax.jit(problem.loss.network.apply)(w, x)
    first, _, third = np.mean(np.subtract(outputs, y) ** 2, axis=0)
    assert third < 0.7 * first
    assert curve[-1, 2] == pytest.approx(np.mean(np.subtract(outputs, y) ** 2), rel=0.3)


def test_superposition_keeps_a_pentagon_which_is_a_minimum(built):
    target = built("superposition")
    lengths = np.linalg.norm(target.params["weight"], axis=0)
    assert np.all(lengths[:5] > 0.9) and lengths[5] < 0.3
    assert target.meta["is_minimum"], target.meta["audit_reasons"]
    assert target.meta["llc_known"] is None and "no formula" in target.meta["llc_known_reason"]


def test_the_l2_term_pulls_the_weights_towards_zero(x64):
    spec = TINY["modular"]
    pulled = spec.model_copy(update={"training": Training(**FLAT, steps=200, l2=0.05)})
    free, near = (np.linalg.norm(trained(each)[1]) for each in (spec, pulled))
    assert near < 0.7 * free


def test_one_step_of_sgd_at_a_constant_rate_is_what_it_says(x64):
    training = {"optimizer": "sgd", "lr": 0.1, "schedule": "constant", "l2": 0.3, "init_scale": 0.5}
    spec = TINY["modular"]
    one = spec.model_copy(update={"training": Training(**training, steps=2)})
    problem, w, _ = trained(one)
    plain = assemble(spec)
    start = np.asarray(problem.start)
    np.testing.assert_allclose(start, 0.5 * np.asarray(plain.start), rtol=1e-15)
    gradient = jax.jit(jax.grad(problem.loss.mean))
    for _ in range(2):
        start = start - 0.1 * (np.asarray(gradient(start, problem.data)) + 0.3 * start)
    np.testing.assert_allclose(w, start, rtol=1e-12)


@pytest.mark.parametrize("name", TINY)
def test_a_tiny_target_has_a_test_loss_and_figures(built, tmp_path, name):
    target = built(name)
    assert np.isfinite(target.meta["test_loss"])
    assert target.meta["loss"] == ("cross_entropy" if name in ("modular", "induction") else "mse")
    drawn = {path.name for path in draw_figures(target, tmp_path)}
    assert drawn == {"training.png", "predictions.png", "spectrum.png"}


@pytest.mark.parametrize("name", TINY)
def test_a_tiny_target_has_an_llc_and_a_verdict(x64, built, name):
    target = built(name)
    loss = assemble(target.spec).loss
    data = jax.device_put((target.data["batch0"], target.data["batch1"]))
    found = estimate_llc(
        lambda w, batch: loss.mean(w, batch),
        jnp.asarray(target.w),
        data,
        sampler=Nuts(n_chains=2, n_draws=30, n_burn=5, n_warmup=20, max_doublings=4),
        posterior={"nbeta": 20.0, "gamma": 20.0},
        progress=False,
    )
    assert np.isfinite(found.llc) and found.se > 0
    assert found.verdict in ("ok", "suspect") and (found.verdict == "ok") == (not found.reasons)
