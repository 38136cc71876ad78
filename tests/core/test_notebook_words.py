"""Mistakes in a notebook: one sentence each, the same as for an experiment file."""

import inspect
import math
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lambda_hat_core.config.hints import _HINTS, hint
from lambda_hat_core.config.posterior import PosteriorSpec
from tests.core.test_llc import regression, squares


def mistake(**change):
    from lambda_hat_core import estimate_llc

    data, best, _ = regression()
    arguments = {"loss": squares, "params": best, "data": data, "progress": False} | change
    with pytest.raises(ValueError) as caught:
        estimate_llc(**arguments)
    return str(caught.value)


CALLS = {
    "sampler": ({"sampler": "nutz"}, 'sampler is "nutz": no such sampler; did you mean nuts?'),
    "posterior": (
        {"posterior": {"gama": 1}},
        "posterior.gama is 1: no such key; did you mean gamma",
    ),
    "other tool": ({"posterior": {"localization": 9.0}}, "no such key; write gamma"),
    "list": ({"posterior": {"gamma": [1, 2]}}, "posterior.gamma is [1, 2]: must be a number"),
    "loss": ({"posterior": {"loss": "mse"}}, "the loss is the one that you pass; remove it"),
    "seed": ({"seed": -1}, "seed is -1: must be a whole number"),
    "rows": ({"n": 7}, "estimate_llc has data[0] of shape (200, 3); "),
    "potential": ({"data": None}, "give n"),
    "no count": ({"n": 0}, "n is 0: must be a whole number > 0"),
    "no arrays": ({"data": ()}, "data: there is no array in it; give arrays of n rows"),
    "scalar": ({"data": 3.0}, "has data of type float; "),
    "text": ({"data": "abc"}, "has data of type str; "),
    "object": ({"data": object()}, "has data of type object; "),
    "masked": ({"data": (np.ma.masked_less(np.ones((200, 3)), 0), np.ones(200))}, "its mask would"),
    "no numbers": (
        {"params": {"w": np.zeros(0)}, "loss": lambda p, b: p["w"].sum()},
        "none of its",
    ),
    "records": ({"data": np.zeros(9, [("a", "f4")])}, "has data of type [('a', '<f4')] values; "),
    "integers": ({"params": {"w": jnp.arange(3)}}, "params must be float arrays"),
}


@pytest.mark.parametrize("name", CALLS)
def test_mistakes_of_a_call_are_named(name):
    change, words = CALLS[name]
    message = mistake(**change)
    assert words in message
    assert message.startswith(("estimate_llc", "data is None"))
    assert "\n" not in message and "pydantic" not in message


@pytest.mark.parametrize("n", ["x", [40], 40.5, math.nan, -1, True, np.array([40])])
def test_a_count_that_is_none_is_refused(n):
    from lambda_hat_core.notebook.computing import count_of

    with pytest.raises(ValueError, match=r"^estimate_llc: n is .*: must be a whole number > 0; "):
        count_of(None, n)
    assert count_of(None, np.int64(40)) == 40


@pytest.mark.parametrize("value", ["x", [1], np.array([0.1, 0.2]), math.nan, None, 0, object()])
@pytest.mark.parametrize("name", ["rel_se", "max_fge", "max_seconds"])
def test_limits_that_are_no_numbers_are_refused(name, value):
    from lambda_hat_core.notebook.arguments import asked

    if value is None and name != "rel_se":
        return
    with pytest.raises(ValueError, match=rf"^estimate_llc: {name} is ") as caught:
        asked("sgld", None, None, 0, **{name: value})
    assert "; " in str(caught.value) and "\n" not in str(caught.value)


def test_each_of_several_mistakes_has_a_line():
    from lambda_hat_core.config.samplers.stochastic import Sgld
    from lambda_hat_core.notebook.arguments import asked

    with pytest.raises(ValueError) as caught:
        asked(Sgld, {"gama": 1, "beta": 2}, "float16", "x")
    assert [line.partition("; ")[0] for line in str(caught.value).splitlines()] == [
        'estimate_llc: sampler is "Sgld": must be a name, or a sampler such as Sgld(batch_size=64)',
        "estimate_llc: posterior.gama is 1: no such key",
        "estimate_llc: posterior.beta is 2: no such key",
        'estimate_llc: dtype is "float16": must be float32 or float64',
        'estimate_llc: seed is "x": must be a whole number >= 0 and < 2^31',
    ]


