"""Defaults may be written explicitly anywhere: the ids stay the same, and there is no error."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from lambda_hat_core.config.data import Teacher
from lambda_hat_core.config.errors import ConfigError
from lambda_hat_core.config.lengths import LENGTHS
from lambda_hat_core.config.samplers.known import SAMPLERS
from lambda_hat_core.config.training import Training
from lambda_hat_core.plan.plan import Plan, load_plan
from lambda_hat_core.plan.study import load_tuning
from tests.core.plans import CONFIG, only

TARGETS: dict[str, dict[str, Any]] = {
    "mlp": {"model": {}},
    "mlp of presets": {"model": "small", "data": "base", "teacher": "small", "training": "fast"},
    "mlp of widths": {"model": {"widths": [3, 5]}, "data": {"n_data": 100}},
    "digits": {"model": {"hidden": 4}, "data": "digits"},
    "diabetes": {"model": "small", "data": "diabetes", "training": "minibatch"},
    "modular": {"model": {"kind": "modular_mlp"}, "training": {"l2": 2e-4}},
    "superposition": {"model": {"kind": "superposition", "polygon": 4}},
    "transformer": {"model": {"kind": "transformer", "layer_norm": True}},
    "regression in context": {"model": {"kind": "transformer"}, "data": {"kind": "icl_regression"}},
    "deep linear": {"model": {"kind": "deep_linear", "widths": [3, 4, 3], "rank": 2}},
    "quadratic activation": {
        "model": {"kind": "quadratic_activation", "in_dim": 3, "width": 2, "rank": 1}
    },
    "diagonal linear": {"model": {"kind": "diagonal_linear", "in_dim": 3}},
    "quadratic": {"model": {"kind": "quadratic"}},
    "quadratic of a spectrum": {"model": {"kind": "quadratic", "spectrum": [1.0, 2.0]}},
    "normal crossing": {"model": {"kind": "normal_crossing", "powers": [1, 2]}},
    "custom": {"model": {"kind": "custom", "factory": "json:loads"}},
}
SECTIONS = ("model", "data", "teacher", "training")


def written(target: dict[str, Any], sampler: dict[str, Any], posterior: dict[str, Any]) -> str:
    content = {"targets": [target], "samplers": [sampler], "posterior": posterior}
    return yaml.safe_dump(content)


def spelled(plan: Plan) -> dict[str, dict[str, Any]]:
    """Return the sections of the plan's target with every default filled in."""
    spec = only(plan)[0].model_dump(mode="json")
    custom = spec["model"]["kind"] == "custom"
    # A factory returns its own n, so the file must not set n_data.
    spec["data"] = {"kind": "none"} if custom else spec["data"]
    return {name: spec[name] for name in SECTIONS if spec[name] is not None}


def leaves(sections: dict[str, dict[str, Any]]) -> Iterator[tuple[str, Any]]:
    for section, values in sections.items():
        for key, value in values.items():
            yield f"{section}.{key}", value


SIZES = {"depth", "widths", "hidden", "target_params", "d"}
"""Keys that give a size in several ways, so that the default of one may contradict another."""

SAMPLED = [{"name": "nuts"}, {"name": "sgld"}]


def of_target(plan_of, entry: dict[str, Any]) -> tuple[Any, Any]:
    plan = plan_of(yaml.safe_dump({"targets": [entry], "samplers": SAMPLED}))
    return plan.targets, plan.runs


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_with_all_defaults_written_is_the_same(plan_of, name: str):
    target = TARGETS[name]
    sections = spelled(plan_of(written(target, {"name": "nuts"}, {})))
    plain = of_target(plan_of, target)
    assert of_target(plan_of, sections) == plain, "in its sections"
    assert of_target(plan_of, target | {"overrides": sections}) == plain, "in overrides"
    dotted = dict(leaves(sections))
    assert of_target(plan_of, target | {"overrides": dotted}) == plain, "with dots"


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_with_one_default_written_is_the_same(plan_of, name: str):
    target = TARGETS[name]
    plain = of_target(plan_of, target)
    for key, value in leaves(spelled(plan_of(written(target, {"name": "nuts"}, {})))):
        if key in ("model.target_params", "model.hidden"):
            continue  # An override of a size replaces the widths.
        assert of_target(plan_of, target | {"overrides": {key: value}}) == plain, key


@pytest.mark.parametrize("name", TARGETS)
def test_every_default_of_the_reference_may_be_written(plan_of, name: str):
    target = {key: value for key, value in TARGETS[name].items() if isinstance(value, dict)}
    target = {"model": {"hidden": 4}} | target
    spec = only(plan_of(written(target, {"name": "nuts"}, {})))[0]
    plain = of_target(plan_of, target)
    models = {"model": type(spec.model), "data": type(spec.data), "training": Training}
    if spec.teacher is not None:
        models["teacher"] = Teacher
    elif spec.model.kind == "custom":
        del models["data"]
    for section, model in models.items():
        for key, field in model.model_fields.items():
            if key in target.get(section, {}) or key in SIZES or field.is_required():
                continue
            value = field.get_default(call_default_factory=True)
            text = target | {"overrides": {f"{section}.{key}": value}}
            assert of_target(plan_of, text) == plain, f"{section}.{key}"


@pytest.mark.parametrize("n_data", [80, 256, 5000])
@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_with_defaults_written_is_the_same(plan_of, name: str, n_data: int):
    target = {"model": "small", "data": {"n_data": n_data}}
    run = only(plan_of(written(target, {"name": name}, {})))[1]
    settings = run.sampler.model_dump(mode="json")
    if settings.get("until"):
        # A length that is written is the length, so beside a rule there is none to spell out.
        settings = {key: value for key, value in settings.items() if key not in LENGTHS}
    entry = {"name": name, "overrides": settings, "seed": run.seed, "dtype": run.dtype}
    assert only(plan_of(written(target, entry, {})))[1] == run
    for key, value in settings.items():
        entry = {"name": name, "overrides": {key: value}}
        assert only(plan_of(written(target, entry, {})))[1] == run, key


