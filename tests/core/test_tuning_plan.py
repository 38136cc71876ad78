import copy
from pathlib import Path

import pytest
import yaml

from lambda_hat_core.config.errors import ConfigError

CONFIG = Path(__file__).parents[2] / "config"
FILE = {
    "problems": [{"name": "bowl", "model": {"kind": "quadratic", "d": 3}, "data": {"n_data": 300}}],
    "methods": ["sgld", {"name": "mclmc", "overrides": {"n_draws": 500}}],
    "search_space": {
        "sgld": {"step_fraction": {"dist": "float", "low": 0.1, "high": 2.0, "log": True}},
        "mclmc": {"n_tune": {"dist": "int", "low": 100, "high": 400, "step": 100}},
    },
}


def load(folder, content, *words):
    from lambda_hat_core.plan.study import load_tuning

    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(content))
    return load_tuning(path, CONFIG, words)


def test_problems_times_methods(tmp_path):
    plan = load(tmp_path, FILE)
    assert plan.name == "mine"
    (problem,) = plan.problems.values()
    sgld, mclmc = plan.studies.values()
    assert (problem.name, sgld.method, mclmc.method) == ("bowl", "sgld", "mclmc")
    assert {study.problem for study in plan.studies.values()} == set(plan.problems)
    assert sgld.spec.method.batch_size is None and mclmc.spec.method.n_draws == 500
    assert (sgld.spec.dtype, mclmc.spec.dtype) == ("float32", "float64")
    assert [plan.label(id) for id in plan.studies] == ["sgld on bowl", "mclmc on bowl"]


def test_a_page_counts_one_problem_in_the_singular(tmp_path):
    from lambda_hat_core.store.store import Store
    from lambda_hat_core.tuning.page import _page

    text = _page(Store(tmp_path / "store"), load(tmp_path, FILE), tmp_path)
    assert "0 of 2 studies,\n1 problem. The objective" in text


def test_settings_that_cannot_change_a_trial_are_not_in_the_id(tmp_path):
    ids = set(load(tmp_path, FILE).studies)
    same = ("max_trials_per_method=3", "budget.reference_sec=9", "tune=other")
    assert set(load(tmp_path, FILE, *same).studies) == ids
    for word in ("concurrency.batch_size=2", "sampler.seed=1", "seeds_per_trial=1"):
        assert not set(load(tmp_path, FILE, word).studies) & ids


def test_a_certificate_needs_no_reference(tmp_path):
    plan = load(tmp_path, FILE, "objective.type=certificate", "reference.seed=5")
    assert {study.spec.reference for study in plan.studies.values()} == {None}
    other = load(tmp_path, FILE, "objective.type=certificate")
    assert set(other.studies) == set(plan.studies)


def test_the_bundled_file_and_its_size():
    from lambda_hat_core.plan.study import load_tuning

    plan = load_tuning("demo", CONFIG)
    assert [plan.label(id) for id in plan.studies] == ["sgld on linear", "mclmc on linear"]


def sgld(**space):
    return {"sgld": space, "mclmc": FILE["search_space"]["mclmc"]}


def ranged(low, high, dist="float", **more):
    return {"dist": dist, "low": low, "high": high, **more}


