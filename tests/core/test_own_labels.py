"""A model under its own labels: w* is an exact minimum, at both doors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lambda_hat_core import CustomTarget, Nuts, Posterior, estimate_llc, targets
from lambda_hat_core.config.data import Digits, NoData, Synthetic
from lambda_hat_core.config.errors import ConfigError
from lambda_hat_core.config.model import Custom, Mlp, Quadratic
from lambda_hat_core.config.posterior import SELF_LABELLED, PosteriorSpec
from lambda_hat_core.config.spec import TargetSpec
from lambda_hat_core.config.training import Training
from lambda_hat_core.posterior import localised, loss_at_minimum
from lambda_hat_core.targets.custom import problem_of
from lambda_hat_core.targets.networks import MlpNetwork
from lambda_hat_core.targets.own_labels import SelfLabelled, labels, own_labels

NETWORK = MlpNetwork((2, 4, 3), "tanh")
OWN = PosteriorSpec(loss=SELF_LABELLED)
N = 300
SHORT = Nuts(n_draws=400, n_burn=50, n_warmup=100)


@pytest.mark.parametrize("name", ["mse", "gaussian", "cross_entropy"])
def test_every_point_is_an_exact_minimum(name, x64):
    rng = np.random.default_rng(0)
    w, x = jnp.asarray(rng.normal(size=NETWORK.size)), jnp.asarray(rng.normal(size=(40, 2)))
    loss = SelfLabelled(NETWORK, name, sigma=0.5 if name == "gaussian" else 1.0)
    data = (x, labels(loss, w, x))
    value, gradient = jax.value_and_grad(loss.mean)(w, data)
    curvature = jnp.linalg.eigvalsh(jax.hessian(loss.mean)(w, data))
    assert abs(value) < 1e-15 and jnp.abs(gradient).max() < 1e-14
    assert curvature[0] > -1e-12 and curvature[-1] > 0.1
    assert loss.mean(w + 0.1, data) > 1e-4


def test_the_divergence_is_the_cross_entropy_less_the_entropy(x64):
    rng = np.random.default_rng(1)
    w, other = jnp.asarray(rng.normal(size=(2, NETWORK.size)))
    x = jnp.asarray(rng.normal(size=(40, 2)))
    loss = SelfLabelled(NETWORK, "cross_entropy")
    own, at = (jax.nn.log_softmax(NETWORK.apply(v, x)) for v in (w, other))
    expected = jnp.sum(jnp.exp(own) * (own - at), axis=1)
    found = loss.per_example(other, (x, labels(loss, w, x)))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def linear(params, batch):
    return batch[0] @ params


def squares(params, batch):
    return jnp.mean((linear(params, batch) - batch[1]) ** 2)


def regression():
    """Points that no training has seen: labels that the model does not fit."""
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(N, 3)), rng.normal(size=(3, 2))
    return w, (x, rng.normal(size=(N, 2)))


@pytest.mark.parametrize("sigma", [None, 0.5])
def test_a_linear_model_has_the_gaussian_value_at_any_point(sigma):
    w, data = regression()
    posterior = Posterior(loss=SELF_LABELLED, gamma=10.0, sigma=sigma)
    found = estimate_llc(
        squares, w, data, outputs=linear, posterior=posterior, sampler=SHORT, progress=False
    )
    scale = 1.0 if sigma is None else 1 / sigma**2  # a mean of two squares, or their sum / 2 s^2
    h = np.repeat(scale * np.linalg.eigvalsh(data[0].T @ data[0] / N), 2)
    nbeta = N / np.log(N)
    exact = 0.5 * np.sum(nbeta * h / (nbeta * h + 10.0))
    assert found.llc is not None and found.se is not None
    assert found.se < 0.05 * exact
    assert abs(found.llc - exact) < 4 * found.se
    assert found.at_minimum and found.descent == 0.0
    assert found.estimate.loss0 == 0.0
    untouched = estimate_llc(squares, w, data, sampler=SHORT, progress=False)
    assert not untouched.at_minimum


def test_weights_count_rows_in_the_loss_with_own_labels(x64):
    w, data = regression()
    counts = np.arange(1.0, N + 1)

    def weighted(params, batch):
        x, y, share = batch
        each = jnp.mean((x @ params - y) ** 2, axis=1)
        return jnp.sum(share * each) / jnp.sum(share)

    made = CustomTarget(w, weighted, (*data, counts), N, weights=counts, outputs=linear)
    problem = own_labels(problem_of(made, "test"), None)
    beside = problem.start + 0.1
    expected = np.average(np.mean((data[0] @ np.full((3, 2), 0.1)) ** 2, axis=1), weights=counts)
    assert problem.loss.mean(beside, problem.data) == pytest.approx(expected, rel=1e-12)


MISTAKES = {
    "no outputs": ({"posterior": {"loss": SELF_LABELLED}}, "pass outputs=f"),
    "no effect": ({"outputs": linear}, 'write posterior={"loss": "self_labelled"}, or remove it'),
    "one number": ({"outputs": squares}, "return float64 of shape (); it returns floats of shape"),
    "raises": ({"outputs": lambda p, b: b["x"] @ p}, "has outputs(params, batch) that raised Type"),
    "classes": ({"outputs_loss": "kl"}, "it is mse, or cross_entropy if the outputs are logits"),
    "scale": (
        {"outputs_loss": "cross_entropy", "posterior": {"loss": SELF_LABELLED, "sigma": 1.0}},
        "the outputs of classes have no noise scale: remove posterior.sigma",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_name_the_way_out(name):
    change, words = MISTAKES[name]
    w, data = regression()
    own = {} if name in ("no outputs", "no effect") else {"posterior": {"loss": SELF_LABELLED}}
    given = {} if name == "no outputs" else {"outputs": linear}
    with pytest.raises(ValueError) as caught:
        estimate_llc(squares, w, data, progress=False, **(own | given | change))
    assert words in str(caught.value) and "\n" not in str(caught.value)


def silent(line):
    del line


@pytest.mark.parametrize("data", [Synthetic(n_data=50, n_test=5), Digits(n_data=60)])
def test_a_stored_network_is_labelled_by_itself(data, tmp_path):
    spec = TargetSpec(
        model=Mlp(widths=(3,), activation="tanh"), data=data, training=Training(steps=3)
    )
    with jax.enable_x64(True):
        targets.save(targets.build(spec, silent), tmp_path)
    at = targets.load(spec, tmp_path, OWN)
    assert isinstance(at.loss, SelfLabelled)
    assert at.loss.name == ("mse" if isinstance(data, Synthetic) else "cross_entropy")
    assert at.w0.dtype == jnp.float32
    assert loss_at_minimum(localised(at, OWN)) == 0.0
    assert jnp.abs(jax.grad(at.loss.mean)(at.w0, at.data)).max() < 1e-6


FACTORY = """
import jax.numpy as jnp
import numpy as np
from lambda_hat_core import CustomTarget

