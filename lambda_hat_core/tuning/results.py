"""The results of a study: its rows for SQL, and the best settings as a preset."""

import json
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.trial import FrozenTrial, TrialState

from lambda_hat_core.plan.study import Study, TunedPosterior
from lambda_hat_core.store import files, records
from lambda_hat_core.store.store import Store
from lambda_hat_core.tuning.search import TrialOutcome, outcome_of

TRIALS, REFERENCE = "trials.parquet", "reference.json"


def rows(
    trials: list[FrozenTrial], study: Study, problem: TunedPosterior, reference: float | None
) -> list[records.Row]:
    """Return one row per trial, including running ones; `run_id` lists its runs, one per seed."""
    return [_row(trial, study, problem, reference) for trial in trials]


def _row(
    trial: FrozenTrial, study: Study, problem: TunedPosterior, reference: float | None
) -> records.Row:
    outcome = outcome_of(trial)
    facts: dict[str, Any] = {} if outcome is None else outcome._asdict()
    ids = facts.pop("run_ids", None)
    return facts | {
        "study": study.spec.id,
        "problem": problem.name,
        "method": study.method,
        "number": trial.number,
        "state": trial.state.name.lower().replace("fail", "failed"),
        "parameters": json.dumps(trial.params, sort_keys=True),
        "llc_ref": reference,
        "run_id": None if ids is None else " ".join(ids),
    }


def write_trials(
    store: Store,
    handle: optuna.Study,
    study: Study,
    problem: TunedPosterior,
    reference: float | None,
) -> Path:
    """Write trials.parquet with the current trials of a study."""
    path = store.path("tuning", study.spec.id) / TRIALS
    found = rows(handle.get_trials(deepcopy=False), study, problem, reference)
    records.write("trials", found, path)
    return path


def summary(store: Store, study: Study, problem: TunedPosterior) -> dict[str, Any]:
    """Return a summary of a study from its trials.parquet, as plain values."""
    from pyarrow import parquet

    found = parquet.read_table(store.path("tuning", study.spec.id) / TRIALS).to_pylist()
    complete = [row for row in found if row["state"] == "complete"]
    best = min(complete, key=lambda row: (row["objective"], row["number"]), default={})
    path = best_path(store, study, problem)
    return {
        "trials": len(found),
        "pruned": sum(row["state"] == "pruned" for row in found),
        "failed": sum(row["state"] == "failed" for row in found),
        "work_fge": sum(row["work_fge"] or 0.0 for row in found),
        "best_trial": best.get("number"),
        "preset": str(path) if path.exists() else None,
        **{name: best.get(name) for name in ("objective", "parameters", "llc", "llc_ref", "v_m")},
    }


def best_of(handle: optuna.Study) -> tuple[FrozenTrial, TrialOutcome] | None:
    """Return the complete trial with the lowest objective, the first one of equals, or None."""
    complete = handle.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    found = min(complete, key=lambda trial: (trial.value, trial.number), default=None)
    outcome = None if found is None else outcome_of(found)
    return None if found is None or outcome is None else (found, outcome)


def best_path(store: Store, study: Study, problem: TunedPosterior) -> Path:
    """Return the path of the preset of a study's best trial."""
    return store.root / "best" / problem.name / f"{study.method}.yaml"


def write_best(
    store: Store, handle: optuna.Study, study: Study, problem: TunedPosterior, note: str
) -> Path | None:
    """Write the best trial's settings as a sampler preset; None if no trial is complete.

    Args:
        store: gets best/<problem>/<method>.yaml.
        handle: the Optuna study.
        study: the plan of the study.
        problem: the problem that was used for tuning.
        note: one line about the reference.
    """
    best = best_of(handle)
    if best is None:
        return None
    trial, outcome = best
    settings = {"kind": study.spec.method.kind, **_written(study), **trial.params}
    head = [
        f"{study.method} tuned on {problem.name}: {problem.label}",
        f"objective {_words(study)} = {outcome.objective:.4g}, trial {trial.number} of "
        f"{len(handle.get_trials(deepcopy=False))} of {study.spec.id}, {study.spec.dtype}",
        note,
    ]
    path = best_path(store, study, problem)
    text = "".join(f"# {line}\n" for line in head) + yaml.safe_dump(settings, sort_keys=False)
    files.write_atomic(path, text)
    return path


def _written(study: Study) -> dict[str, Any]:
    """Return the preset's settings that differ from the sampler's defaults."""
    return study.preset.model_dump(mode="json", exclude_defaults=True, exclude={"kind"})


def _words(study: Study) -> str:
    objective = study.spec.objective
    return f"{objective.type} with cost" if objective.cost else objective.type