@pytest.mark.parametrize("name", SAMPLERS)
def test_fixed_lengths_spelled_out_are_the_same(plan_of, name: str):
    fixed = {"name": name, "until": None}
    run = only(plan_of(written({"model": "small"}, fixed, {})))[1]
    settings = run.sampler.model_dump(mode="json")
    entry = {"name": name, "overrides": settings}
    assert only(plan_of(written({"model": "small"}, entry, {})))[1] == run
    for key in settings.keys() & {*LENGTHS}:
        entry = {"name": name, "overrides": {key: settings[key]}}
        assert only(plan_of(written({"model": "small"}, entry, {})))[1] == run, key


@pytest.mark.parametrize("posterior", [{}, {"gamma": 3}, {"nbeta": 40}, {"prior_radius": 2.0}])
def test_a_posterior_with_defaults_written_is_the_same(plan_of, posterior: dict[str, Any]):
    target = {"model": "small"}
    run = only(plan_of(written(target, {"name": "nuts"}, posterior)))[1]
    whole = run.posterior.model_dump(mode="json")
    assert only(plan_of(written(target, {"name": "nuts"}, whole)))[1] == run
    entry = {"name": "nuts", "posterior": whole}
    assert only(plan_of(written(target, entry, posterior)))[1] == run
    for key, value in whole.items():
        entry = {"name": "nuts", "posterior": {key: value}}
        assert only(plan_of(written(target, entry, posterior)))[1] == run, key


def test_a_repeated_list_defines_the_same_runs(plan_of):
    text = written({"model": "small"}, {"name": "nuts"}, {"gamma": [1, 2]})
    again = written(
        {"model": "small"}, {"name": "nuts", "posterior": {"gamma": [1, 2]}}, {"gamma": [1.0, 2]}
    )
    assert len(plan_of(text).runs) == 2
    assert plan_of(text).runs == plan_of(again).runs


def test_a_preset_may_contain_defaults(tmp_path):
    preset = SAMPLERS["sgld"]().model_dump(mode="json")
    folder = tmp_path / "sampler"
    folder.mkdir()
    (folder / "sgld.yaml").write_text(yaml.safe_dump(preset | {"batch_size": 64}))
    file = tmp_path / "mine.yaml"
    entry = {"name": "sgld", "overrides": {"batch_size": 64, "precond": "lanczos"}}
    file.write_text(written({"model": {}}, entry, {}))
    plain = {"name": "sgld", "until": None, "overrides": {"batch_size": 64}}
    (tmp_path / "plain.yaml").write_text(written({"model": {}}, plain, {}))
    runs = load_plan(tmp_path / "plain.yaml", CONFIG).runs
    assert load_plan(file, tmp_path).runs == runs


@pytest.mark.parametrize(
    ("experiment", "sampler", "precond"),
    [("default", "sghmc", "auto"), ("smoke", "sgld", "lanczos")],
)
def test_words_that_repeat_a_value_do_not_change_the_plan(
    experiment: str, sampler: str, precond: str
):
    plan = load_plan(experiment, CONFIG)
    posterior = next(iter(plan.runs.values())).posterior
    words = [f"experiment={experiment}", f"posterior.gamma={posterior.gamma}"]
    words += ["samplers.nuts.target_acceptance=0.8", f"samplers.{sampler}.precond={precond}"]
    words += ["targets.training.grad_tol=1e-9", "targets.training.polish=newton_cg"]
    for word in words:
        assert load_plan(experiment, CONFIG, [word]) == plan, word
    assert load_plan(experiment, CONFIG, [*words, *words]) == plan


@pytest.mark.parametrize(
    "word",
    [
        "posterior.gama=10",
        "samplers.sghmc.precnd=none",
        "samplers.sgld.alpha=0.1",
        "targets.training.stps=5000",
        "targets.trainin.steps=5000",
    ],
)
def test_words_with_unknown_keys_are_refused(word: str):
    with pytest.raises(ConfigError) as caught:
        load_plan("default", CONFIG, [word])
    key = word.partition("=")[0].rpartition(".")[2]
    assert all(key in line for line in caught.value.lines)


TUNING: dict[str, Any] = {
    "problems": [{"name": "bowl", "model": {"kind": "quadratic", "d": 3}}],
    "methods": [{"name": "sgld"}],
    "search_space": {"sgld": {"step_fraction": {"dist": "float", "low": 0.1, "high": 2.0}}},
}


def test_defaults_may_be_written_in_a_tuning_file(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(TUNING))
    plan = load_tuning(file, CONFIG)
    settings = plan.settings.model_dump(mode="json", exclude_none=True)
    file.write_text(yaml.safe_dump(settings))
    assert load_tuning(file, CONFIG).studies == plan.studies
    for word in ("problems.0.model.d=3", "methods.0.name=sgld", "reference.name=nuts"):
        assert load_tuning(file, CONFIG, [word]).studies == plan.studies, word
    with pytest.raises(ConfigError, match="did you mean"):
        load_tuning(file, CONFIG, ["referense.name=nuts"])
    methods = [{"name": "sgld", "overrides": {"precond": "lanczos", "kind": "sgld"}}]
    reference = {"name": "nuts", "overrides": {"metric": "lanczos"}}
    file.write_text(yaml.safe_dump(TUNING | {"methods": methods, "reference": reference}))
    assert load_tuning(file, CONFIG).studies == plan.studies
