"""Targets from a user's module: valid results of a factory, and errors for invalid ones."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lambda_hat_core import CustomTarget, targets
from lambda_hat_core.config.data import NoData
from lambda_hat_core.config.model import Custom
from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.config.spec import TargetSpec
from lambda_hat_core.config.training import Training
from lambda_hat_core.posterior import localised, loss_at_minimum

SOURCE = '''
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from lambda_hat_core import CustomTarget

def bowl(key, *, h=2.0):
    return CustomTarget(jnp.zeros(2), lambda w, batch: 0.5 * h * jnp.sum(w**2), None, 100, 1.0)

def line(key, *, k=3, train=True, poison=False, drawn=False):
    """Least squares with a scale that only the loss knows."""
    scale = jax.random.uniform(key, (k,)) + 0.5 if drawn else jnp.arange(1.0, k + 1)
    x = jax.random.normal(jax.random.fold_in(key, 1), (40, k))
    y = x @ scale
    if poison:
        y = y.at[3].set(jnp.nan)

    def loss(params, batch):
        inputs, labels = batch
        return jnp.mean((inputs @ (scale * params["a"]) + params["b"] - labels) ** 2)

    params = {"a": jnp.zeros(k), "b": jnp.zeros(())}
    return CustomTarget(params, loss, (x, y), 40, train=train)

def module(key):
    net = eqx.nn.MLP(2, 1, 3, 1, activation=jnp.tanh, key=key)
    x = jax.random.normal(key, (30, 2))
    def loss(net, batch):
        return jnp.mean(jax.vmap(net)(batch[0]) ** 2)
    return CustomTarget(net, loss, (x,), 30)

def a_dict(key):
    return {"params": 1}

def a_bug(key):
    return {}["w"]

def integers(key):
    return CustomTarget({"a": jnp.arange(3)}, lambda w, b: 0.0, None, 10)

def numbers(key):
    return CustomTarget({"a": 1.0}, lambda w, b: 0.0, None, 10)

def nothing(key):
    return CustomTarget((), lambda w, b: 0.0, None, 10)

def short(key):
    return CustomTarget(jnp.zeros(2), lambda w, b: 0.0, (np.zeros((9, 2)),), 10)

def words(key):
    return CustomTarget(jnp.zeros(2), lambda w, b: 0.0, {"x": np.zeros((10, 2)), "y": "a"}, 10)

def tree(key, *, k=3):
    """Least squares on a dict of data that NumPy made, and that a jitted part closes over."""
    rng = np.random.default_rng(0)
    scale = np.linspace(1.0, 2.0, k)
    data = {"x": rng.normal(size=(40, k)), "more": [rng.normal(size=40)], "label": np.arange(40)}

    @jax.jit
    def forward(w, x):
        return x @ (scale * w)

    def loss(w, batch):
        even = jnp.where(batch["label"] % 2 == 0, 1.0, 0.5)
        return jnp.mean(even * (forward(w, batch["x"]) - batch["more"][0]) ** 2)

    return CustomTarget(np.zeros(k), loss, data, 40, train=True)

def vector(key):
    return CustomTarget(jnp.zeros(2), lambda w, b: w, None, 10)

def no_number(key):
    return CustomTarget(jnp.zeros(2), lambda w, b: None, None, 10)

def text(key):
    return CustomTarget(jnp.zeros(2), lambda w, b: "0.3", None, 10)

def dates(key):
    days = np.array(["2020-01-01"] * 10, "datetime64[D]")
    return CustomTarget(jnp.zeros(2), lambda w, b: jnp.sum(w**2), days, 10)

def complex_params(key):
    return CustomTarget(np.zeros(2, complex), lambda w, b: jnp.sum(abs(w)), None, 10)

def infinite(key):
    return CustomTarget(jnp.zeros(2), lambda w, b: 1 / jnp.sum(w), None, 10)

def no_examples(key):
    return CustomTarget(jnp.zeros(2), lambda w, b: 0.0, None, 0)
'''


@pytest.fixture
def user(tmp_path, monkeypatch):
    """Return a working directory that contains the user's module."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "users_targets.py").write_text(SOURCE)
    (tmp_path / "broken.py").write_text("def make(:\n")
    yield tmp_path
    sys.modules.pop("users_targets", None)


def spec(factory, seed=0, training=None, **kwargs):
    name = factory if ":" in factory else f"users_targets:{factory}"
    model = Custom(factory=name, kwargs=kwargs)
    return TargetSpec(model=model, data=NoData(), training=training or Training(), seed=seed)


def silent(line):
    del line


def test_a_potential_keeps_the_coefficient_that_its_author_states(x64, user):
    made = targets.build(spec("bowl", h=4.0), silent)
    assert made.meta["llc_known"] == 1.0 and "factory" in made.meta["llc_known_reason"]
    assert made.meta["min_eigenvalue"] == pytest.approx(4.0)
    targets.save(made, user)
    target = targets.load(spec("bowl", h=4.0), user, PosteriorSpec())
    found = targets.oracle(spec("bowl", h=4.0), target, 10.0, 1.0)
    assert found.value == pytest.approx(40 / 41, rel=1e-8)


def test_params_to_train_are_trained_and_polished(x64, user):
    made = targets.build(spec("line", training=Training(steps=20, batch_size=10)), silent)
    assert made.meta["is_minimum"] and made.meta["loss0"] < 1e-15
    assert made.params["['a']"] == pytest.approx(np.ones(3), abs=1e-7)
    kept = targets.build(spec("line", train=False), silent)
    assert not kept.meta["is_minimum"] and not kept.w.any()


