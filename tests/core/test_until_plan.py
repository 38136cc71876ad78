"""Where a stop rule comes from in an experiment, and what it cannot be written with."""

from pathlib import Path

import pytest

from lambda_hat_core.config.errors import ConfigError
from lambda_hat_core.config.samplers.base import Until
from lambda_hat_core.config.samplers.stochastic import Sghmc
from lambda_hat_core.config.spec import RunSpec
from lambda_hat_core.plan.overrides import apply
from lambda_hat_core.plan.plan import load_plan
from lambda_hat_core.plan.study import load_tuning
from tests.core.plans import CONFIG, one, only

QUADRATIC = "{model: {kind: quadratic}}"
HALF = "until: {rel_se: 0.5, max_fge: 300}"


def planned(tmp_path: Path, samplers: str, rest: str = "", config: Path = CONFIG) -> RunSpec:
    file = tmp_path / "experiment.yaml"
    file.write_text(one(QUADRATIC, samplers, rest))
    return only(load_plan(file, config))[1]


RULES = {
    "nothing is written": ("{name: sghmc}", "", Until()),
    "nothing is written for nuts": ("{name: nuts}", "", Until(max_fge=100_000)),
    "of the experiment": ("{name: nuts}", HALF, Until(rel_se=0.5, max_fge=300)),
    "none of the experiment": ("{name: nuts}", "until: null", None),
    "lengths": ("{name: nuts, overrides: {n_draws: 300}}", HALF, None),
    "lengths that are the default": ("{name: sgld, overrides: {n_burn: 400}}", HALF, None),
    "other overrides": ("{name: sgld, overrides: {thin: 3}}", "", Until()),
    "of the entry": (
        "{name: nuts, until: {rel_se: 0.1}}",
        HALF,
        Until(rel_se=0.1, max_fge=300),
    ),
    "in overrides": (
        "{name: nuts, overrides: {until: {max_draws: 80}}}",
        HALF,
        Until(rel_se=0.5, max_fge=300, max_draws=80),
    ),
    "of the entry alone": (
        "{name: nuts, until: {rel_se: 0.1}}",
        "until: null",
        Until(rel_se=0.1, max_fge=100_000),
    ),
    "none of the entry": ("{name: nuts, until: null}", HALF, None),
    "none in overrides": ("{name: nuts, overrides: {until: null}}", HALF, None),
    "of a family": ("{name: vi, until: {rel_se: 0.1}}", HALF, Until(rel_se=0.1, max_fge=300)),
    "of no family": ("{name: vi}", "", Until()),
    "lengths of a family": ("{name: vi, overrides: {n_draws: 1000}}", HALF, None),
    "lengths and none": ("{name: nuts, until: null, overrides: {n_draws: 300}}", "", None),
}


@pytest.mark.parametrize("name", RULES)
def test_the_rule_of_a_sampler(tmp_path, name):
    samplers, rest, rule = RULES[name]
    assert planned(tmp_path, samplers, rest).sampler.until == rule


def test_the_same_rule_is_the_same_run_wherever_it_is_written(tmp_path):
    written = [
        ("{name: sgld}", HALF),
        ("{name: sgld, until: {rel_se: 0.5, max_fge: 300}}", ""),
        ("{name: sgld, until: {max_fge: 300}}", "until: {rel_se: 0.5}"),
        ("{name: sgld, overrides: {until: {rel_se: 0.5, max_fge: 300}}}", ""),
        ("{name: sgld, until: {max_draws: 20000}}", HALF),
    ]
    runs = [planned(tmp_path, *texts) for texts in written]
    assert len({run.id for run in runs}) == 1
    assert RunSpec.model_validate_json(runs[0].model_dump_json()) == runs[0]
    assert planned(tmp_path, "{name: sgld}").id != runs[0].id
    fixed = {planned(tmp_path, f"{{name: sgld, {text}}}").id for text in FIXED}
    assert len(fixed) == 1 and runs[0].id not in fixed


FIXED = ["until: null", "overrides: {n_draws: 1200}", "overrides: {n_draws: 1200, n_burn: 400}"]


def test_a_preset_may_have_lengths_or_a_rule(tmp_path):
    folder = tmp_path / "config" / "sampler"
    folder.mkdir(parents=True)
    (folder / "long.yaml").write_text("kind: sgld\nn_draws: 5000")
    (folder / "rough.yaml").write_text("kind: sgld\nuntil: {rel_se: 0.2}")
    config = tmp_path / "config"
    assert planned(tmp_path, "{name: long}", HALF, config).sampler.until is None
    rough = planned(tmp_path, "{name: rough, until: {max_draws: 90}}", HALF, config)
    assert rough.sampler.until == Until(rel_se=0.2, max_fge=300, max_draws=90)
    assert planned(tmp_path, "{name: rough, until: null}", "", config).sampler.until is None
    with pytest.raises(ConfigError, match=r"long\.yaml: n_draws is 5000: .*samplers\[0\]\.until"):
        planned(tmp_path, "{name: long, until: {}}", "", config)


