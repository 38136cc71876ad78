"""One setting held along a training: what is measured at one checkpoint, the others use."""

import pytest

from lambda_hat_core.config.errors import ConfigError
from lambda_hat_core.store.store import Store
from lambda_hat_core.work import making, outcomes
from lambda_hat_core.work.trajectories import make_trajectory
from tests.core.plans import one

TARGET = (
    "{model: {widths: [3], activation: tanh}, data: {n_data: 40, n_test: 20}, "
    "training: {steps: 60, batch_size: 8}, checkpoints: {at: [0, 30, 60]}}"
)
SGHMC = "{name: sghmc, dtype: float64, overrides: {n_chains: 2}, until: {rel_se: 0.5}%s}"


def sghmc(hold):
    return SGHMC % (f", hold: {hold}" if hold else "")


def quiet(line):
    del line


@pytest.mark.parametrize(("written", "index"), [("last", 2), ("30", 1), ("0", 0)])
def test_every_other_checkpoint_depends_on_the_one_that_is_measured(plan_of, written, index):
    plan = plan_of(one(TARGET, sghmc(f"{{from: {written}}}")))
    targets, runs = [*plan.targets], [*plan.runs.values()]
    expected = [None if i == index else targets[index] for i in range(3)]
    assert [run.hold for run in runs] == expected
    each = plan_of(one(TARGET, sghmc("null")))
    assert [id for id in plan.runs if id in each.runs] == [runs[index].id]
    assert plan_of(one(TARGET, sghmc(""))).runs.keys() == each.runs.keys()
    assert "held from tgt_" in plan.labels[runs[0 if index else 1].id]


def test_the_experiments_hold_is_that_of_samplers_that_have_a_step_size(plan_of):
    samplers = f"{sghmc('')}, {sghmc('null')}, {{name: nuts}}"
    plan = plan_of(one(TARGET, samplers, "hold: {from: last}"))
    held = [run.hold is not None for run in plan.runs.values()]
    kinds = [run.sampler.kind for run in plan.runs.values()]
    # The run at the last checkpoint is the same with and without a hold.
    assert sum(held) == 2 and len(held) == 8
    assert not any(hold for hold, kind in zip(held, kinds, strict=True) if kind == "nuts")


@pytest.mark.parametrize(
    ("target", "samplers", "words"),
    [
        (TARGET, sghmc("{from: 31}"), "no checkpoint at step 31"),
        (TARGET, sghmc("{from: first}"), "hold names one checkpoint"),
        (
            TARGET,
            sghmc("{from: best}"),
            r'hold is \{"from": "best"\}: ids are made before the training, .*; write '
            r"\{from: last\}, or the step of a checkpoint such as \{from: 1000\}$",
        ),
        (TARGET, sghmc("{at: 3}"), "hold names one checkpoint"),
        (TARGET, "{name: nuts, hold: {from: last}}", "has no step_size that could be held"),
        ("{model: small}", sghmc("{from: last}"), "no target has checkpoints"),
    ],
)
def test_what_cannot_be_held_is_refused(plan_of, target, samplers, words):
    with pytest.raises(ConfigError, match=words):
        plan_of(one(target, samplers))


def test_the_held_settings_are_used_and_the_first_to_need_them_measures_them(
    x64, plan_of, tmp_path
):
    from lambda_hat_core.analysis.traceio import load_trace

    store = Store(tmp_path / "home")
    held, each = (plan_of(one(TARGET, sghmc(hold))) for hold in ("{from: last}", "null"))
    (trajectory,) = held.trajectories.values()
    make_trajectory(store, trajectory, quiet)
    for spec in held.targets.values():
        making.build_target(store, spec, quiet)
    first, _, last = held.runs.values()
    said = []
    found = making.sample_run(store, first, held.targets[first.target], said.append)
    assert store.is_complete("runs", last.id)
    assert any(f"are those of {last.id}" in line for line in said)
    of = outcomes.record(store, "runs", last.id)["info"]
    alone = next(iter(each.runs.values()))
    own = making.sample_run(store, alone, held.targets[first.target], quiet)
    used = found.record["info"]
    for name in ("step_size", "batch_size", "n_draws", "n_burn", "thin", "precond", "damping"):
        assert used[name] == of[name]
    assert own.record["info"]["step_size"] != of["step_size"]
    assert used["step_limited_by"] == "the config" and used["stopped_by"] == "length"
    traces = [load_trace(store.path("runs", run.id) / "trace.nc") for run in (first, last)]
    assert traces[0].loss.shape == traces[1].loss.shape
    row = making.analyse_run(store, first, held.targets[first.target], quiet).record
    assert row["n_draws"] == of["n_draws"] and row["llc"] is not None