def test_an_equinox_module_becomes_a_flat_vector(x64, user):
    made = targets.build(spec("module"), silent)
    assert made.meta["d"] == 13 and made.meta["llc_known"] is None
    assert made.data["batch0"].shape == (30, 2)


def test_a_custom_target_has_the_same_numbers_in_both_precisions(user):
    at = spec("line", k=2, training=Training(steps=20))
    with jax.enable_x64(True):
        made = targets.build(at, silent)
        targets.save(made, user)
    target = targets.load(at, user, PosteriorSpec())
    assert target.w0.dtype == jnp.float32
    assert loss_at_minimum(localised(target, PosteriorSpec())) == pytest.approx(0, abs=1e-12)
    gradient = jax.jit(jax.grad(target.loss.mean))(np.asarray(target.w0) + 1, target.data)
    assert gradient.dtype == jnp.float32 and np.abs(gradient).sum() > 0.1


def test_data_of_any_structure_are_stored_and_loaded(user):
    at = spec("tree", training=Training(steps=20, batch_size=10))
    with jax.enable_x64(True):
        made = targets.build(at, silent)
        targets.save(made, user)
        target = targets.load(at, user, PosteriorSpec())
        expected = float(loss_at_minimum(localised(target, PosteriorSpec())))
    assert made.meta["is_minimum"]
    assert target.data["label"].tolist() == list(range(40))
    narrow = targets.load(at, user, PosteriorSpec())
    assert jax.tree.structure(narrow.data) == jax.tree.structure(target.data)
    assert narrow.data["x"].dtype == jnp.float32
    assert loss_at_minimum(localised(narrow, PosteriorSpec())) == pytest.approx(expected, rel=1e-7)


def test_a_loss_that_draws_random_numbers_in_the_default_dtype_is_rejected(user):
    at = spec("line", drawn=True, training=Training(steps=20))
    with jax.enable_x64(True):
        targets.save(targets.build(at, silent), user)
        targets.load(at, user, PosteriorSpec())
    with pytest.raises(ValueError, match="put it in data, or use numpy"):
        targets.load(at, user, PosteriorSpec())


def test_losses_are_equal_by_source_kwargs_and_seed(x64, user):
    from lambda_hat_core.targets.custom import prepare

    def loss(factory, seed=0, **kwargs):
        return prepare(spec(factory, **kwargs).model, seed).loss

    assert loss("bowl") == loss("bowl") and hash(loss("bowl")) == hash(loss("bowl"))
    assert loss("bowl") != loss("bowl", h=3.0)
    assert loss("line") != loss("line", seed=1)


def test_a_changed_source_is_reloaded_or_rejected(x64, user):
    at = spec("bowl")
    before = targets.build(at, silent).meta["max_eigenvalue"]
    source = user / "users_targets.py"
    source.write_text(source.read_text().replace("h=2.0", "h=5.0"))
    assert (before, targets.build(at, silent).meta["max_eigenvalue"]) == (2.0, 5.0)
    planned = at.model.model_copy(update={"source_sha256": "0" * 64})
    with pytest.raises(ValueError, match=r"made with 000000000000; plan again"):
        targets.build(at.model_copy(update={"model": planned}), silent)


REFUSED = {
    "nowhere:make": ("cannot be imported (there is no module nowhere)", "PYTHONPATH"),
    "broken:make": ("broken:make cannot be imported", "PYTHONPATH"),
    "missing": ("is not a function of that module", "check its name"),
    "a_bug": ("raised KeyError: 'w'", "correct it"),
    "a_dict": ("returned a dict", "CustomTarget(params, loss, data, n)"),
    "integers": ("whose leaf ['a'] is", "params must be float arrays"),
    "numbers": ("whose leaf ['a'] is float 1.0", "params must be float arrays"),
    "nothing": ("without a float array", "params must be float arrays"),
    "short": ("data[0] of shape (9, 2)", "leading axis is n = 10"),
    "words": ("data['y'] of type str", "pytree of arrays"),
    "vector": ("returns shape (2,)", "scalar, the mean over rows"),
    "no_number": ("a loss that returns NoneType", "scalar, the mean over rows"),
    "text": ("a loss that returns str", "scalar, the mean over rows"),
    "dates": ("data of type datetime64[D] values", "of numbers"),
    "complex_params": ("with a complex128 array; params", "must be float arrays"),
    "infinite": ("a loss of inf", "must be finite"),
    "no_examples": ("has n = 0", "positive integer"),
}


@pytest.mark.parametrize("factory", REFUSED)
def test_mistakes_of_a_factory_are_named_with_the_correction(x64, user, factory):
    with pytest.raises(ValueError) as caught:
        targets.build(spec(factory), silent)
    message = str(caught.value)
    assert all(part in message for part in (*REFUSED[factory], factory)), message
    assert "\n" not in message


def test_kwargs_that_the_factory_does_not_take_are_named(x64, user):
    with pytest.raises(ValueError, match=r"does not take .*width.*; correct model\.kwargs"):
        targets.build(spec("bowl", width=3), silent)


def test_nan_in_data_is_rejected(x64, user):
    with pytest.raises(ValueError, match="NaN or infinite") as caught:
        targets.build(spec("line", poison=True), silent)
    assert "\n" not in str(caught.value)


def test_custom_target_is_exported():
    made = CustomTarget(jnp.zeros(1), lambda w, batch: jnp.sum(w), None, 3)
    assert (made.llc_known, made.train) == (None, False)
