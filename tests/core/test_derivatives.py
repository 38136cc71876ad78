"""Errors for a loss without the gradient or Hessian that is needed: one sentence, everywhere."""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lambda_hat_core.config.data import NoData
from lambda_hat_core.config.model import Custom
from lambda_hat_core.config.spec import TargetSpec
from lambda_hat_core.config.training import Training
from lambda_hat_core.store import sql
from lambda_hat_core.store.store import Store
from lambda_hat_core.work import making

SOURCE = """
import jax.numpy as jnp
import numpy as np
from lambda_hat_core import CustomTarget

K = np.array([1, 2])

def params(at):
    return {"layer": {"w": at * jnp.ones(2)}, "free": jnp.zeros(1)}

def bowl(p):
    return jnp.sum(p["free"] ** 2)

LOSSES = {
    "real power": lambda p: bowl(p) + jnp.prod((p["layer"]["w"] * p["layer"]["w"]) ** 1.5),
    "powers": lambda p: bowl(p) + jnp.sum((p["layer"]["w"] * p["layer"]["w"]) ** K),
    "cubed norm": lambda p: bowl(p) + jnp.sum(p["layer"]["w"] ** 2) ** 1.5,
    "root": lambda p: bowl(p) + jnp.sqrt(jnp.sum(p["layer"]["w"] ** 2)),
    "norm": lambda p: bowl(p) + jnp.linalg.norm(p["layer"]["w"]) ** 2,
    "outer where": lambda p: bowl(p) + jnp.where(
        jnp.sum(p["layer"]["w"] ** 2) > 0, jnp.sqrt(jnp.sum(p["layer"]["w"] ** 2)), 0.0),
    "squared powers": lambda p: bowl(p) + jnp.sum(p["layer"]["w"] ** (2 * K)),
    "whole powers": lambda p: bowl(p) + jnp.prod(
        jnp.stack([(p["layer"]["w"][i] ** 2) ** int(k) for i, k in enumerate(K)])),
    "softened root": lambda p: bowl(p) + jnp.sqrt(jnp.sum(p["layer"]["w"] ** 2) + 1e-4),
    "inner where": lambda p: bowl(p) + jnp.where(
        jnp.sum(p["layer"]["w"] ** 2) > 0,
        jnp.sqrt(jnp.where(jnp.sum(p["layer"]["w"] ** 2) > 0,
                           jnp.sum(p["layer"]["w"] ** 2), 1.0)), 0.0) ** 2,
}

def make(key, *, loss, at=0.0, train=False):
    return CustomTarget(params(at), lambda p, batch: LOSSES[loss](p), None, 100, train=train)

def hidden(key, *, number):
    return CustomTarget({"a": [jnp.ones(3), jnp.asarray([1.0, number])]},
                        lambda p, batch: jnp.sum(p["a"][0] ** 2), None, 100)

def claims(key, *, claim):
    claim = {"nan": np.nan, "inf": np.inf}.get(claim, claim)
    return CustomTarget(params(0.0), lambda p, batch: bowl(p), None, 100, llc_known=claim)
"""

REFUSED = {
    "real power": ("Hessian", 2),
    "powers": ("Hessian", 1),
    "cubed norm": ("Hessian", 2),
    "root": ("gradient", 2),
    "norm": ("gradient", 2),
    "outer where": ("gradient", 2),
}
"""The derivative that is not finite, and the number of entries of `layer.w` concerned."""

ALLOWED = ("squared powers", "whole powers", "softened root", "inner where")
"""The corrections that the errors suggest."""