def line(key, *, says=True):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3))
    def outputs(params, batch):
        return batch[0] @ params["w"]
    def loss(params, batch):
        return jnp.mean((outputs(params, batch) - batch[1]) ** 2)
    params = {"w": np.arange(1.0, 4.0)}
    data = (x, rng.normal(size=40))
    return CustomTarget(params, loss, data, 40, outputs=outputs if says else None)
"""


def test_a_factory_gives_its_outputs(tmp_path, monkeypatch):
    (tmp_path / "own_line.py").write_text(FACTORY)
    monkeypatch.syspath_prepend(tmp_path)
    specs = {}
    for says in (True, False):
        specs[says] = TargetSpec(
            model=Custom(factory="own_line:line", kwargs={"says": says}),
            data=NoData(),
            training=Training(loss="own"),
        )
        (tmp_path / str(says)).mkdir()
        with jax.enable_x64(True):
            targets.save(targets.build(specs[says], silent), tmp_path / str(says))
    at = targets.load(specs[True], tmp_path / "True", OWN)
    assert loss_at_minimum(localised(at, OWN)) == 0.0
    assert at.loss.mean(at.w0 + 0.5, at.data) > 0.1
    with pytest.raises(ValueError, match=r"own_line:line has a loss but no outputs.* pass it as"):
        targets.load(specs[False], tmp_path / "False", OWN)


EXPERIMENT = """
targets:
  - {model: {kind: mlp, widths: [3]}, data: {n_data: 50}}
  - {model: {kind: quadratic, d: 3}, data: {n_data: 50}}
samplers:
  - {name: nuts}
posterior: {loss: self_labelled}
"""


def test_an_experiment_trains_on_the_labels_of_its_data(plan_of):
    plan = plan_of(EXPERIMENT)
    assert [spec.training.loss for spec in plan.targets.values()] == ["mse", "own"]
    assert [run.posterior.loss for run in plan.runs.values()] == [SELF_LABELLED, "own"]
    scaled = plan_of(EXPERIMENT.replace("self_labelled}", "self_labelled, sigma: 0.5}"))
    assert [run.posterior.sigma for run in scaled.runs.values()] == [0.5, None]
    with pytest.raises(ConfigError, match=r"outputs of .* are those of classes.*; remove sigma"):
        plan_of(
            EXPERIMENT.replace("data: {n_data: 50}", "data: digits", 1).replace(
                "self_labelled}", "self_labelled, sigma: 0.5}"
            )
        )


def test_a_potential_has_no_outputs():
    from lambda_hat_core.config.compatible import check_loss

    with pytest.raises(ValueError, match="has its own loss and no outputs; remove it"):
        check_loss("posterior.loss", SELF_LABELLED, Quadratic(d=3), NoData())
