"""Every mistake in a YAML file is one line that names file, key, value, rule and way out."""

import pickle
from pathlib import Path

import pytest

from lambda_hat_core.config.errors import ConfigError
from lambda_hat_core.plan.plan import load_plan, load_union
from tests.core.planmistakes import BAD, experiment
from tests.core.plans import CONFIG

QUADRATIC = "{model: {kind: quadratic}}"


@pytest.mark.parametrize("name", BAD)
def test_a_mistake_is_reported_in_one_line(name: str, tmp_path: Path):
    text, wanted = BAD[name]
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_plan(file, CONFIG)
    lines = caught.value.lines
    assert len(lines) == (2 if name == "empty" else 1), lines
    message = str(caught.value)
    assert "bad.yaml:" in message or "config/" in message
    for part in wanted:
        assert part in message, message


def test_every_mistake_of_a_file_is_named_at_once(tmp_path: Path):
    file = tmp_path / "older.yaml"
    file.write_text(
        """
        experiment: smoke
        store_root: runs
        jax_enable_x64: true
        targets:
          - model: small
            data: small
            teacher: _null
            seed: 42
            overrides: {data: {n_train: 128}, training: {steps: 200, eval_every: 50}}
        samplers:
          - {name: hmc, overrides: {draws: 10, warmup: 5, num_integration_steps: 5}}
          - {name: mclmc, overrides: {draws: 10, num_steps: 500}}
          - {name: sgld, overrides: {steps: 50, warmup: 10, eval_every: 10}}
          - {name: vi, overrides: {steps: 20, whitening_mode: adam, eval_samples: 64, gamma: 0.01}}
        """
    )
    with pytest.raises(ConfigError) as caught:
        load_plan(file, CONFIG)
    ways_out = {
        "store_root": "LAMBDA_HAT_HOME",
        "jax_enable_x64": "dtype",
        "targets[0].overrides.data.n_train": "n_data",
        "targets[0].overrides.training.eval_every": "remove it",
        "samplers[0].overrides.draws": "n_draws",
        "samplers[0].overrides.warmup": "n_warmup",
        "samplers[0].overrides.num_integration_steps": "n_leapfrog",
        "samplers[1].overrides.draws": "n_draws",
        "samplers[1].overrides.num_steps": "n_tune",
        "samplers[2].overrides.steps": "n_draws",
        "samplers[2].overrides.warmup": "n_burn",
        "samplers[2].overrides.eval_every": "thin",
        "samplers[3].overrides.whitening_mode": "whitening",
        "samplers[3].overrides.eval_samples": "n_draws",
        "samplers[3].overrides.gamma": "posterior",
    }
    assert len(caught.value.lines) == len(ways_out)
    for line, (key, way_out) in zip(caught.value.lines, ways_out.items(), strict=True):
        assert f"older.yaml: {key} is " in line
        assert way_out in line.rpartition(";")[2]


def test_a_preset_with_a_mistake_is_named_itself(tmp_path: Path):
    (tmp_path / "config" / "model").mkdir(parents=True)
    (tmp_path / "config" / "model" / "odd.yaml").write_text("hidden: -3")
    file = tmp_path / "experiment.yaml"
    file.write_text(experiment("{model: odd}"))
    with pytest.raises(ConfigError, match=r"odd\.yaml: hidden is -3: must be > 0") as caught:
        load_plan(file, tmp_path / "config")
    assert len(caught.value.lines) == 1


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("smok", "did you mean smoke"), ("a/b.yaml", "a/b.yaml"), ("none.yaml", "none.yaml")],
)
def test_a_missing_experiment_is_named(name: str, wanted: str):
    with pytest.raises(ConfigError, match=wanted) as caught:
        load_plan(name, CONFIG)
    assert len(caught.value.lines) == 1


def test_a_file_with_a_long_name_says_how_to_name_the_experiment(tmp_path: Path):
    file = tmp_path / f"{'n' * 200}.yaml"
    file.write_text(experiment(QUADRATIC))
    with pytest.raises(ConfigError, match="more than 100 bytes; write experiment: and a shorter"):
        load_plan(file, CONFIG)
    file.write_text(experiment(QUADRATIC, rest="experiment: short"))
    assert load_plan(file, CONFIG).experiment == "short"


def test_a_folder_where_a_file_should_be_is_named(tmp_path: Path):
    (tmp_path / "odd.yaml").mkdir()
    with pytest.raises(ConfigError, match=r"odd\.yaml: this is a folder, not a YAML file"):
        load_plan(tmp_path / "odd.yaml", CONFIG)


def test_dates_are_text_and_quoted_numbers_too(tmp_path: Path):
    file = tmp_path / "e.yaml"
    file.write_text(experiment(QUADRATIC, rest="experiment: 2024-01-01"))
    assert load_plan(file, CONFIG).experiment == "2024-01-01"
    file.write_text(experiment(QUADRATIC, rest="experiment: '010'"))
    assert load_plan(file, CONFIG).experiment == "010"


def test_two_files_of_one_name_are_refused(tmp_path: Path):
    folder = tmp_path / "experiment"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.yaml").write_text(experiment(QUADRATIC, rest="experiment: same"))
    with pytest.raises(ConfigError, match=r'b\.yaml: experiment is "same": .*has this name too'):
        load_union(tmp_path, "b")


def test_marks_that_no_terminal_shows_are_written_as_escapes(tmp_path: Path):
    file = tmp_path / "bad.yaml"
    file.write_text("experiment: a\ntargets: [{model: small, data: base, \u202eseed: \u202e1}]\n")
    with pytest.raises(ConfigError) as caught:
        load_plan(file, CONFIG)
    lines = caught.value.lines
    assert all(line.isprintable() for line in lines)
    assert r'targets[0].\u202eseed is "\u202e1": no such key; did you mean seed?' in lines[-1]


def test_errors_survive_a_process_boundary():
    error = ConfigError("one\ntwo")
    assert pickle.loads(pickle.dumps(error)).lines == ("one", "two")
