"""From experiment YAML to concrete specs with stable ids."""

import hashlib
import itertools
import subprocess
import sys
from pathlib import Path

import pytest
import rfc8785

from lambda_hat_core.config.base import canonical_json
from lambda_hat_core.config.data import Digits, NoData, Synthetic, Teacher
from lambda_hat_core.config.model import Custom, Mlp, NormalCrossing, Quadratic, infer_width
from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.config.samplers import Nuts, Sgld, Vi
from lambda_hat_core.config.spec import RunSpec, TargetSpec
from lambda_hat_core.plan.plan import Plan, load_plan, load_union

CONFIG = Path(__file__).parents[2] / "config"

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


@pytest.fixture
def plan_of(tmp_path: Path):
    def load(text: str) -> Plan:
        file = tmp_path / "mine.yaml"
        file.write_text(text)
        return load_plan(file, CONFIG)

    return load


def only(plan: Plan) -> tuple[TargetSpec, RunSpec]:
    [target], [run] = plan.targets.values(), plan.runs.values()
    return target, run


def one(target: str, sampler: str = "{name: nuts}", rest: str = "") -> str:
    return f"targets: [{target}]\nsamplers: [{sampler}]\n{rest}"


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
    assert custom.model.source_sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
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


def test_ids_are_what_they_were():
    target = TargetSpec(
        model=Mlp(in_dim=4, out_dim=1, widths=(4, 4), hidden=4),
        data=Synthetic(n_data=500),
        teacher=Teacher(depth=2, widths=(4, 4), activation="relu"),
        seed=7,
    )
    assert target.id == "tgt_6ecb1f1ff988"
    run = RunSpec(
        target=target.id,
        sampler=Nuts(n_draws=500),
        posterior=PosteriorSpec(loss="mse", gamma=10),
        seed=1,
        dtype="float64",
    )
    assert run.id == "run_nuts_df9676d0187e"


def test_ids_are_hashes_of_rfc_8785():
    target = TargetSpec(
        model=Custom(factory="a:b", kwargs={"é": [1, 2.5, None], "a": {"b": 1e-7}}), data=NoData()
    )
    plain = rfc8785.dumps(target.model_dump(mode="json"))
    assert canonical_json(target) == plain
    assert target.id == f"tgt_{hashlib.sha256(plain).hexdigest()[:12]}"
    as_float = TargetSpec(
        model=Custom(factory="a:b", kwargs={"é": [1.0, 2.5, None], "a": {"b": 1e-7}}), data=NoData()
    )
    assert as_float.id == target.id
    assert Nuts(n_draws=700) == Nuts()


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (
            "{model: {hidden: 8}}",
            "{model: {widths: [8, 8]}, data: {kind: synthetic}, teacher: _null}",
        ),
        ("{model: small}", "{model: {target_params: 50}}"),
        ("{model: small}", "{model: base, overrides: {model: {depth: 2, in_dim: 4, hidden: 4}}}"),
        ("{model: small}", "{model: small, teacher: {hidden: 4}, training: {loss: gaussian}}"),
        ("{model: small}", "{model: small, teacher: {depth: 2}, training: {lr: 1e-3}}"),
        ("{model: small, data: medium}", "{model: small, data: {n_data: 1000.0}}"),
        (
            "{model: small, data: digits}",
            "{model: {target_params: 50, in_dim: 64}, data: {kind: digits}}",
        ),
        (
            "{model: {kind: normal_crossing, powers: [1, 2]}}",
            "{model: {kind: normal_crossing, powers: [1, 2], point: [0, 0]}, data: {n_data: 1000}}",
        ),
    ],
)
def test_what_means_the_same_has_one_id(plan_of, left: str, right: str):
    assert only(plan_of(one(left)))[1].id == only(plan_of(one(right)))[1].id


def test_presets_overrides_and_displaced_sizes(plan_of):
    target, _ = only(
        plan_of(
            one(
                "{model: base, data: small, "
                "overrides: {model: {widths: [5, 6, 7]}, data.cov_decay: 0.5}}"
            )
        )
    )
    assert isinstance(target.model, Mlp)
    assert (target.model.in_dim, target.model.widths, target.model.depth) == (32, (5, 6, 7), 3)
    assert target.model.target_params is None
    assert isinstance(target.data, Synthetic)
    assert (target.data.n_data, target.data.cov_decay) == (100, 0.5)
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


