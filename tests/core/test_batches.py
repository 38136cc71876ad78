"""A default batch size never causes an error at any entry point; an explicit one is kept."""

import json
import sys

import jax.numpy as jnp
import numpy as np
import pytest
import yaml

from lambda_hat_core.config.batches import as_sampled, on_examples, seed_at
from lambda_hat_core.config.data import NoData
from lambda_hat_core.config.model import Custom, Quadratic
from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.config.samplers.known import SAMPLERS
from lambda_hat_core.config.samplers.stochastic import Sgld
from lambda_hat_core.config.spec import RunSpec, TargetSpec
from lambda_hat_core.store.store import Store
from tests.core.plans import CONFIG, one, only

TAKING = [name for name, model in SAMPLERS.items() if "batch_size" in model.model_fields]
"""Samplers with a batch size; samplers that are added later are tested too."""

DEFAULT = {name: SAMPLERS[name].model_fields["batch_size"].default for name in TAKING}
AUTO = [name for name in TAKING if DEFAULT[name] == "auto"]
"""Samplers that choose a batch when they have measured its noise."""
FIXED = [name for name in TAKING if name not in AUTO]

SOURCE = """
import jax.numpy as jnp
import numpy as np
from lambda_hat_core import CustomTarget

def forward(params, x):
    return jnp.tanh(x @ params["a"]) @ params["b"]

def make(key, *, n):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 2))
    y = np.tanh(x[:, 0]) + 0.1 * rng.normal(size=n)
    params = {"a": jnp.asarray([[1.0, 0.3], [-0.2, 0.8]]), "b": jnp.asarray([0.9, 0.1])}
    return CustomTarget(params, lambda p, batch: jnp.mean((forward(p, batch[0]) - batch[1]) ** 2),
                        (x, y), n)
"""

SHORT = {"n_draws": 8, "n_chains": 2}
CHAIN = {"n_burn": 2, "thin": 1}


def short(name, **fields):
    return SHORT | (CHAIN if "thin" in SAMPLERS[name].model_fields else {"steps": 5}) | fields


def run(name, target, **fields):
    return RunSpec(
        target=target.id,
        sampler=SAMPLERS[name](**fields),
        posterior=PosteriorSpec(loss="own"),
        dtype="float32",
    )


def custom(n, factory="small_targets:make"):
    return TargetSpec(model=Custom(factory=factory, kwargs={"n": n}), data=NoData())


def test_some_samplers_have_batches():
    assert {"sgld", "sghmc", "sgnht", "vi"} <= set(TAKING)


def on_every_side(name):
    """Return the batch sizes that the default becomes, by number of examples."""
    size = DEFAULT[name]
    if name in AUTO:
        return {1: "auto", 300: "auto"}
    return {1: None, size - 1: None, size: None, size + 1: size, 10 * size: size}


@pytest.mark.parametrize("name", TAKING)
def test_the_batch_size_follows_the_rule_below_at_and_above_n(name):
    unset, whole = SAMPLERS[name](), SAMPLERS[name](batch_size=None)
    for n, found in on_every_side(name).items():
        assert on_examples(unset, n, written=False).batch_size == found
        assert on_examples(whole, n, written=True).batch_size is None
    assert on_examples(unset, None, written=False).batch_size is None
    assert on_examples(unset, None, written=True).batch_size is None
    chosen = SAMPLERS[name](batch_size=64)
    assert on_examples(chosen, 64, written=True).batch_size == 64
    with pytest.raises(ValueError, match=rf"{name}.batch_size is 64, .* n = 63; choose .* or null"):
        on_examples(chosen, 63, written=True)


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name not in TAKING])
def test_samplers_without_batches_are_unchanged(name):
    planned = run(name, custom(3))
    assert as_sampled(planned, custom(3), 3) == as_sampled(planned, custom(3), None) == planned


@pytest.mark.parametrize("name", TAKING)
def test_the_rule_uses_the_n_of_a_custom_target_once_it_is_built(name):
    target = custom(0)
    for n, found in on_every_side(name).items():
        for planned in (run(name, target), run(name, target, batch_size=DEFAULT[name])):
            used = as_sampled(planned, target, n)
            assert used.sampler.batch_size == found
            assert (used.target, used.posterior) == (planned.target, planned.posterior)
    assert as_sampled(run(name, target), target, None).sampler.batch_size is None
    assert as_sampled(run(name, target, batch_size=40), target, 40).sampler.batch_size == 40
    with pytest.raises(ValueError, match="batch_size is 40, but the target has n = 39"):
        as_sampled(run(name, target, batch_size=40), target, 39)


@pytest.mark.parametrize("name", TAKING)
def test_a_batch_size_that_the_plan_has_resolved_is_not_changed(name):
    target = TargetSpec(model=Quadratic(d=3), data=NoData())
    planned = run(name, target, batch_size=256)
    assert as_sampled(planned, target, 256) == planned


def planned(plan_of, name, target, overrides):
    entry = {"name": name, "overrides": overrides}
    return only(plan_of(yaml.safe_dump({"targets": [target], "samplers": [entry]})))[1]


@pytest.mark.parametrize("name", TAKING)
@pytest.mark.parametrize(
    "target",
    [
        {"model": {"kind": "custom", "factory": "json:loads"}},
        {"model": {"hidden": 3}, "data": {"n_data": 80}},
        {"model": {"hidden": 3}, "data": {"n_data": 5000}},
        {"model": {"kind": "quadratic"}, "data": {"n_data": 80}},
    ],
)
def test_the_plan_accepts_defaults_and_equal_specs_have_one_id(plan_of, name, target):
    unset = planned(plan_of, name, target, {})
    whole = planned(plan_of, name, target, {"batch_size": None})
    small = planned(plan_of, name, target, {"batch_size": 20})
    size = DEFAULT[name]
    if target["model"].get("kind") == "quadratic":
        assert unset.sampler.batch_size is None and small == whole == unset
    elif target.get("data") == {"n_data": 80} and name in FIXED:
        assert unset.sampler.batch_size is None and whole == unset and small.id != unset.id
    else:
        assert unset.sampler.batch_size == size
        assert planned(plan_of, name, target, {"batch_size": size}).id == unset.id
        assert len({unset.id, whole.id, small.id}) == 3


