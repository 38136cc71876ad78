"""Experiments and presets that come with the project, and files of older versions."""

from pathlib import Path

from lambda_hat_core.plan.plan import load_plan, load_union
from tests.core.plans import CONFIG, one


def test_every_shipped_experiment_is_in_the_union(tmp_path: Path):
    names = {file.stem for file in (CONFIG / "experiment").glob("*.yaml")}
    union = load_union(CONFIG, "smoke")
    assert set(union.membership) == names >= {"default", "smoke"}
    assert union.experiment == "smoke"
    for name in names:
        plan = load_plan(name, CONFIG)
        assert plan.runs.items() <= union.runs.items()
        assert plan.targets.items() <= union.targets.items()
        assert {run.target for run in plan.runs.values()} == set(plan.targets)
    shadow = tmp_path / "mine.yaml"
    shadow.write_text(one("{model: {kind: quadratic, d: 77}}", rest="experiment: default"))
    shadowed = load_union(CONFIG, shadow)
    assert len(shadowed.membership["default"]) == 1
    assert len(shadowed.runs) == len(union.runs) + 1


def test_every_shipped_preset_is_valid(plan_of):
    entries = [
        f"{{model: {model}, data: {data}, teacher: {teacher}, training: {training}}}"
        for model in ("small", "base")
        for data in ("small", "medium", "base")
        for teacher in ("_null", "small", "base")
        for training in ("default", "fast")
    ]
    entries.append("{model: small, data: base, training: minibatch}")
    entries.append("{model: small, data: base, training: grokking}")
    entries += ["{model: small, data: digits}", "{model: small, data: diabetes}"]
    plan = plan_of(one(", ".join(entries)))
    # The small teacher of a small student is the same as no teacher.
    assert len(plan.targets) == len(entries) - 6
    for group in ("model", "data", "teacher", "training"):
        for file in (CONFIG / group).glob("*.yaml"):
            assert any(f"{group}: {file.stem}" in entry for entry in entries), file
    names = sorted(file.stem for file in (CONFIG / "sampler").glob("*.yaml"))
    plan = plan_of(one("{model: small}", ", ".join(f"{{name: {name}}}" for name in names)))
    assert sorted(run.sampler.kind for run in plan.runs.values()) == names


def test_a_file_of_an_older_version_without_renamed_keys_loads(plan_of):
    plan = plan_of(
        """
        targets:
          - {model: small, data: small, teacher: _null, seed: 42}
          - {model: base, data: base, teacher: _null, seed: 43,
             overrides: {training: {steps: 10000}}}
        samplers:
          - {name: hmc}
          - {name: mclmc}
          - {name: sgld, overrides: {step_size: 1e-6}, seed: 12345}
          - {name: vi, overrides: {algo: mfa, M: 8, r: 2, steps: 1000, tensorboard: true}, seed: 2}
        """
    )
    assert (plan.experiment, len(plan.targets), len(plan.runs)) == ("mine", 2, 8)
    step_sizes = {run.sampler.step_size for run in plan.runs.values() if run.sampler.kind == "sgld"}
    assert step_sizes == {1e-6}
