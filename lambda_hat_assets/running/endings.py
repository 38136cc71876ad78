"""How Dagster runs end: with the process that executes them, and as canceled if interrupted.

The process that executes a run, for `dagster job execute` or `dagster dev`, ends at the first
signal, after it has marked its run and the runs inside its steps as canceled. Steps in separate
processes ignore signals and end together with that process; workers end with the process that
started them. A process that was killed cannot mark its runs; the next command marks them as failed.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import dagster as dg

from lambda_hat_assets.running.console import HIDDEN, PARENT_TAG
from lambda_hat_core.store import process
from lambda_hat_core.work.endings import (
    INTERRUPTED,
    end_by_signals,
    end_with_ancestors,
)

OWNER_TAG = f"{HIDDEN}lambda_hat/process"
"""Tag of Dagster runs: the process that executes them, without which they cannot continue."""

LOOK = 30.0
"""Seconds between two checks for runs whose process has ended."""

_UNFINISHED = [
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]

Cancel = Callable[[str], None]
"""A function that takes the id of a Dagster run and ends its work on other machines."""


def ending(definition: dg.ExecutorDefinition, cancel: Cancel) -> dg.ExecutorDefinition:
    """Return an executor whose process ends as this module describes.

    Args:
        definition: the executor.
        cancel: called when a person terminates a run in the UI.
    """
    create = definition.executor_creation_fn
    assert create is not None
    return dg.ExecutorDefinition(
        definition.name,
        config_schema=definition.config_schema,  # pyright: ignore[reportArgumentType]
        requirements=definition.get_requirements,
        executor_creation_fn=lambda init: _Ending(create(init), cancel),
        description=definition.description,
    )


class _Ending(dg.Executor):
    """Records this process as the owner of the run, arranges its end, and executes the run."""

    def __init__(self, inner: dg.Executor, cancel: Cancel):
        self._inner, self._cancel = inner, cancel

    def execute(self, plan_context, execution_plan) -> Iterator[dg.DagsterEvent]:
        """Execute a plan."""
        instance, run_id = plan_context.instance, plan_context.run_id
        instance.add_run_tags(run_id, {OWNER_TAG: owner()})
        say_so = partial(_mark_canceled, instance, run_id, self._cancel)
        end_by_signals(say_so)
        end_with_ancestors(say_so)
        yield from self._inner.execute(plan_context, execution_plan)

    @property
    def retries(self):
        """Whether steps may be retried."""
        return self._inner.retries

    @property
    def step_dependency_config(self):
        """When a step may start."""
        return self._inner.step_dependency_config


def owner() -> str:
    """Return an id of this process that stays unique after a restart or if its pid is reused."""
    pid = os.getpid()
    return f"{process.host()}-{pid}-{process.start_time(pid)}"


def reap(instance: dg.DagsterInstance) -> int:
    """Mark runs whose process was killed as failed, free their slots, and return their number."""
    ghosts = [
        record.dagster_run
        for record in instance.get_run_records(dg.RunsFilter(statuses=_UNFINISHED))
        if _is_ghost(record.dagster_run.tags.get(OWNER_TAG, ""))
    ]
    for run in ghosts:
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
        instance.report_run_failed(run, "the process that executed it has ended")
    return len(ghosts)


@contextmanager
def reaping(instance: dg.DagsterInstance, every: float = LOOK) -> Iterator[None]:
    """Reap regularly during the context, so that no step waits for the slot of a dead process."""
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(every):
            reap(instance)

    reap(instance)
    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _mark_canceled(instance: dg.DagsterInstance, run_id: str, cancel: Cancel) -> None:
    """Mark a run and the runs inside its steps as canceled, and free their slots."""
    run = instance.get_run_by_id(run_id)
    if run is None or run.is_finished:
        return
    inside = instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED, tags={PARENT_TAG: run_id}))
    if run.status == dg.DagsterRunStatus.CANCELING:
        cancel(run_id)
    else:
        # Dagster may receive the same signal; it does not report a canceling run as failed.
        instance.report_run_canceling(run)
    for each in (*inside, run):
        instance.event_log_storage.free_concurrency_slots_for_run(each.run_id)
        instance.report_run_canceled(each, INTERRUPTED)


def _is_ghost(tag: str) -> bool:
    host, _, rest = tag.partition("-")
    pid, _, started = rest.partition("-")
    return host == process.host() and not process.alive(int(pid), started)