@pytest.fixture
def user(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "small_targets.py").write_text(SOURCE)
    yield tmp_path
    sys.modules.pop("small_targets", None)


def sampled(store, name, target, **fields):
    """Build a custom target and sample it, each in the dtype of its process."""
    import jax

    from lambda_hat_core.work import making

    spec = run(name, target, **short(name, **fields))
    with jax.enable_x64(True):
        making.build_target(store, target, lambda line: None)
    said = []
    making.sample_run(store, spec, target, said.append)
    info = store.read_json("runs", spec.id, "work.json")["info"]
    return store.read_json("runs", spec.id, "spec.json"), info, said


@pytest.mark.parametrize("name", TAKING)
def test_every_sampler_runs_with_its_default_on_a_small_custom_target(user, name):
    store, target = Store(user / "home"), custom(40)
    spec, info, said = sampled(store, name, target)
    assert spec["sampler"]["batch_size"] == DEFAULT[name], "the id is that of the plan"
    assert info["batch_size"] is None
    assert ("the full batch is used: the target has n = 40" in said) == (name in FIXED)


def test_a_batch_that_fits_a_custom_target_is_used(user):
    store, target = Store(user / "home"), custom(40)
    _, info, said = sampled(store, "sgld", target, batch_size=16)
    assert info["batch_size"] == 16
    assert not any("full batch" in line for line in said)


def test_a_batch_larger_than_a_custom_target_is_a_row_with_the_correction(user):
    from lambda_hat_core.store import sql

    store, target = Store(user / "home"), custom(40)
    with pytest.raises(ValueError, match="choose batch_size <= n, or null for the full batch"):
        sampled(store, "sgld", target, batch_size=41)
    ((reason,),) = sql.query(store, "select reasons[1] from llc").rows
    assert reason.startswith("sgld.batch_size is 41, but the target has n = 40")


def test_estimate_llc_replaces_a_default_above_n_by_the_full_batch():
    from lambda_hat_core import estimate_llc

    x = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)

    def loss(w, batch):
        return jnp.mean((jnp.tanh(batch[0] @ w) - batch[1]) ** 2)

    w = jnp.asarray([0.4, -0.3])
    data = (jnp.asarray(x), jnp.tanh(jnp.asarray(x) @ w))
    found = estimate_llc(loss, w, data, sampler=Sgld(**short("sgld")), progress=False)
    assert found.settings["batch_size"] is None and found.llc is not None
    for name in TAKING:
        for size in {41, DEFAULT[name]} - {"auto"}:
            with pytest.raises(ValueError, match=rf"{name}.batch_size is {size}, .* n = 40; cho"):
                estimate_llc(loss, w, data, sampler=SAMPLERS[name](batch_size=size))


def test_estimate_llc_reports_the_batch_size_that_was_used():
    from lambda_hat_core import estimate_llc

    def bowl(w, batch):
        return jnp.sum(w**2)

    sampler = Sgld(**short("sgld", batch_size=300))
    found = estimate_llc(bowl, jnp.zeros(2), None, n=50, sampler=sampler, progress=False)
    assert found.trace.info["batch_size"] is None, "a potential has no examples"
    json.dumps(found.trace.info)


def test_a_tuned_method_has_the_default_batch_on_a_custom_target(tmp_path):
    from lambda_hat_core.plan.study import load_tuning
    from lambda_hat_core.tuning.search import runs_of

    problem = {"model": {"kind": "custom", "factory": "json:loads"}}
    space = {"step_fraction": {"dist": "float", "low": 0.1, "high": 2.0}}
    file = tmp_path / "tune.yaml"
    content = {"problems": [problem], "methods": ["sgld"], "search_space": {"sgld": space}}
    file.write_text(yaml.safe_dump(content))
    plan = load_tuning(file, CONFIG)
    (study,) = plan.studies.values()
    (target,) = (problem.target for problem in plan.problems.values())
    trial = runs_of(study.spec, {"step_fraction": 0.3})[0]
    assert as_sampled(trial, target, 40).sampler.batch_size == "auto"
    searched = runs_of(study.spec, {"step_fraction": 0.3, "batch_size": 64})[0]
    with pytest.raises(ValueError, match="batch_size is 64"):
        as_sampled(searched, target, 40)


def test_every_checkpoint_of_a_training_has_random_numbers_of_its_own(plan_of):
    targets = (
        "{model: {widths: [3]}, data: {n_data: 40}, training: {steps: 60}, "
        "checkpoints: {at: [0, 1, 60]}}, {model: {widths: [3]}, data: {n_data: 40}}"
    )
    plan = plan_of(one(targets, "{name: sgld, seed: 0}, {name: sgld, seed: 1}"))
    runs = [(run, plan.targets[run.target]) for run in plan.runs.values()]
    used = {as_sampled(run, target, 40).seed for run, target in runs if target.step is not None}
    assert len(used) == 6 and all(0 <= seed < 2**31 for seed in used)
    assert used == {seed_at(seed, step) for seed in (0, 1) for step in (0, 1.0, 60)}
    assert [as_sampled(run, at, 40) for run, at in runs if at.step is None] == [
        run for run, at in runs if at.step is None
    ]