def test_a_list_makes_one_run_a_value(plan_of):
    plan = plan_of(
        one("{model: small}", "{name: nuts}, {name: sgld, posterior: {nbeta: [1e3, 1e4]}}")
        + "posterior: {gamma: [1, 10, 100]}"
    )
    runs = [run.posterior for run in plan.runs.values()]
    assert [(p.gamma, p.nbeta) for p in runs[:3]] == [(1, None), (10, None), (100, None)]
    assert [(p.gamma, p.nbeta) for p in runs[3:]] == [
        (gamma, nbeta) for gamma in (1, 10, 100) for nbeta in (1e3, 1e4)
    ]


def test_posterior_keys_without_effect_are_not_hashed(plan_of):
    entry = "{model: small}"
    by_radius = only(plan_of(one(entry, rest="posterior: {gamma: 7, prior_radius: 2}")))[1]
    assert by_radius.id == only(plan_of(one(entry, rest="posterior: {prior_radius: 2}")))[1].id
    assert by_radius.posterior.resolved_gamma(8) == 2
    by_nbeta = only(plan_of(one(entry, rest="posterior: {nbeta: 50, beta0: 3}")))[1]
    assert by_nbeta.id == only(plan_of(one(entry, rest="posterior: {nbeta: 50}")))[1].id


def test_batches_fit_the_data(plan_of):
    plan = plan_of(
        one(
            "{model: small, data: small}, {model: small, data: medium}, {model: {kind: quadratic}}"
        ).replace("nuts", "sgld")
    )
    sizes = [run.sampler.batch_size for run in plan.runs.values() if isinstance(run.sampler, Sgld)]
    assert sizes == [None, 256, None]
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


def test_the_same_run_written_twice_is_one_run(plan_of):
    plan = plan_of(
        one("{model: small}, {model: {target_params: 50}}", "{name: nuts}, {name: nuts}")
    )
    assert (len(plan.targets), len(plan.runs)) == (1, 1)


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
    entries += ["{model: small, data: digits}", "{model: small, data: diabetes}"]
    plan = plan_of(one(", ".join(entries)))
    assert len(plan.targets) == len(entries) - 6  # the small teacher of a small student is its own
    for group in ("model", "data", "teacher", "training"):
        for file in (CONFIG / group).glob("*.yaml"):
            assert any(f"{group}: {file.stem}" in entry for entry in entries), file
    names = sorted(file.stem for file in (CONFIG / "sampler").glob("*.yaml"))
    plan = plan_of(one("{model: small}", ", ".join(f"{{name: {name}}}" for name in names)))
    assert sorted(run.sampler.kind for run in plan.runs.values()) == names


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


def test_five_thousand_runs_load_fast_and_without_jax_or_dagster(tmp_path: Path):
    targets = [
        f"  - {{model: {{kind: deep_linear, widths: [6, 8, 6], rank: 3}}, seed: {seed}}}"
        for seed in range(100)
    ]
    samplers = [
        f"  - {{name: sgld, overrides: {{precond: rmsprop}}, seed: {seed}}}" for seed in range(50)
    ]
    file = tmp_path / "large.yaml"
    file.write_text("\n".join(["targets:", *targets, "samplers:", *samplers]))
    code = (
        "import sys, time; from pathlib import Path\n"
        "from lambda_hat_core.plan.plan import load_plan\n"
        "start = time.process_time()\n"
        f"runs = load_plan({str(file)!r}, Path({str(CONFIG)!r})).runs\n"
        "print(len(runs), time.process_time() - start)\n"
        "print(*sorted({'jax', 'dagster', 'numpy', 'equinox'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=CONFIG.parent
    )
    measured, modules = done.stdout.splitlines()
    count, seconds = measured.split()
    assert (count, modules) == ("5000", "")
    assert float(seconds) < 2


def test_a_file_of_the_forerunner_with_no_renamed_key_loads_as_it_is(plan_of):
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
