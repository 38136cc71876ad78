"""Pools: as many payloads of a dtype at once as the card says, over everything that runs.

The job, runs of the UI and backfills share Dagster's history, and with it the slots of its pools.
A slot is given back by the process that holds it; one that was killed cannot, and is reaped.
"""

import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext
from sqlalchemy.exc import IntegrityError

from lambda_hat_assets.assets.common import Routing
from lambda_hat_assets.card import Card
from lambda_hat_core import process
from lambda_hat_core.config.samplers import Dtype

OWNER_TAG = "lambda_hat/process"
"""On runs: which process they live and die with."""

LOOK = 30.0
"""Seconds between two looks for runs whose process is gone."""

_UNFINISHED = [
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_DTYPES: tuple[Dtype, ...] = ("float32", "float64")


def set_limits(instance: dg.DagsterInstance, card: Card) -> None:
    """Give each dtype's pool the card's number of slots."""
    storage = instance.event_log_storage
    limits = {pool.name: pool.limit for pool in storage.get_pool_limits()}
    for dtype in _DTYPES:
        pool, slots = Routing(dtype).pool, card.tag(dtype).slots
        if limits.get(pool) != slots:
            try:
                storage.set_concurrency_slots(pool, slots)
            except IntegrityError:
                # Another job has made the row since it was looked for; now it can be changed.
                storage.set_concurrency_slots(pool, slots)


def owner(pid: int) -> str:
    """Return what tells a process of this machine from every other one, ever."""
    return f"{process.host()}-{pid}-{process.start_time(pid)}"


def own(context: dg.OpExecutionContext | dg.AssetExecutionContext, pid: int | None = None) -> None:
    """Note which process a run lives and dies with, by default this one."""
    if OWNER_TAG not in context.run.tags:
        mine = owner(os.getpid() if pid is None else pid)
        context.instance.add_run_tags(context.run.run_id, {OWNER_TAG: mine})


def executor_pid() -> int | None:
    """Return the process in which an executor runs that gave this step a process of its own."""
    parent = multiprocessing.parent_process()
    return None if parent is None else parent.pid


def reap(instance: dg.DagsterInstance) -> int:
    """End the runs whose process was killed, so that they neither count nor hold a slot."""
    ghosts = [
        record.dagster_run
        for record in instance.get_run_records(dg.RunsFilter(statuses=_UNFINISHED))
        if _is_ghost(record.dagster_run.tags.get(OWNER_TAG, ""))
    ]
    for run in ghosts:
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
        instance.report_run_failed(run, "its process is gone")
    return len(ghosts)


@contextmanager
def reaping(instance: dg.DagsterInstance, every: float = LOOK) -> Iterator[None]:
    """Reap now and then, lest a step wait for ever for a slot that a dead process holds."""
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


def _is_ghost(tag: str) -> bool:
    host, _, rest = tag.partition("-")
    pid, _, started = rest.partition("-")
    return host == process.host() and not process.alive(int(pid), started)


def _seconds_to_next_claim(self: InstanceConcurrencyContext) -> float:
    """Return how long a waiting step may sleep.

    Dagster's own method takes the smaller of this and 0, so that a run in one process spends a
    whole core on waiting.
    """
    ready = self._pending_timeouts.values()
    return max(0.0, min(ready, default=0.0) - time.time())


InstanceConcurrencyContext.interval_to_next_pending_claim_check = _seconds_to_next_claim
