"""Run an experiment without Dagster, with the same store, ids and results."""

import argparse
import os
import sys
import threading
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from lambda_hat_assets.cards.card import Card
from lambda_hat_assets.cards.file import DEFAULT, load_card
from lambda_hat_assets.commands import CONFIG, default_experiment, open_store
from lambda_hat_assets.compute.orders import missing_runs, missing_targets, missing_trajectories
from lambda_hat_assets.compute.plain import Listener, make
from lambda_hat_core.config.errors import Place
from lambda_hat_core.gallery.members import Gallery, changed_name, gallery_of
from lambda_hat_core.plan.plan import Plan, load_plan
from lambda_hat_core.plan.read import files_of, resolve_experiment
from lambda_hat_core.samplers.telling import silent
from lambda_hat_core.store.store import Store
from lambda_hat_core.work.client import Event
from lambda_hat_core.work.endings import end_by_signals

_SECONDS_BETWEEN_LINES = 5.0
_SUMMARY = """SELECT substr(label, strpos(label, ' on ') + 4) AS target,
left(label, strpos(label, ' on ') - 1) AS run, llc, llc_se, llc_oracle, llc_known, verdict,
work_fge, wall_s, reasons, run_id
FROM (SELECT DISTINCT ON (run_id) * REPLACE (
    coalesce(label, concat_ws(' ', sampler, flavour, dtype) || ' on ' || target_id) AS label
) FROM llc WHERE run_id IN ({}))
ORDER BY target_id, sampler, run_id"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `run`."""
    parser.add_argument("experiment", nargs="?", default=default_experiment())
    parser.add_argument(
        "changes",
        nargs="*",
        metavar="key=value",
        help="changes to the file, such as posterior.gamma=5 or samplers.sgld.n_draws=500",
    )


def run(args: argparse.Namespace) -> int:
    """Compute what is missing, draw the gallery and print the table.

    Returns:
        Exit code 1 if anything failed, otherwise 0.
    """
    from lambda_hat_core.store import experiments, sql
    from lambda_hat_core.store.damaged import commands_records, damaged, left_out

    plan = load_plan(args.experiment, CONFIG, args.changes)
    card = _local_card()
    store = open_store()
    unread = damaged(commands_records(store))
    for path in unread:
        print(left_out(path), file=sys.stderr)
    members = [(spec.target, id) for id, spec in plan.runs.items()]
    experiments.write_experiment(store, plan.experiment, members, add=bool(args.changes))
    gallery = _gallery(plan, args.changes)
    if not args.changes or _is_known(args.experiment, plan.experiment):
        experiments.write_asked(store, gallery.experiment, plan.experiment, args.changes)
    sql.refresh(store)
    left = len(missing_targets(store, plan)) + len(missing_runs(store, plan))
    total = len(plan.targets) + len(plan.runs)
    print(
        f"{plan.experiment}: {len(plan.targets)} targets and {len(plan.runs)} runs, "
        f"{total - left} exist",
        flush=True,
    )
    end_by_signals(silent)
    trainings = len(missing_trajectories(store, plan))
    with _listener(left + trainings) as listener:
        failures, not_drawn = make(store, card, plan, gallery, listener)
    for id, reason in failures.items():
        print(f"{id} failed: {reason}")
    failed = _summary(store, plan, unread)
    page = store.path("galleries", gallery.id) / "index.html"
    print(f"the gallery could not be made: {not_drawn}" if not_drawn else page)
    return int(failed or not_drawn is not None)


def _is_known(given: str, name: str) -> bool:
    """Return whether `compare` and the graph find the file of an experiment under its name."""
    file, known = resolve_experiment(given, CONFIG), files_of(CONFIG, "experiment").get(name)
    return file.stem == name and known is not None and known.samefile(file)


