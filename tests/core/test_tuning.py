import json
import math
import signal
import subprocess
import sys
from wsgiref.util import setup_testing_defaults

import pytest

from lambda_hat_core.config.data import NoData
from lambda_hat_core.config.model import Quadratic
from lambda_hat_core.config.spec import TargetSpec
from lambda_hat_core.config.study import Objective, StudySpec
from tests.core.tuning_fakes import TRUTH, FakeRunner

TARGET = TargetSpec(model=Quadratic(d=3), data=NoData())
SPACE = {
    "step_fraction": {"dist": "float", "low": 0.05, "high": 3.5, "log": True},
    "thin": {"dist": "int", "low": 1, "high": 8},
    "precond": {"dist": "categorical", "choices": ["lanczos", "rmsprop"]},
}


def study_spec(**changes):
    fields = {
        "target": "tgt_000000000000",
        "posterior": {"loss": "own"},
        "reference": "problem_000000000000",
        "method": {"kind": "sgld", "n_draws": 400, "n_burn": 100, "thin": 4},
        "dtype": "float32",
        "seed": 0,
        "seeds_per_trial": 2,
        "objective": {"type": "abs"},
        "sampler": {"n_startup_trials": 4},
        "pruner": {"n_startup_trials": 3},
        "batch_size": 3,
        "search_space": SPACE,
        "trial_sec": 60.0,
    }
    return StudySpec.model_validate(fields | changes)


def conducted(folder, runner, spec, n_trials=14, slots=2, reference=TRUTH, **options):
    """Return the study after `n_trials`, and the trials that were reported."""
    from lambda_hat_core.tuning.optimiser import open_study
    from lambda_hat_core.tuning.search import Search

    told = []
    study = open_study(folder, spec.id, **{"journal": True, **options})
    search = Search(study, spec, TARGET, reference, runner, slots, lambda *pair: told.append(pair))
    search.run(n_trials)
    return study, told


def facts(study):
    """Return everything that must not depend on timing."""
    from lambda_hat_core.tuning.search import outcome_of

    return [
        (t.number, t.state.name, t.params, t.value, t.intermediate_values, outcome_of(t).work_fge)
        for t in study.trials
    ]


MEASURED = [(10.5, 0.1, 1.05, 100.0), (9.7, 0.3, 0.97, 300.0)]


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        ({"type": "abs"}, (0.5 + 0.3) / 2),
        ({"type": "huber", "delta": 0.4}, (0.4 * (0.5 - 0.2) + 0.3**2 / 2) / 2),
        ({"type": "certificate"}, (math.log(1.05) + 0.1 - math.log(0.97) + 0.3) / 2),
        ({"type": "abs", "cost": True}, 0.4 + (0.1**2 + (0.01 + 0.09) / 2) * 200),
        (
            {"type": "certificate", "cost": True},
            (math.log(1.05) + 0.1 - math.log(0.97) + 0.3) / 2
            + ((10.1 * math.log(1.05 * 0.97) / 2) ** 2 + 0.05) * 200,
        ),
    ],
)
def test_objectives(objective, expected):
    from lambda_hat_core.tuning.objectives import Measured, value

    reference = None if objective["type"] == "certificate" else 10.0
    runs = [Measured(*numbers) for numbers in MEASURED]
    assert value(Objective(**objective), runs, reference) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("run", "reference", "said"),
    [
        ((None, None, None, 1.0), 10.0, "the llc could not be computed"),
        ((1.0, 0.1, 1.0, 1.0), None, "needs a reference"),
        ((math.nan, 0.1, 1.0, 1.0), 10.0, "the objective is nan"),
    ],
)
def test_an_objective_with_missing_numbers_says_so(run, reference, said):
    from lambda_hat_core.tuning.objectives import Measured, value

    with pytest.raises(ValueError, match=said):
        value(Objective(), [Measured(*run)], reference)


@pytest.mark.parametrize("v_m", [None, -0.1])
def test_a_certificate_without_v_m_says_so(v_m):
    from lambda_hat_core.tuning.objectives import Measured, value

    with pytest.raises(ValueError, match="V_M"):
        value(Objective(type="certificate"), [Measured(1.0, 0.1, v_m, 1.0)], None)


