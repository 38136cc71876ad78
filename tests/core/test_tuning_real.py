"""One small study with real workers, in which a pruned trial really stops."""

import os
from pathlib import Path

import yaml

from lambda_hat_assets.cards.environment import one_process

CONFIG = Path(__file__).parents[2] / "config"
LENGTHS = {"n_draws": 60, "n_burn": 20, "thin": 1}
EULER = {"precond": "none", "integrator": "euler", "extrapolate": False}
"""Of the integrators, the one whose bias grows with the step on a quadratic."""

FILE = {
    "problems": [{"name": "bowl", "model": {"kind": "quadratic", "d": 3}}],
    "methods": [{"name": "sgld", "dtype": "float64", "overrides": LENGTHS | EULER}],
    "objective": {"type": "certificate"},
    "max_trials_per_method": 6,
    "seeds_per_trial": 1,
    "concurrency": {"batch_size": 1},
    "pruner": {"n_startup_trials": 1},
    "search_space": {
        "sgld": {"step_fraction": {"dist": "categorical", "choices": [0.2, 3.9]}},
    },
}


def test_a_too_large_step_is_pruned_early_and_leaves_nothing(tmp_path):
    from lambda_hat_core.plan.study import load_tuning
    from lambda_hat_core.store import failures, sql
    from lambda_hat_core.store.store import Store
    from lambda_hat_core.tuning.conduct import conduct
    from lambda_hat_core.tuning.payloads import Payloads
    from lambda_hat_core.tuning.search import outcome_of, runs_of
    from lambda_hat_core.work.client import WorkerClient
    from lambda_hat_core.work.pool import Pool

    path = tmp_path / "tune.yaml"
    path.write_text(yaml.safe_dump(FILE))
    plan = load_tuning(path, CONFIG)
    (id,) = plan.studies
    store = Store(tmp_path / "runs")
    env = os.environ | one_process("float64", 1, os.environ["XLA_FLAGS"])
    with Pool(lambda dtype: WorkerClient(store.root, env=env), {"float64": 1}, 1) as pool:
        found = conduct(store, plan, id, Payloads(store, pool), 1, lambda line: None)
    outcomes = {trial.params["step_fraction"]: outcome_of(trial) for trial in found.handle.trials}
    cold, hot = outcomes[0.2], outcomes[3.9]
    assert (cold.state, hot.state) == ("complete", "pruned")
    assert hot.work_fge < 0.9 * cold.work_fge and hot.v_m > 2 * cold.v_m
    (run,) = runs_of(plan.studies[id].spec, {"step_fraction": 3.9})
    assert store.problem("runs", run.id) is not None and store.list("runs") == (*cold.run_ids,)
    assert failures.read_failure(store, run.id) is None
    assert yaml.safe_load(Path(found.preset).read_text())["step_fraction"] == 0.2
    states = sql.query(store, "select distinct state, reason is null from trials order by 1").rows
    assert states == [("complete", True), ("pruned", False)]
