"""A complete study, from its reference to its preset, as assets and benchmarks run it."""

from collections.abc import Callable
from typing import NamedTuple

import optuna
from optuna.trial import FrozenTrial

from lambda_hat_core.plan.study import TunePlan
from lambda_hat_core.store import files, sql
from lambda_hat_core.store.store import Store
from lambda_hat_core.tuning import reference as references
from lambda_hat_core.tuning import results
from lambda_hat_core.tuning.optimiser import open_study
from lambda_hat_core.tuning.payloads import Runner
from lambda_hat_core.tuning.reference import Reference
from lambda_hat_core.tuning.search import Search, TrialOutcome

Say = Callable[[str], None]


class Conducted(NamedTuple):
    """The result of a study.

    Attributes:
        study: its id.
        handle: the Optuna study.
        reference: the reference that it was compared with, if its objective needs one.
        preset: the path of the best settings; None if no trial is complete.
    """

    study: str
    handle: optuna.Study
    reference: Reference | None
    preset: str | None


def conduct(
    store: Store,
    plan: TunePlan,
    id: str,
    runner: Runner,
    slots: int,
    say: Say,
    *,
    journal: bool = False,
) -> Conducted:
    """Run a study until it has the planned number of trials, and write its results.

    Args:
        store: the store for results.
        plan: the plan that contains the study and its problem.
        id: the id of the study.
        runner: executes the runs of trials.
        slots: number of trials that run at the same time.
        say: called with each line of progress.
        journal: whether to store the study as a journal, for file systems that several machines
            share.

    Raises:
        ValueError: if the objective needs a reference that is not certified and the plan does not
            allow that, or if the target cannot be made.
    """
    study = plan.studies[id]
    problem = plan.problems[study.problem]
    settings = plan.settings
    folder = store.path("tuning", id)
    found, note = None, "needs no reference"
    if study.spec.objective.needs_reference:
        budget = settings.budget.reference_sec
        found = references.certify(store, problem, runner, budget, say)
        note = _accepted(found, problem.name, settings.reference.allow_uncertified)
    runner.build(problem.target)
    with store.lease("tuning", id, say):
        earlier = references.read(store, id)
        if earlier is not None and found is not None and earlier.run_id != found.run_id:
            say(f"{plan.label(id)}: the reference has changed, so its trials start again")
            files.remove(folder)
        handle = open_study(folder, id, journal=journal)
        files.write_atomic(folder / "spec.json", study.spec.model_dump_json(indent=1))
        if found is not None:
            references.write(store, id, found)
        llc = None if found is None else found.llc

        def told(trial: FrozenTrial, outcome: TrialOutcome) -> None:
            results.write_trials(store, handle, study, problem, llc)
            say(f"{plan.label(id)}: {_line(trial, outcome)}")

        search = Search(handle, study.spec, problem.target, llc, runner, slots, told)
        search.run(settings.max_trials_per_method)
        results.write_trials(store, handle, study, problem, llc)
        preset = results.write_best(store, handle, study, problem, note)
        from lambda_hat_core.tuning.figures import draw

        draw(handle, plan.label(id), llc, folder / "figures")
    if not sql.is_fresh(store):
        sql.refresh(store)
    return Conducted(id, handle, found, None if preset is None else str(preset))


def _accepted(found: Reference, name: str, allow_uncertified: bool) -> str:
    """Return a sentence about the reference, or raise an error if it is not acceptable."""
    if found.certified:
        return f"reference {found.words()} ({found.run_id})"
    if found.llc is None or not allow_uncertified:
        raise ValueError(
            f"the reference of {name} is not certified ({'; '.join(found.reasons)}): raise "
            "budget.reference_sec, choose objective.type certificate, which needs none, or accept "
            "it with reference.allow_uncertified: true"
        )
    return f"UNCERTIFIED reference {found.words()} ({found.run_id})"


def _line(trial: FrozenTrial, outcome: TrialOutcome) -> str:
    params = ", ".join(f"{name} {_short(value)}" for name, value in trial.params.items())
    if outcome.state == "complete":
        came = f"objective {outcome.objective:.4g}, llc {outcome.llc:.4g}"
    else:
        came = f"{outcome.state}: {outcome.reason}"
    return f"trial {trial.number}: {params}: {came}"


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