MALFORMED = {
    "unknown parameter": (sgld(stepsize=ranged(0.1, 1)), "sgld.stepsize", "did you mean step_size"),
    "another tool's name": (sgld(eta0=ranged(0.1, 1)), "sgld.eta0", "write step_size"),
    "another sampler's": (sgld(n_tune=ranged(100, 200)), "sgld.n_tune", "no such parameter"),
    "the kind itself": (sgld(kind=ranged(0, 1)), "sgld.kind", "no such parameter"),
    "a posterior's key": (sgld(gamma=ranged(1, 10)), "sgld.gamma", "posterior"),
    "not a range": (sgld(step_fraction=0.3), "step_fraction is 0.3", "a mapping"),
    "no dist": (sgld(step_fraction={"low": 0.1, "high": 1}), "step_fraction.dist", "missing"),
    "unknown dist": (sgld(step_fraction=ranged(0.1, 1, "loguniform")), ".dist", "no such dist"),
    "no high": (sgld(step_fraction={"dist": "float", "low": 0.1}), "step_fraction.high", "missing"),
    "unknown key": (sgld(step_fraction=ranged(0.1, 1, q=2)), "step_fraction.q", "no such key"),
    "ends swapped": (sgld(step_fraction=ranged(1, 0.1)), "step_fraction.high", "must be > low"),
    "equal ends": (sgld(step_fraction=ranged(1, 1)), "step_fraction.high", "must be > low"),
    "low not allowed": (sgld(step_fraction=ranged(0, 1)), "step_fraction.low", "must be > 0"),
    "high not allowed": (sgld(step_fraction=ranged(1, 5)), "step_fraction.high", "must be < 4"),
    "log from zero": (sgld(beta1=ranged(0, 0.9, log=True)), "beta1.low", "must be > 0 where log"),
    "log with step": (
        sgld(step_fraction=ranged(0.1, 1, log=True, step=0.1)),
        "step_fraction.step",
        "logarithmic range has no step",
    ),
    "step too long": (sgld(thin=ranged(1, 5, "int", step=9)), "thin.step", "must be <= high - low"),
    "step of zero": (sgld(thin=ranged(1, 5, "int", step=0)), "thin.step", "must be > 0"),
    "fractions of draws": (sgld(n_draws=ranged(500, 900)), "n_draws.dist", "whole number"),
    "an int that is none": (sgld(thin=ranged(1.5, 5, "int")), "thin.low", "whole number"),
    "a word for a number": (sgld(thin=ranged("few", 5, "int")), "thin.low", "whole number"),
    "no choices": (sgld(precond={"dist": "categorical", "choices": []}), "choices", "at least 1"),
    "unknown choice": (
        sgld(precond={"dist": "categorical", "choices": ["none", "adagrad"]}),
        "precond.choices[1]",
        "'none', 'rmsprop', 'adam', 'lanczos' or 'kronecker'",
    ),
    "a choice twice": (
        sgld(precond={"dist": "categorical", "choices": ["none", "none"]}),
        "precond.choices",
        "twice",
    ),
    "range of words": (sgld(precond=ranged(0, 1)), "precond.low", "must be 'none'"),
    "burn-in beyond the draws": (
        sgld(n_draws=ranged(500, 900, "int"), n_burn=ranged(100, 600, "int")),
        "search_space.sgld",
        "n_burn",
    ),
    "no parameters": (sgld(), "search_space.sgld", "at least one"),
    "no space of a method": (
        {"sgld": FILE["search_space"]["sgld"]},
        "search_space",
        "no parameters of mclmc",
    ),
    "space of no method": (
        FILE["search_space"] | {"hmc": {"n_leapfrog": ranged(1, 9, "int")}},
        "search_space.hmc",
        "has no such method",
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_space_is_one_line_with_parameter_and_rule(tmp_path, name):
    space, parameter, rule = MALFORMED[name]
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, FILE | {"search_space": space})
    (line,) = caught.value.lines
    assert line.startswith(str(tmp_path)) and parameter in line and rule in line


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("budget.trial_sec=0", "budget.trial_sec is 0: must be > 0"),
        ("objective.type=l2", "objective.type is"),
        ("objective.deltas=1", "objective.deltas is 1: no such key; did you mean delta"),
        ("concurrency.per_executor.float16=1", "per_executor.float16"),
        ("concurrency.batch_size=0", "concurrency.batch_size is 0: must be > 0"),
        ("max_trials_per_method=none", "max_trials_per_method"),
        ("reference.name=sgld", "reference.name is"),
        ("reference.name=nut", "did you mean nuts"),
        ("posterior.gamma=[1,2]", "a problem has one posterior"),
        ("methods.0=sgdl", "did you mean sgld"),
        ("methods.1=sgld", "this method is listed twice"),
        ("problems.0.name=a/b", "a name of letters"),
        ("problems.1.seed=1", "there are 1 entries"),
        ("pruner=median", "a mapping"),
        ("sampler.type=gp", 'sampler.type is "gp": Gaussian processes need torch'),
        ("problem=3", "problem is 3: no such key; did you mean problems"),
        ("targets=[]", "targets is []: no such key; this is a key of an experiment, which goes to"),
        ("profiles=1", "no such key; this is a key of an experiment, which goes to config/experim"),
        (
            "walltime='1:00'",
            "no such key; this looks like a compute card, which goes to config/card",
        ),
        ("tune", "not of the form key=value"),
    ],
)
def test_other_mistakes_are_reported_in_one_line_each(tmp_path, monkeypatch, word, said):
    monkeypatch.setattr("lambda_hat_core.plan.study.find_spec", lambda name: None)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, FILE, word)
    assert said in caught.value.lines[0]


def test_batches_larger_than_a_problem_are_refused(tmp_path):
    content = copy.deepcopy(FILE)
    content["problems"][0] |= {"model": {"kind": "deep_linear", "widths": [3, 4, 3], "rank": 2}}
    content["search_space"] = sgld(batch_size={"dist": "categorical", "choices": [64, 512, None]})
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, content)
    (line,) = caught.value.lines
    assert "search_space.sgld.batch_size is 512: problems[0] has n_data = 300" in line


def test_two_problems_of_one_name(tmp_path):
    content = FILE | {"problems": [FILE["problems"][0], FILE["problems"][0] | {"seed": 2}]}
    with pytest.raises(ConfigError, match="two problems have this name"):
        load(tmp_path, content)


def test_a_tuned_preset_is_named_by_its_path(tmp_path):
    from lambda_hat_core.plan.plan import load_plan

    preset = tmp_path / "best" / "bowl" / "sgld.yaml"
    preset.parent.mkdir(parents=True)
    preset.write_text("# tuned\nkind: sgld\nstep_fraction: 0.7\nthin: 9\n")
    experiment = {"targets": [FILE["problems"][0]], "samplers": [{"name": str(preset)}]}
    del experiment["targets"][0]["name"]
    path = tmp_path / "e.yaml"
    path.write_text(yaml.safe_dump(experiment))
    (run,) = load_plan(path, CONFIG).runs.values()
    assert (run.sampler.step_fraction, run.sampler.thin) == (0.7, 9)
    preset.write_text("kind: sgld\nstep_fraction: 9\n")
    with pytest.raises(ConfigError, match=r"sgld\.yaml: step_fraction is 9: must be < 4"):
        load_plan(path, CONFIG)
    preset.unlink()
    with pytest.raises(ConfigError, match="no such file"):
        load_plan(path, CONFIG)