BAD = {
    "unknown": ("{name: nuts}", "until: {relse: 1}", ["until.relse", "did you mean rel_se?"]),
    "hint": ("{name: nuts}", "until: {se: 1}", ["until.se is 1", "write rel_se"]),
    "too high": ("{name: nuts}", "rel_se: 1", ["rel_se is 1", "write until: {rel_se"]),
    "value": ("{name: nuts}", "until: {rel_se: 0}", ["until.rel_se is 0", "> 0", "0.05"]),
    "infinite": ("{name: nuts}", "until: {max_fge: .inf}", ["until.max_fge", "finite number"]),
    "number": ("{name: nuts}", "until: 3", ["until is 3", "a mapping"]),
    "entry": ("{name: nuts, until: {x: 1}}", "", ["samplers[0].until.x", "known: max_draws"]),
    "entry value": ("{name: nuts, until: {max_draws: 0}}", "", ["samplers[0].until.max_draws"]),
    "overrides": (
        "{name: nuts, overrides: {until: {max_fge: -1}}}",
        "",
        ["samplers[0].overrides.until.max_fge is -1", "> 0"],
    ),
    "overrides number": (
        "{name: nuts, overrides: {until: 7}}",
        "",
        ["samplers[0].overrides.until is 7", "a mapping", "null"],
    ),
    "twice": (
        "{name: nuts, until: {}, overrides: {until: {}}}",
        "",
        ["samplers[0].until is {}", "in overrides", "remove one"],
    ),
    "both": (
        "{name: nuts, until: {rel_se: 0.1}, overrides: {n_draws: 300}}",
        "",
        ["samplers[0].overrides.n_draws is 300", "samplers[0].until", "until: null"],
    ),
    "both in overrides": (
        "{name: nuts, overrides: {n_burn: 3, until: {}}}",
        "",
        ["samplers[0].overrides.n_burn is 3", "samplers[0].overrides.until", "remove n_burn"],
    ),
    "family": (
        "{name: vi, until: {}, overrides: {n_draws: 300}}",
        "",
        ["samplers[0].overrides.n_draws is 300", "samplers[0].until", "remove n_draws"],
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_mistake_is_one_line_with_a_way_out(tmp_path, name):
    samplers, rest, wanted = BAD[name]
    with pytest.raises(ConfigError) as caught:
        planned(tmp_path, samplers, rest)
    [line] = caught.value.lines
    assert not [text for text in [*wanted, "experiment.yaml: "] if text not in line], line


@pytest.mark.parametrize("name", ["n_draws", "n_burn"])
def test_a_rule_leaves_no_length_that_means_nothing(name):
    default = Sghmc.model_fields[name].default
    assert Sghmc(until=Until(), **{name: default}) == Sghmc(until=Until())
    with pytest.raises(ConfigError, match=rf"Sghmc: {name} is 401 .* remove {name} or until"):
        Sghmc(until=Until(), **{name: 401})


def test_words_change_a_rule():
    content = {"samplers": [{"name": "nuts"}, {"name": "sgld"}]}
    changed = apply(content, ["until.rel_se=0.1", "samplers.sgld.until.max_draws=9"])
    assert changed["until"] == {"rel_se": 0.1}
    assert changed["samplers"] == [{"name": "nuts"}, {"name": "sgld", "until": {"max_draws": 9}}]
    assert apply(changed, ["until=null", "samplers.until=null"]) == {
        "until": None,
        "samplers": [{"name": "nuts", "until": None}, {"name": "sgld", "until": None}],
    }


STUDY = """
problems: [{name: a, model: {kind: quadratic}}]
methods: [%s]
search_space: {sgld: {%s: {dist: %s}}}
%s
"""


def tuned(tmp_path, method="sgld", space="thin", dist="int, low: 1, high: 9", rest=""):
    file = tmp_path / "study.yaml"
    file.write_text(STUDY % (method, space, dist, rest))
    return load_tuning(file, CONFIG)


def test_a_study_compares_at_fixed_lengths(tmp_path):
    plan = tuned(tmp_path)
    [study], [problem] = plan.studies.values(), plan.problems.values()
    assert study.spec.method.until is None and problem.spec.reference.until is None


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"method": "{name: sgld, until: {rel_se: 0.1}}"}, [r"methods\[0\]: until", "n_burn"]),
        ({"method": "{name: sgld, overrides: {until: {}}}"}, [r"methods\[0\]: until", "n_draws"]),
        ({"rest": "reference: {overrides: {until: {}}}"}, ["reference: until", "n_draws"]),
        ({"space": "until", "dist": "categorical, choices: [null]"}, ["no such parameter"]),
    ],
)
def test_a_study_refuses_a_rule(tmp_path, changes, wanted):
    for pattern in wanted:
        with pytest.raises(ConfigError, match=pattern):
            tuned(tmp_path, **changes)