def test_the_metric_is_that_of_the_other_checkpoint(x64, plan_of, tmp_path, monkeypatch):
    import numpy as np

    from lambda_hat_core import chains as sampling
    from lambda_hat_core.work import holding

    store = Store(tmp_path / "home")
    held = plan_of(one(TARGET, sghmc("{from: last}")))
    (trajectory,) = held.trajectories.values()
    make_trajectory(store, trajectory, quiet)
    for spec in held.targets.values():
        making.build_target(store, spec, quiet)
    seen, build = [], sampling.build

    def watched(*args, **rest):
        seen.append(np.asarray(rest["spectrum"].theta))
        return build(*args, **rest)

    monkeypatch.setattr(sampling, "build", watched)
    holding._metric.cache_clear()
    first, second, _ = held.runs.values()
    for run in (first, second):
        making.sample_run(store, run, held.targets[run.target], quiet)
    assert len(seen) == 3
    np.testing.assert_array_equal(seen[1], seen[0])
    np.testing.assert_array_equal(seen[2], seen[0])


def test_a_metric_that_a_run_went_on_in_is_held_with_the_step_size_of_it(
    plan_of, tmp_path, monkeypatch
):
    """A large network whose run left the product basis: `auto` would take that one again."""
    from lambda_hat_core.work import holding

    plan = plan_of(one(TARGET, sghmc("{from: last}")))
    first, *_, last = plan.runs.values()
    info = {"step_size": 0.3, "precond": "lanczos", "thin": 12, "damping": 5.0, "alpha": 0.1}
    monkeypatch.setattr(Store, "read_json", lambda *args: {"failure": None, "info": info})
    monkeypatch.setattr(holding, "_metric", lambda root, run: None)
    run, _ = holding.held(Store(tmp_path / "home"), first, last)
    assert {name: getattr(run.sampler, name) for name in info} == info


def test_the_metric_of_a_run_that_left_a_product_basis_is_that_of_its_last_attempt(
    x64, plan_of, tmp_path, monkeypatch
):
    """The few pairs beside the factors would not do for the metric of pairs."""
    from lambda_hat_core import sample
    from lambda_hat_core.work import holding

    store = Store(tmp_path / "home")
    plan = plan_of(one(TARGET, sghmc("{from: last}")))
    (trajectory,) = plan.trajectories.values()
    make_trajectory(store, trajectory, quiet)
    *_, last = plan.runs.values()
    making.build_target(store, plan.targets[last.target], quiet)
    making.sample_run(store, last, plan.targets[last.target], quiet)
    monkeypatch.setattr(sample, "metric_source", lambda posterior, run: run.sampler.precond)
    holding._metric.cache_clear()
    assert last.sampler.precond == "auto"
    assert holding._metric(store.root, last.id) == "lanczos"
    holding._metric.cache_clear()


def test_settings_of_a_run_that_failed_are_not_held(x64, plan_of, tmp_path, monkeypatch):
    from lambda_hat_core.work import holding

    store = Store(tmp_path / "home")
    plan = plan_of(one(TARGET, sghmc("{from: last}")))
    first, *_, last = plan.runs.values()
    record = {"failure": "it diverged", "info": {}}
    monkeypatch.setattr(Store, "read_json", lambda *args: record)
    with pytest.raises(ValueError, match=f"held from {last.id}, which failed"):
        holding.held(store, first, last)