def test_a_study_finds_the_least_biased_step(tmp_path):
    from lambda_hat_core.tuning.results import best_of

    study, told = conducted(tmp_path, FakeRunner(), study_spec(), n_trials=24)
    best, outcome = best_of(study)
    assert [trial.number for trial, _ in told] == list(range(24))
    assert study.trials[0].params == {"step_fraction": 0.3, "thin": 4, "precond": "lanczos"}
    assert best.params["step_fraction"] < 0.07
    assert (
        outcome.objective == best.value == pytest.approx(4 * best.params["step_fraction"] + 0.005)
    )


def test_the_order_in_which_trials_end_changes_nothing(tmp_path):
    first, _ = conducted(tmp_path / "a", FakeRunner(), study_spec(), slots=1)
    second, _ = conducted(tmp_path / "b", FakeRunner(), study_spec(), slots=3)
    assert facts(first) == facts(second)


def test_sqlite_and_a_journal_hold_the_same_study(tmp_path):
    first, _ = conducted(tmp_path, FakeRunner(), study_spec(), n_trials=6)
    second, _ = conducted(tmp_path, FakeRunner(), study_spec(), n_trials=6, journal=False)
    assert facts(first) == facts(second)
    assert {path.name for path in tmp_path.iterdir()} == {"study.log", "study.db"}


