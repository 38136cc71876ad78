"""From experiment YAML to concrete specs."""

import itertools
import subprocess
import sys
from pathlib import Path

import pytest

from lambda_hat_core.config.data import Digits, NoData, Synthetic, Teacher
from lambda_hat_core.config.mlp import infer_width
from lambda_hat_core.config.model import Custom, Mlp, NormalCrossing, Quadratic
from lambda_hat_core.config.samplers.stochastic import Sgld
from lambda_hat_core.config.samplers.vi import Vi
from lambda_hat_core.plan.plan import load_plan
from tests.core.plans import CONFIG, one, only
from tests.counts import FEW, MANY, MORE

FIXED = """
experiment: default
targets:
  - {model: small, data: base, teacher: _null, seed: 42,
     overrides: {training: {steps: 2000}, data.noise_scale: 0.05}}
  - {model: {kind: deep_linear, widths: [6, 8, 6], rank: 3},
     data: {n_data: 4000, noise_scale: 0.1}, seed: 1}
  - {model: {kind: custom, factory: "my_package.my_module:make_target", kwargs: {k: 2}}, seed: 0}
samplers:
  - {name: nuts, seed: 1}
  - {name: sgld, overrides: {precond: rmsprop, step_size: auto}, seed: 2, dtype: float32}
  - {name: vi, overrides: {algo: mfa, M: 8, r: 2}, seed: 3}
posterior: {loss: mse, beta_mode: 1_over_log_n, beta0: 1.0, gamma: 1.0}
"""