@pytest.fixture
def user(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    (tmp_path / "odd_targets.py").write_text(SOURCE)
    yield tmp_path
    sys.modules.pop("odd_targets", None)


def spec(function="make", training=None, **kwargs):
    model = Custom(factory=f"odd_targets:{function}", kwargs=kwargs)
    return TargetSpec(model=model, data=NoData(), training=training or Training())


def build(*args, **kwargs):
    from lambda_hat_core import targets

    return targets.build(spec(*args, **kwargs), lambda line: None)


def losses(name):
    import odd_targets

    return lambda p, batch: odd_targets.LOSSES[name](p), odd_targets.params(0.0)


@pytest.mark.parametrize("name", REFUSED)
def test_a_factory_s_loss_without_derivatives_is_rejected_in_one_sentence(x64, user, name):
    with pytest.raises(ValueError) as caught:
        build(loss=name)
    message = str(caught.value)
    what, count = REFUSED[name]
    assert message.startswith(
        f"model.factory odd_targets:make has a loss whose {what} is not finite at w*, with respect "
        f"to layer.w ({count} of 2 entries); every sampler needs it, so none can run: write it"
    )
    assert "\n" not in message and "free" not in message
    assert "JSON" not in message


@pytest.mark.parametrize("name", REFUSED)
def test_estimate_llc_rejects_it_with_the_same_sentence(x64, user, name):
    from lambda_hat_core import estimate_llc

    loss, params = losses(name)
    words = rf"^estimate_llc has a loss whose {REFUSED[name][0]} is not .* respect to layer\.w \("
    for sampler in ("nuts", "sgld", "vi"):
        with pytest.raises(ValueError, match=words):
            estimate_llc(loss, params, None, n=100, sampler=sampler)


def test_estimate_llc_rejects_it_in_float32_too(user):
    from lambda_hat_core import estimate_llc

    loss, params = losses("root")
    with pytest.raises(
        ValueError, match=r"gradient is not finite at w\*, with respect to layer\.w"
    ):
        estimate_llc(loss, params, None, n=100, sampler="sgld")


@pytest.mark.parametrize("name", ALLOWED)
def test_the_suggested_corrections_work(x64, user, name):
    meta = build(loss=name).meta
    assert meta["is_minimum"] and meta["max_eigenvalue"] >= 2.0
    json.dumps(meta, allow_nan=False)


@pytest.mark.parametrize("name", ["real power", "root"])
def test_the_same_loss_is_accepted_away_from_that_point(x64, user, name):
    made = build(loss=name, at=0.5)
    assert not made.meta["is_minimum"] and np.isfinite(made.meta["max_eigenvalue"])


def test_the_store_records_the_error_and_has_no_folder(x64, user):
    store, target = Store(user / "home"), spec(loss="powers")
    with pytest.raises(ValueError, match="Hessian"):
        making.build_target(store, target, lambda line: None)
    assert store.list("targets") == ()
    ((kind, failure),) = sql.query(store, "SELECT kind, failure FROM targets").rows
    assert (
        kind == "custom" and "whose Hessian is not finite at w*, with respect to layer.w" in failure
    )


def test_training_names_the_point_without_a_gradient(x64, user):
    with pytest.raises(
        ValueError, match=r"gradient is not finite where training starts, with respect to lay"
    ):
        build(loss="root", train=True, training=Training(steps=20))
    with pytest.raises(
        ValueError, match=r"gradient is not finite where the polish starts, with respect to l"
    ):
        build(loss="root", train=True, training=Training(steps=0))


def test_a_learning_rate_that_is_too_large_is_named(x64, user):
    with pytest.raises(FloatingPointError, match=r"training diverged: .*lower training\.lr"):
        training = Training(steps=50, lr=1e200, optimizer="sgd")
        build(loss="squared powers", at=1.0, train=True, training=training)


def problem(mean, start, maker="a test"):
    from lambda_hat_core.targets.custom import CustomTarget, problem_of

    made = CustomTarget(start, lambda p, batch: mean(p), None, 100)
    return problem_of(made, maker, (maker, mean))


def audited(at):
    from lambda_hat_core.targets.audit import audit

    return audit(jax.random.key(0), at, at.start, nbeta=20.0, gamma=1.0)


def test_the_parameter_is_named_in_many_dimensions(x64):
    from lambda_hat_core.targets.audit import DENSE

    start = {"a": jnp.zeros(DENSE), "b": jnp.zeros(3)}
    at = problem(lambda p: jnp.sum(p["a"] ** 2) + jnp.sum((p["b"] * p["b"]) ** 1.5), start)
    with pytest.raises(
        ValueError, match=r"a test has a loss whose Hessian .* respect to b \(3 of 3"
    ):
        audited(at)


def test_the_first_of_many_parameters_are_named(x64):
    start = {name: jnp.zeros(1) for name in "abcde"}
    at = problem(lambda p: sum(jnp.linalg.norm(value) for value in p.values()), start)
    names = r"respect to a \(1 of 1 entries\), b \(1 of 1 entries\), c \(1 of 1 entries\), 2 more;"
    with pytest.raises(ValueError, match=names):
        audited(at)


def test_the_number_of_entries_is_given(x64):
    at = problem(lambda p: jnp.sum(jnp.sqrt(p["b"])), {"b": jnp.asarray([1.0, 0.0, 4.0])})
    with pytest.raises(
        ValueError, match=r"gradient is not finite at w\*, with respect to b \(1 of 3 entries\)"
    ):
        audited(at)


def test_a_gradient_whose_norm_overflows_is_rejected(x64):
    at = problem(lambda p: 1e200 * jnp.sum(p["b"]), {"b": jnp.zeros(2)})
    with pytest.raises(ValueError, match=r"gradient .* all parameters together"):
        audited(at)


@pytest.mark.parametrize(
    ("name", "words"),
    {
        "w": "w",
        "['layer']['w']": "layer.w",
        ".layers[0].weight": "layers.0.weight",
        "[0][1]": "0.1",
        "['my key'].b": "my key.b",
        "dense0.bias": "dense0.bias",
    }.items(),
)
def test_names_are_dotted(name, words):
    from lambda_hat_core.targets.networks.layout import dotted

    assert dotted(name) == words


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_params_that_the_loss_ignores_must_be_finite_too(x64, number):
    with pytest.raises(ValueError, match=r"has params with NaN or infinite numbers at a\.1;"):
        problem(lambda p: jnp.sum(p["a"][0]), {"a": [jnp.ones(2), jnp.asarray([1.0, number])]})


@pytest.mark.parametrize("claim", ["nan", "inf"])
def test_a_stated_coefficient_must_be_finite(x64, user, claim):
    words = rf"claims has llc_known = .*{claim}.*; llc_known is a finite number, or None where"
    with pytest.raises(ValueError, match=words):
        build("claims", claim=claim)


def test_a_stated_coefficient_must_be_a_number():
    from lambda_hat_core.targets.arrays import stated

    assert [stated("m", claim) for claim in (None, 1, 0.5, np.float32(2))] == [None, 1, 0.5, 2]
    for claim in ("0.5", True, [1.0]):
        with pytest.raises(ValueError, match="m has llc_known"):
            stated("m", claim)


def test_a_hessian_that_overflows_the_sampler_s_dtype_is_named():
    from lambda_hat_core.linalg.spectrum import hessian_spectrum
    from lambda_hat_core.posterior import Posterior

    def posterior(scale):
        at = problem(lambda p: scale * jnp.sum((1e15 * p) ** 2), jnp.zeros(3))
        one = jnp.ones((), at.start.dtype)
        return Posterior(at.start, None, one, one, at.loss, at.n)

    with pytest.raises(FloatingPointError, match=r"at w\* in float32.*choose dtype float64"):
        hessian_spectrum(jax.random.key(0), posterior(1e15))
    with jax.enable_x64(True):
        found, _ = hessian_spectrum(jax.random.key(0), posterior(1e15))
        assert np.isfinite(found.theta).all()


def test_a_number_that_is_not_finite_is_null_in_meta_json(x64, user):
    from lambda_hat_core import targets

    made = build(loss="squared powers")
    odd = made._replace(meta=made.meta | {"test_loss": float("nan"), "off_centre_bias": np.inf})
    targets.save(odd, user)
    read = json.loads((user / "meta.json").read_bytes())
    assert read["test_loss"] is None and read["off_centre_bias"] is None
    assert {name: read[name] for name in ("n", "d", "loss0")} == {"n": 100, "d": 3, "loss0": 0.0}