@pytest.mark.parametrize("dies_after", [2, 30, 71, 107])
def test_a_kill_loses_no_trial_and_repeats_none(tmp_path, dies_after):
    whole, _ = conducted(tmp_path / "whole", FakeRunner(), study_spec())
    runner = FakeRunner(dies_after=dies_after)
    with pytest.raises(KeyboardInterrupt):
        conducted(tmp_path / "torn", runner, study_spec())
    finished = len(runner.ended)
    runner.left = math.inf
    torn, _ = conducted(tmp_path / "torn", runner, study_spec())
    assert facts(torn) == facts(whole)
    assert len(runner.ended) == len(set(runner.ended)) >= finished


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.core.test_tuning import conducted, study_spec
from tests.core.tuning_fakes import FakeRunner
folder = Path(sys.argv[1])
die = lambda: os.kill(os.getpid(), signal.SIGKILL)
conducted(folder, FakeRunner(dies_after=45, die=die, folder=folder), study_spec(), journal=False)
"""


def test_kill_9_and_the_same_command_again(tmp_path):
    whole, _ = conducted(tmp_path, FakeRunner(), study_spec())
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    ended = (tmp_path / "ended.txt").read_text().split()
    assert len(ended) >= 2
    torn, told = conducted(tmp_path, FakeRunner(folder=tmp_path), study_spec(), journal=False)
    assert facts(torn) == facts(whole)
    assert 0 < len(told) < len(whole.trials)
    again = (tmp_path / "ended.txt").read_text().split()
    assert again[: len(ended)] == ended and len(set(again)) == len(again)


def test_runs_that_exist_are_judged_like_new_ones(tmp_path):
    first, _ = conducted(tmp_path / "a", FakeRunner(), study_spec())
    full = FakeRunner()
    conducted(tmp_path / "b", full, study_spec(pruner={"type": "none"}), n_trials=30)
    full.begun.clear()
    again, _ = conducted(tmp_path / "c", full, study_spec())
    assert facts(again) == facts(first)
    assert len(full.begun) < 14


def test_more_trials_continue_a_study(tmp_path):
    whole, _ = conducted(tmp_path / "a", FakeRunner(), study_spec(), n_trials=12)
    conducted(tmp_path / "b", FakeRunner(), study_spec(), n_trials=7)
    rest, told = conducted(tmp_path / "b", FakeRunner(), study_spec(), n_trials=12)
    assert facts(rest) == facts(whole)
    assert [trial.number for trial, _ in told] == list(range(7, 12))


def test_pruned_trials_stop_early_and_leave_nothing(tmp_path):
    runner = FakeRunner()
    _, told = conducted(tmp_path, runner, study_spec(), n_trials=20)
    pruned = [outcome for _, outcome in told if outcome.state == "pruned"]
    assert len(pruned) >= 5
    assert all(
        outcome.work_fge < 4000 and "worse than half" in outcome.reason for outcome in pruned
    )
    assert not {id for outcome in pruned for id in outcome.run_ids[:1]} & set(runner.store)
    full = 4000.0 * len(told)
    assert sum(outcome.work_fge for _, outcome in told) < 0.8 * full


def test_without_a_pruner_none_is_pruned(tmp_path):
    _, told = conducted(tmp_path, FakeRunner(), study_spec(pruner={"type": "none"}))
    assert "pruned" not in {outcome.state for _, outcome in told}


def test_failures_are_recorded_with_their_reason(tmp_path):
    def fail(spec):
        return "out of memory" if spec.sampler.thin >= 6 else None

    _, told = conducted(tmp_path, FakeRunner(fail), study_spec(), n_trials=20)
    reasons = {outcome.reason for _, outcome in told if outcome.state == "failed"}
    assert reasons == {"out of memory", "not finite"}
    assert all(outcome.objective is None for _, outcome in told if outcome.state == "failed")


def test_the_time_budget_is_a_failure(tmp_path):
    _, told = conducted(tmp_path, FakeRunner(), study_spec(trial_sec=1e-9), n_trials=2)
    assert {outcome.reason for _, outcome in told} == {"the trial exceeded its 1e-09 s"}


def test_settings_that_are_proposed_twice_are_the_same_runs(tmp_path):
    space = {"precond": SPACE["precond"]}
    runner = FakeRunner()
    study, _ = conducted(tmp_path, runner, study_spec(search_space=space), n_trials=8, slots=1)
    assert len(runner.begun) == 4
    assert len({trial.value for trial in study.trials}) == 1


def test_rows_and_preset(tmp_path):
    from lambda_hat_core.plan.study import Study, TunedPosterior
    from lambda_hat_core.store import sql
    from lambda_hat_core.store.store import Store
    from lambda_hat_core.tuning import results

    spec = study_spec()
    store = Store(tmp_path)
    handle, _ = conducted(store.path("tuning", spec.id), FakeRunner(), spec, n_trials=10)
    study = Study(spec, "problem_000000000000", "mine", spec.method)
    problem = TunedPosterior("hill", None, None, "a hill")
    results.write_trials(store, handle, study, problem, TRUTH)
    path = results.write_best(store, handle, study, problem, "reference certified")
    assert path == tmp_path / "best" / "hill" / "mine.yaml"
    said = "select count(*), min(objective), any_value(problem), any_value(study) from trials"
    ((count, objective, name, study_id),) = sql.query(store, said).rows
    best, _ = results.best_of(handle)
    assert (count, objective, name, study_id) == (10, best.value, "hill", spec.id)
    rows = sql.query(store, "select parameters, run_id, state from trials order by number").rows
    assert json.loads(rows[0][0]) == handle.trials[0].params
    assert len(rows[0][1].split(" ")) == 2
    found = results.summary(store, study, problem)
    assert found["trials"] == 10 and found["objective"] == best.value
    assert found["preset"] == str(path)


def test_figures_are_drawn(tmp_path):
    from lambda_hat_core.tuning.figures import NAMES, draw

    study, _ = conducted(tmp_path, FakeRunner(), study_spec(), n_trials=14)
    paths = draw(study, "sgld on a hill", TRUTH, tmp_path / "figures")
    assert [path.stem for path in paths] == list(NAMES)
    assert all(path.stat().st_size > 2000 for path in paths)


def test_figures_of_a_study_without_results_say_so(tmp_path):
    from lambda_hat_core.tuning.figures import draw

    study, _ = conducted(tmp_path, FakeRunner(lambda spec: "no"), study_spec(), n_trials=2)
    assert len(draw(study, "sgld on a hill", None, tmp_path / "figures")) == 4


def test_optuna_dashboard_opens_the_same_database(tmp_path):
    from optuna_dashboard import wsgi

    conducted(tmp_path, FakeRunner(), study_spec(), n_trials=2, journal=False)
    app = wsgi(f"sqlite:///{tmp_path / 'study.db'}")
    environ = {"PATH_INFO": "/api/studies"}
    setup_testing_defaults(environ)
    said = []
    (body,) = app(environ, lambda status, *rest: said.append(status))
    (summary,) = json.loads(body)["study_summaries"]
    assert said == ["200 OK"] and summary["study_name"] == study_spec().id