@pytest.mark.parametrize("dtype", [np.float32, "float32", jnp.float32, np.dtype("float32")])
def test_dtypes_are_named_as_in_numpy(dtype):
    from lambda_hat_core.notebook.arguments import asked

    assert asked("nuts", None, dtype, np.int64(3))[2:4] == ("float32", 3)
    assert asked("sgld", {}, None, 0).dtype == "float32"


SETTINGS = {
    "sgld": {"lr": 1e-4, "num_draws": 100},
    "nuts": {"n_draws": 100, "n_burn": 100},
    "hmc": {"n_leapfrog": 2.5},
    "mclmc": {"L": -1.0, "integrator": "leapfrog"},
    "vi": {"M": 2, "r_per_component": [1]},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_samplers_report_mistakes_as_a_file_does(name, plan_of):
    from lambda_hat_core.config.samplers.known import SAMPLERS

    with pytest.raises(ValueError) as in_python:
        SAMPLERS[name](**SETTINGS[name])
    entry = {"name": name, "overrides": SETTINGS[name]}
    text = f"experiment: e\ntargets: [{{model: small, data: base}}]\nsamplers: [{entry}]\n"
    with pytest.raises(ValueError) as in_file:
        plan_of(text.replace("'", '"'))

    def words(error):
        return [line.partition(": ")[2].split("overrides.")[-1] for line in str(error).splitlines()]

    assert words(in_python.value)
    assert [line.split(" is ")[-1] for line in words(in_python.value)] == [
        line.split(" is ")[-1] for line in words(in_file.value)
    ]


def test_valid_samplers_and_posteriors_are_accepted():
    from lambda_hat_core import Posterior, Sgld

    made = Sgld(batch_size=64)
    assert made.model_fields_set == {"batch_size"} and hash(made) == hash(Sgld(batch_size=64))
    assert Posterior(gamma=2.0).resolved_gamma(3) == 2.0


def numpy_loss(params, batch):
    return np.mean(np.asarray(batch[0]) @ np.asarray(params["slope"]))


def branching(params, batch):
    return jnp.sum(params["slope"] ** 2) if params["offset"] > 0 else 0.0


LOSSES = {
    "metrics": (lambda p, b: (squares(p, b), {"acc": 1.0}), "returns a tuple of 2; "),
    "rows": (lambda p, b: (b[0] @ p["slope"]) ** 2, "returns shape (200,); "),
    "numpy": (numpy_loss, "calls NumPy on params or batch; "),
    "branch": (branching, "whose Python code depends on values of params or batch"),
    "bug": (lambda p, b: p["slop"], "raised KeyError: 'slop'; "),
    "one argument": (lambda p: 0.0, "takes 1 positional argument but 2 were given; "),
    "complex": (lambda p, b: squares(p, b).astype(complex), "returns complex128; "),
    "text": (lambda p, b: "a", "returns str; "),
    "float": (lambda p, b: float(p["offset"]), "whose Python code depends on values of params"),
    "integer": (lambda p, b: jnp.sum(p["slope"] > 0), "returns int64; "),
    "infinite": (lambda p, b: 1 / jnp.sum(0 * p["slope"]), "a loss of inf at its params; "),
}


@pytest.mark.parametrize("name", LOSSES)
def test_invalid_losses_are_rejected(name):
    loss, words = LOSSES[name]
    message = mistake(loss=loss)
    assert message.startswith("estimate_llc has a") and words in message


def test_a_layer_in_training_mode_is_named():
    net = eqx.nn.Sequential([eqx.nn.Linear(3, 1, key=jax.random.key(0)), eqx.nn.Dropout(0.5)])
    message = mistake(loss=lambda m, b: jnp.mean(jax.vmap(m)(b[0]) ** 2), params=net)
    assert "params that contain Dropout in training mode" in message
    assert message.endswith("pass eqx.nn.inference_mode(params)")


INSTEAD = {
    "until": "write rel_se=, max_fge= or max_seconds=",
    "nbeta": "write posterior={'nbeta': ...}",
    "localization": "write posterior={'gamma': ...}",
    "temperature": "write posterior={'beta0': ...}, which is 1 / temperature",
    "bounding_box_size": "write posterior={'prior_radius': ...}, the scale of a Gaussian around w*."
    " There is no box: the certificate does not hold at its walls",
    "noise_level": "write posterior={'beta0': ...}, which is 1 / noise_level^2, and ",
    "inverse_temperature": "write posterior={'beta0': ...}",
    "beta": "write posterior={'beta_mode': 'fixed', 'beta0': ...}",
    "weight_decay": "write posterior={'prior': {'precision': ...}}, nbeta times a decay of the",
    "optimize_over": "write restrict=, a list of the parameters that are sampled",
    "epsilon": "write sampler=Sgld(step_size=...)",
    "num_steps": "write sampler=Sgld(n_draws=..., thin=...): steps = n_draws * thin",
    "num_burnin_steps": "write sampler=Sgld(n_burn=...), counted in draws: kernel steps / thin",
    "settings": "write sampler=Sgld(...) with the settings of the sampler, and posterior={...}",
    "optimizer_kwargs": "write sampler=Sgld(...) with the settings of the sampler",
    "sampler_kwargs": "write sampler=Sgld(...) with the settings of the sampler",
    "model": "write loss, a function of params and data; from_torch turns a PyTorch module into",
    "loader": "write data, arrays with a row for every example; load_rows reads them from files",
    "init_seed": "write seed=",
    "num_draws": "write sampler=Sgld(n_draws=...)",
    "num_chains": "write sampler=Sgld(n_chains=...)",
    "sampling_method": "write sampler='sgld', or another",
    "device": "remove it: nothing here corresponds to it",
    "init_loss": "remove it: the loss at w* is computed over all examples",
    "n_leapfrog": "write sampler=Hmc(n_leapfrog=...); it is a field of Hmc",
    "maxfge": "did you mean max_fge?",
}


@pytest.mark.parametrize("name", INSTEAD)
@pytest.mark.parametrize("call", ["estimate_llc", "llc_along"])
def test_an_argument_that_does_not_exist_has_a_way_out(call, name):
    import lambda_hat_core

    with pytest.raises(TypeError) as caught:
        getattr(lambda_hat_core, call)(None, None, None, **{name: 3})
    assert str(caught.value).startswith(f"{call}: there is no {name}; {INSTEAD[name]}")


def test_hints_for_experiments_name_nothing_but_what_a_call_has():
    from lambda_hat_core import estimate_llc
    from lambda_hat_core.config.posterior import Prior
    from lambda_hat_core.config.samplers.hints import ANY
    from lambda_hat_core.config.samplers.stochastic import Sgld

    arguments = inspect.signature(estimate_llc).parameters
    for name in sorted({*_HINTS["posterior"], *ANY, *Sgld.hints} - set(arguments)):
        with pytest.raises(TypeError) as caught:
            estimate_llc(None, None, None, **{name: 3})
        _, _, told = str(caught.value).partition("; ")
        for word in ("posterior:", "beside", "overrides", "estimate_llc", "LAMBDA_HAT"):
            assert word not in told, (name, told)
        if told.startswith("remove it: "):
            continue
        named = re.match(
            r"write (?:posterior=\{('.*?)\}(?=$|, |\. )|sampler=Sgld\((.*?)\)(?=$|, |: )"
            r"|(\w+)=(?=$|, |'sgld', or another$)|sampler=\w+\(.*)",
            told,
        )
        assert named is not None, (name, told)
        in_posterior, in_sgld, argument = named.groups()
        known = PosteriorSpec.model_fields | Prior.model_fields
        assert {*re.findall(r"'(\w+)':", in_posterior or "")} <= known.keys(), (name, told)
        assert {*re.findall(r"(\w+)=", in_sgld or "")} <= Sgld.model_fields.keys(), (name, told)
        assert argument is None or argument in arguments, (name, told)


@pytest.mark.parametrize("name", sorted({*_HINTS["posterior"], *_HINTS["sgld"]}))
def test_a_word_of_another_tool_gets_the_same_advice_in_a_file_and_in_a_notebook(name):
    """The keys are the same, and so is what follows them."""
    from lambda_hat_core import estimate_llc

    in_file = hint("posterior", name) or hint("sgld", name) or ""
    if name in inspect.signature(estimate_llc).parameters or "LAMBDA_HAT" in in_file:
        return
    with pytest.raises(TypeError) as caught:
        estimate_llc(None, None, None, **{name: 3})
    _, _, told = str(caught.value).partition("; ")
    if name in PosteriorSpec.model_fields:
        assert told == f"write posterior={{'{name}': ...}}"
    elif "write name" in in_file:
        assert told == "write sampler='sgld', or another"
    else:
        in_file = re.sub(r" \([^)]*\)(?= and|:)", "", in_file)
        words = [re.findall(r"[A-Za-z_]\w+", text) for text in (in_file, told)]
        ways = {"posterior", "sampler", "Sgld", "of", "estimate_llc", "beside", "name", "or", "in"}
        ways |= {"and", "float32", "float64"}
        assert {*words[0]} - ways == {*words[1]} - ways
