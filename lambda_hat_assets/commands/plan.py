"""Show what an experiment would run, what exists already, and a forecast of the remaining work."""

import argparse
from collections import Counter
from typing import NamedTuple

from lambda_hat_assets.commands import CONFIG, default_experiment, open_store
from lambda_hat_core.analysis.words import short
from lambda_hat_core.config.spec import Trajectory
from lambda_hat_core.store.store import Store

_MOST_ROWS = 60


class Standing(NamedTuple):
    """The state of an artifact in the store, and the reason if it could not be made."""

    word: str
    reason: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `plan`."""
    parser.add_argument("experiment", nargs="?", default=default_experiment())
    parser.add_argument("changes", nargs="*", metavar="key=value", help="changes to the file")
    parser.add_argument("--all", action="store_true", help=f"list more than {_MOST_ROWS} rows")


def run(args: argparse.Namespace) -> int:
    """Print trainings whose checkpoints are targets, targets, runs and totals."""
    from lambda_hat_core.plan.plan import load_plan
    from lambda_hat_core.store import sql
    from lambda_hat_core.work.forecast import forecast, history

    plan = load_plan(args.experiment, CONFIG, args.changes)
    store = open_store()
    if not sql.is_fresh(store):
        sql.refresh(store)
    known = history(store)
    if plan.trajectories:
        trained = [
            (id, _training_state(store, want), f"{len(want.steps)} to {want.steps[-1]}")
            for id, want in plan.trajectories.items()
        ]
        rows_of = [(id, s.word, steps, plan.labels[id]) for id, s, steps in trained]
        _table(["training", "state", "steps", "what"], rows_of, args.all)
    targets = [(id, _target_state(store, id), plan.labels[id]) for id in plan.targets]
    _table(["target", "state", "what"], [(t, s.word, w) for t, s, w in targets], args.all)
    rows, left, counted = [], 0.0, Counter(state.word for _, state, _ in targets)
    seconds: list[float | None] = []
    for id, spec in plan.runs.items():
        state = _run_state(store, id)
        cost = forecast(spec, plan.targets[spec.target], known)
        counted[f"run {state.word}"] += 1
        if state.word != "exists":
            left += cost.fge
            seconds.append(cost.seconds)
        what = plan.labels[id].removesuffix(f" on {plan.labels[spec.target]}")
        rows.append((id, spec.target, state.word, _about(cost.fge), what))
    _table(["run", "target", "state", "FGE", "what"], rows, args.all)
    for id, state, _ in targets:
        if state.reason:
            print(f"{id} failed at the last attempt: {state.reason}")
    print(
        f"{plan.experiment}: {len(targets)} targets, {counted['exists']} exist; "
        f"{len(rows)} runs, {counted['run exists']} exist; store {store.root}"
    )
    time = _time(seconds)
    print(
        f"left: about {_about(left)} full-gradient evaluations{time}"
        if seconds
        else "nothing is left to do"
    )
    return 0


def _training_state(store: Store, wanted: Trajectory) -> Standing:
    from lambda_hat_core.store import failures
    from lambda_hat_core.work.steps import missing_steps

    missing = missing_steps(store, wanted)
    if not missing:
        return Standing("exists")
    if len(missing) < len(wanted.steps):
        return Standing(f"{len(missing)} steps missing")
    return Standing("failed" if failures.read_failure(store, wanted.id) else "missing")


def _target_state(store: Store, id: str) -> Standing:
    from lambda_hat_core.store import failures

    if store.is_complete("targets", id):
        return Standing("exists")
    reason = failures.read_failure(store, id)
    return Standing("failed", reason) if reason else Standing("missing")


def _run_state(store: Store, id: str) -> Standing:
    from lambda_hat_core.store import failures

    if store.is_complete("analyses", id) and store.is_complete("runs", id):
        return Standing("exists")
    if store.is_complete("runs", id):
        return Standing("sampled")
    return Standing("failed" if failures.failure_path(store, id).exists() else "missing")


def _table(names: list[str], rows: list[tuple[str, ...]], everything: bool) -> None:
    from lambda_hat_core.store import sql

    shown = rows if everything else rows[:_MOST_ROWS]
    print(sql.show(sql.Table(names, list(shown)), longest=100))
    if len(shown) < len(rows):
        print(f"... {len(rows) - len(shown)} more; --all lists them")
    print()


def _about(fge: float) -> str:
    """Return a forecast as text with two significant digits."""
    return short(float(f"{fge:.2g}"))


def _time(seconds: list[float | None]) -> str:
    """Return the remaining time as text; runs without a forecast count as much as the mean."""
    known = [value for value in seconds if value is not None]
    if not known:
        return "; no similar run in the store shows how long they take"
    total = sum(known) * len(seconds) / len(known)
    return f", about {total:.0f} s sequentially, estimated from similar runs"
