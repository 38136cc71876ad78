import pytest

from lambda_hat_core.config.errors import ConfigError
from lambda_hat_core.plan.overrides import apply

CONTENT = {
    "experiment": "e",
    "posterior": {"gamma": 1.0},
    "targets": [
        {"model": "small", "seed": 1},
        {"model": {"kind": "quadratic"}, "overrides": {"model": {"d": 3}}},
    ],
    "samplers": [{"name": "nuts"}, {"name": "sgld", "overrides": {"thin": 2}}],
}


@pytest.mark.parametrize(
    ("word", "path", "value"),
    [
        ("posterior.gamma=1e-4", ("posterior", "gamma"), 1e-4),
        ("posterior.nbeta=[1, 2]", ("posterior", "nbeta"), [1, 2]),
        ("experiment=f", ("experiment",), "f"),
        ("observables=[val]", ("observables",), ["val"]),
        ("hold.gamma=2", ("hold", "gamma"), 2),
        ("targets.0.seed=3", ("targets", 0, "seed"), 3),
        ("targets[1].seed=3", ("targets", 1, "seed"), 3),
        ("targets.seed=7", ("targets", 1, "seed"), 7),
        ("targets.data=digits", ("targets", 0, "data"), "digits"),
        ("targets.training.steps=9", ("targets", 0, "overrides", "training.steps"), 9),
        ("samplers.sgld.n_draws=5", ("samplers", 1, "overrides", "n_draws"), 5),
        ("samplers.sgld.step_size=auto", ("samplers", 1, "overrides", "step_size"), "auto"),
        ("samplers.1.dtype=float64", ("samplers", 1, "dtype"), "float64"),
        ("samplers.sgld.posterior.gamma=null", ("samplers", 1, "posterior", "gamma"), None),
    ],
)
def test_a_word_changes_its_key_and_nothing_else(word, path, value):
    before = str(CONTENT)
    changed = apply(CONTENT, [word])
    found = changed
    for key in path:
        found = found[key]
    assert found == value and type(found) is type(value)
    assert str(CONTENT) == before
    assert apply(CONTENT, []) == CONTENT


def test_other_overrides_of_the_entry_are_kept():
    changed = apply(CONTENT, ["samplers.sgld.n_draws=5"])
    assert changed["samplers"][1]["overrides"] == {"thin": 2, "n_draws": 5}
    assert changed["samplers"][0] == {"name": "nuts"}


def test_a_word_replaces_an_override_of_the_file():
    for file in ({"model": {"d": 3, "rank": 2}}, {"model": {"rank": 2}, "model.d": 3}):
        content = {"targets": [{"model": {"kind": "quadratic"}, "overrides": file}]}
        changed = apply(content, ["targets.model.d=4"])
        assert changed["targets"][0]["overrides"] == {"model": {"rank": 2, "d": 4}}


@pytest.mark.parametrize(
    "word", ["experiment=e", "posterior.gamma=1", "targets.0.seed=1", "samplers.sgld.thin=2"]
)
def test_a_word_that_repeats_a_value_changes_nothing(word):
    assert apply(CONTENT, [word]) == CONTENT


def test_a_key_below_a_value_is_an_error_in_one_line():
    content = {"posterior": "abc", "targets": [{"overrides": {"training": "fast"}}]}
    for word in ("posterior.gamma=1", "targets.overrides.training.steps=3"):
        with pytest.raises(ConfigError, match=r"command line: .*not a mapping"):
            apply(content, [word])


@pytest.mark.parametrize("word", ["x", "=1", "gamma=3", "targets=1", "targets.9.seed=1", "a.b=[1"])
def test_an_unknown_key_is_an_error_in_one_line(word):
    with pytest.raises(ConfigError, match="command line") as info:
        apply(CONTENT, [word])
    assert len(info.value.lines) == 1


def test_a_sampler_that_the_experiment_lacks_is_named_with_those_that_it_has():
    message = (
        "command line: samplers.foo.n_draws: there is no sampler foo in this experiment; it has "
        "{}; write e.g. samplers.{}.n_draws"
    )
    names = [entry["name"] for entry in CONTENT["samplers"]]
    with pytest.raises(ConfigError) as info:
        apply(CONTENT, ["samplers.foo.n_draws=5"])
    assert str(info.value) == message.format(", ".join(names), names[0])