def test_the_architectures_example_loads(plan_of, tmp_path: Path, monkeypatch):
    package = tmp_path / "lib" / "my_package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    source = package / "my_module.py"
    source.write_text("raise RuntimeError('imported')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "lib"))
    plan = plan_of(FIXED)

    mlp, deep, custom = plan.targets.values()
    assert mlp.model == Mlp(
        in_dim=4, out_dim=1, depth=2, widths=(4, 4), hidden=4, activation="relu"
    )
    assert mlp.data == Synthetic(n_data=20000, n_test=2000, noise_scale=0.05)
    assert mlp.teacher == Teacher(depth=2, widths=(4, 4), activation="relu")
    assert (mlp.training.steps, mlp.training.loss, mlp.seed) == (2000, "mse", 42)
    assert (deep.teacher, deep.training.loss, deep.data.n_data) == (None, "mse", 4000)
    assert isinstance(custom.model, Custom)
    assert custom.model.source_sha256 is not None
    assert (custom.data, custom.training.loss) == (NoData(), "own")

    assert len(plan.runs) == 9
    assert plan.membership == {"default": tuple(plan.runs)}
    kinds = [
        (run.sampler.kind, run.dtype, run.seed, run.posterior.loss) for run in plan.runs.values()
    ]
    assert kinds[:3] == [
        ("nuts", "float64", 1, "mse"),
        ("sgld", "float32", 2, "mse"),
        ("vi", "float32", 3, "mse"),
    ]
    assert [loss for *_, loss in kinds[6:]] == ["own"] * 3
    assert set(plan.labels) == {*plan.targets, *plan.runs}
    assert "my_package.my_module:make_target" in plan.labels[custom.id]
    assert "small" in plan.labels[mlp.id] and "6-8-6" in plan.labels[deep.id]

    source.write_text("pass")
    again = plan_of(FIXED)
    assert list(again.targets)[:2] == list(plan.targets)[:2]
    assert list(again.targets)[2] != list(plan.targets)[2]


def test_presets_overrides_and_displaced_sizes(plan_of):
    target, _ = only(
        plan_of(
            one(
                "{model: base, data: small, "
                "overrides: {model: {widths: [5, 6, 7]}, data.noise_scale: 0.5}}"
            )
        )
    )
    assert isinstance(target.model, Mlp)
    assert (target.model.in_dim, target.model.widths, target.model.depth) == (32, (5, 6, 7), 3)
    assert target.model.target_params is None
    assert isinstance(target.data, Synthetic)
    assert (target.data.n_data, target.data.noise_scale) == (100, 0.5)
    target, _ = only(plan_of(one("{model: small, teacher: base}")))
    assert target.teacher is not None
    assert target.teacher.widths == (infer_width(4, 1, 3, 100),) * 3
    assert target.teacher.dropout_rate == 0.1


def test_custom_arguments_merge_key_by_key(plan_of, tmp_path: Path, monkeypatch):
    (tmp_path / "factories.py").write_text("")
    monkeypatch.chdir(tmp_path)
    entry = "{model: {kind: custom, factory: 'factories:f', kwargs: {a: 1, b: {c: 2, d: 3}}},"
    target, _ = only(plan_of(one(entry + "overrides: {model.kwargs.b.c: 4}}")))
    assert isinstance(target.model, Custom)
    assert target.model.kwargs == {"a": 1, "b": {"c": 4, "d": 3}}


def test_each_target_takes_its_own_loss(plan_of):
    plan = plan_of(one("{model: small, data: digits}, {model: small}, {model: {kind: quadratic}}"))
    assert [t.training.loss for t in plan.targets.values()] == ["cross_entropy", "mse", "own"]
    assert [r.posterior.loss for r in plan.runs.values()] == ["cross_entropy", "mse", "own"]
    digits, _, quadratic = plan.targets.values()
    assert isinstance(digits.model, Mlp) and isinstance(digits.data, Digits)
    assert (digits.model.in_dim, digits.model.out_dim, digits.teacher) == (64, 10, None)
    assert isinstance(quadratic.model, Quadratic)
    assert quadratic.training.start == "truth"


def test_gaussian_shares_its_minimum_with_mse(plan_of):
    target, run = only(plan_of(one("{model: small}", rest="posterior: {loss: gaussian}")))
    assert target.training.loss == "mse"
    assert (run.posterior.loss, run.posterior.sigma) == ("gaussian", 0.1)
    same, by_sampler = only(
        plan_of(one("{model: small}", "{name: nuts, posterior: {loss: gaussian, sigma: 0.1}}"))
    )
    assert (same.id, by_sampler.id) == (target.id, run.id)
    target, run = only(plan_of(one("{model: small}", rest="posterior: {loss: student_t}")))
    assert (target.training.loss, run.posterior.sigma) == ("student_t", 0.1)


def test_a_list_defines_one_run_per_value(plan_of):
    plan = plan_of(
        one("{model: small}", "{name: nuts}, {name: sgld, posterior: {nbeta: [1e3, 1e4]}}")
        + "posterior: {gamma: [1, 10, 100]}"
    )
    runs = [run.posterior for run in plan.runs.values()]
    assert [(p.gamma, p.nbeta) for p in runs[:3]] == [(1, None), (10, None), (100, None)]
    assert [(p.gamma, p.nbeta) for p in runs[3:]] == [
        (gamma, nbeta) for gamma in (1, 10, 100) for nbeta in (1e3, 1e4)
    ]


def test_batches_fit_the_data(plan_of):
    plan = plan_of(
        one(
            "{model: small, data: small}, {model: small, data: medium}, {model: {kind: quadratic}}"
        ).replace("nuts", "sgld")
    )
    sizes = [run.sampler.batch_size for run in plan.runs.values() if isinstance(run.sampler, Sgld)]
    assert sizes == ["auto", "auto", None], "a potential has no examples"
    _, run = only(
        plan_of(one("{model: small, data: small}", "{name: vi, overrides: {batch_size: 100}}"))
    )
    assert isinstance(run.sampler, Vi) and run.sampler.batch_size == 100


def test_a_preset_may_give_a_sampler_another_name(plan_of, tmp_path: Path):
    (tmp_path / "sampler").mkdir()
    (tmp_path / "sampler" / "psgld.yaml").write_text("{kind: sgld, precond: rmsprop}")
    (tmp_path / "mine.yaml").write_text(one("{model: {hidden: 3}}", "{name: psgld}, {name: mala}"))
    plan = load_plan(tmp_path / "mine.yaml", tmp_path)
    psgld, mala = plan.runs.values()
    assert isinstance(psgld.sampler, Sgld) and psgld.sampler.precond == "rmsprop"
    assert (psgld.dtype, mala.dtype, plan.experiment) == ("float32", "float64", "mine")


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layernorm", [True, False])
@pytest.mark.parametrize("case", [(4, 1, 2, 50), (32, 1, 3, 9999), (64, 10, 1, 9), (3, 2, 5, 777)])
def test_inferred_widths_are_the_nearest(bias: bool, layernorm: bool, case: tuple[int, ...]):
    in_dim, out_dim, depth, wanted = case
    distances = {}
    for h in range(1, 200):
        sizes = itertools.pairwise([in_dim, *[h] * depth, out_dim])
        norms = 2 * h * depth * layernorm
        distances[h] = abs(sum((m + bias) * k for m, k in sizes) + norms - wanted)
    inferred = infer_width(in_dim, out_dim, depth, wanted, bias=bias, layernorm=layernorm)
    assert inferred == min(distances, key=lambda h: distances[h])


def test_normal_crossings_start_at_their_point(plan_of):
    target, _ = only(
        plan_of(one("{model: {kind: normal_crossing, powers: [1, 0], point: [0, 3]}}"))
    )
    assert isinstance(target.model, NormalCrossing)
    assert (target.model.point, target.training.start) == ((0, 3), "truth")


COUNTED = """
import sys
from pathlib import Path
from tests.counts import MANY, calls_of_each
from lambda_hat_core.plan.plan import load_plan
folder, config = map(Path, sys.argv[1:])
print(len(load_plan(folder / f"{MANY}.yaml", config).runs))
print(*({"jax", "dagster", "numpy", "equinox"} & set(sys.modules)))
print(calls_of_each(lambda runs: lambda: load_plan(folder / f"{runs}.yaml", config)))
"""


def test_loading_takes_time_proportional_to_the_runs_without_jax_or_dagster(tmp_path: Path):
    """Calls are counted in a process where types are not checked."""
    for runs in (FEW, MORE, MANY):
        model = "{kind: deep_linear, widths: [6, 8, 6], rank: 3}"
        targets = [f"  - {{model: {model}, seed: {seed}}}" for seed in range(runs // 50)]
        sampler = "name: sgld, overrides: {precond: rmsprop}"
        samplers = [f"  - {{{sampler}, seed: {seed}}}" for seed in range(50)]
        file = tmp_path / f"{runs}.yaml"
        file.write_text("\n".join(["targets:", *targets, "samplers:", *samplers]))
    done = subprocess.run(
        [sys.executable, "-c", COUNTED, str(tmp_path), str(CONFIG)],
        capture_output=True,
        text=True,
        cwd=CONFIG.parent,
    )
    assert done.returncode == 0, done.stderr
    count, modules, calls = done.stdout.splitlines()
    assert (count, modules) == (str(MANY), "")
    assert float(calls) < 400