def _local_card() -> Card:
    """Return the card that LAMBDA_HAT_CARD selects.

    Raises:
        ConfigError: if it sends payloads to SLURM, which needs Dagster.
    """
    card = load_card(os.environ.get("LAMBDA_HAT_CARD", DEFAULT), CONFIG)
    if card.slurm:
        rule = "`lambda-hat run` computes on this machine only, but the card says slurm"
        way_out = "run `dagster job execute -j llc`, or choose a local card by LAMBDA_HAT_CARD"
        raise Place("card", "tags").error(rule, way_out)
    return card


def _summary(store: Store, plan: Plan, named: Collection[Path]) -> bool:
    """Print the table and the damaged files not yet named; return if any run has no estimate."""
    from lambda_hat_core.store import sql
    from lambda_hat_core.store.damaged import left_out

    ids = ", ".join(f"'{id}'" for id in plan.runs)
    table = sql.query(store, _SUMMARY.format(ids))
    for path in table.left_out:
        if path not in named:
            print(left_out(path), file=sys.stderr)
    print(sql.show(table))
    verdict = table.names.index("verdict")
    return sum(row[verdict] != "failed" for row in table.rows) < len(plan.runs)


def _gallery(plan: Plan, changes: list[str]) -> Gallery:
    """Return the gallery to draw; an experiment with changed values has a separate page."""
    gallery = gallery_of(plan)
    if not changes:
        return gallery
    name = changed_name(plan.experiment, changes)
    return gallery.model_copy(update={"experiment": name})


def _listener(total: int) -> "Bars | LineListener":
    """Return a display of the progress of `total` keys: bars in a terminal, otherwise lines."""
    from rich.console import Console

    console = Console()
    return Bars(total, console) if console.is_terminal else LineListener(total)


class LineListener(Listener):
    """Prints lines of progress, for logs and pipes."""

    def __init__(self, total: int):
        self._total, self._done = total, 0
        self._lock = threading.Lock()
        self._last: dict[str, float] = {}

    def __enter__(self) -> "LineListener":
        if self._total:
            print("setting up: a process starts, and compiles what it computes", flush=True)
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def heard(self, key: str, event: Event) -> None:
        """Print a worker's log line, at most one per key every few seconds."""
        now = time.monotonic()
        with self._lock:
            if event["event"] != "log" or now - self._last.get(key, 0) < _SECONDS_BETWEEN_LINES:
                return
            self._last[key] = now
            print(f"{key} {event['message']}", flush=True)

    def ended(self, key: str, failure: str | None) -> None:
        """Count a key, and print how it ended."""
        with self._lock:
            self._done += 1
            word = "failed" if failure else "done"
            print(f"{key} {word} ({self._done} of {self._total})", flush=True)


class Bars(Listener):
    """Shows a bar for the whole experiment and one for each key that is being made."""

    def __init__(self, total: int, console: Any):
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
        )

        self._progress = Progress(
            TextColumn("{task.description:<28}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=console,
        )
        self._all = self._progress.add_task("trainings, targets, runs", total=total, note="")
        self._bars: dict[str, Any] = {}

    def __enter__(self) -> "Bars":
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def heard(self, key: str, event: Event) -> None:
        """Update the bar of a key."""
        if key not in self._bars:
            self._bars[key] = self._progress.add_task(key, total=None, note="")
        bar = self._bars[key]
        if event["event"] == "progress":
            llc = event.get("llc")
            note = "" if llc is None else f"llc {llc:.4g}"
            self._progress.update(bar, completed=event["done"], total=event["total"], note=note)
        elif event["event"] == "log":
            self._progress.update(bar, note=event["message"][:60])

    def ended(self, key: str, failure: str | None) -> None:
        """Remove the bar of a key, count the key, and print the reason if it failed."""
        if key in self._bars:
            self._progress.remove_task(self._bars.pop(key))
        if failure:
            self._progress.console.print(f"{key} failed: {failure}", markup=False, highlight=False)
        self._progress.advance(self._all)
