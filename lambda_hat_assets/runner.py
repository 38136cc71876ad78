"""Targets and runs without Dagster: a few warm workers take what is ready, until nothing is."""

import collections
import threading
from collections.abc import Iterable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from functools import partial
from typing import Protocol

from lambda_hat_assets.card import Card, LocalTag
from lambda_hat_assets.interrupts import Interrupts
from lambda_hat_assets.tasks import Task, unlike
from lambda_hat_core import records
from lambda_hat_core.config.samplers import Dtype
from lambda_hat_core.config.spec import RunSpec, TargetSpec
from lambda_hat_core.forecast import times, workers
from lambda_hat_core.retries import insist
from lambda_hat_core.store import Store
from lambda_hat_core.worker_client import Event, WorkerClient

_MOST_WORKERS = 2
_LOOK_EVERY = 0.2
"""Seconds between looks for a Ctrl-C."""
_LOOKED_AT = 20
"""Ready tasks among which one is sought that no other command is at work on."""


class Listener(Protocol):
    """Who is told what happens, from several threads."""

    def heard(self, task: Task, event: Event) -> None:
        """Take an event of a worker."""
        ...

    def ended(self, task: Task, failure: str | None) -> None:
        """Take the end of a task."""
        ...


class Runner:
    """Works off tasks with at most two worker processes, or fewer where the card says so.

    Args:
        store: where results go.
        card: environment and number of workers of each dtype.
        listener: told what happens.
    """

    def __init__(self, store: Store, card: Card, listener: Listener):
        self._store, self._card, self._listener = store, card, listener
        self._changed = threading.Condition()
        self._waiting: list[Task] = []
        self._active: list[Task] = []
        self._clients: set[WorkerClient] = set()
        self._afterwards: Event | None = None
        self._stopped = False
        self.failures: dict[str, str] = {}

    def run(self, tasks: Iterable[Task], afterwards: Event | None = None) -> dict[str, str]:
        """Return why tasks failed, by id; a failure stops only what depends on it.

        Args:
            tasks: what to make.
            afterwards: a request of any dtype, for the worker that is at its end last; the caller
                looks whether it was met.

        Raises:
            KeyboardInterrupt: after a Ctrl-C, when all workers have ended.
        """
        self._waiting = list(tasks)
        self._afterwards = afterwards
        targets = sum(isinstance(task.spec, TargetSpec) for task in self._waiting)
        at_once = max(1, targets, len(self._waiting) - targets)
        count = min(_MOST_WORKERS, self._card.slots, at_once)
        with Interrupts() as interrupts, ThreadPoolExecutor(count) as pool:
            try:
                working = [pool.submit(self._work) for _ in range(count)]
                _wait_for(working, interrupts)
            finally:
                self._stop()
        for future in working:
            future.result()
        return self.failures

    def _stop(self) -> None:
        """End what all threads do."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
            for client in self._clients:
                client.kill()

    def _work(self) -> None:
        client: WorkerClient | None = None
        last: Task | None = None
        while (task := self._next(last)) is not None:
            if client is None or last is None or task.dtype != last.dtype:
                self._release(client)
                client = self._client(task.dtype)
            last = task
            failure = self._made(client, task)
            with self._changed:
                self._active.remove(task)
                if failure is not None and not self._stopped:
                    self._failed(task, failure)
                self._changed.notify_all()
            self._listener.ended(task, failure)
        self._release(client)

    def _next(self, last: Task | None) -> Task | None:
        """Wait for a task that may start; one like the last goes first, its code is compiled."""
        with self._changed:
            while not self._stopped and self._waiting:
                if last is None and self._enough():
                    return None
                ready = sorted(self._ready(), key=lambda task: unlike(task, last))[:_LOOKED_AT]
                if ready:
                    task = next(filter(self._is_free, ready), ready[0])
                    self._waiting.remove(task)
                    self._active.append(task)
                    return task
                self._changed.wait()
            return None

    def _enough(self) -> bool:
        """Whether what is left is not worth the start of another worker."""
        runs = [task.spec for task in self._waiting if isinstance(task.spec, RunSpec)]
        building = any(
            isinstance(task.spec, TargetSpec) for task in (*self._waiting, *self._active)
        )
        if building or not self._clients:
            return False
        targets = {task.target.id: task.target for task in self._waiting}
        return workers(runs, times(self._store, runs, targets)) <= len(self._clients)

    def _ready(self) -> list[Task]:
        """Return the tasks whose target is there, and whose dtype has a free slot."""
        unbuilt = {task.id for task in (*self._waiting, *self._active)}
        at_once = collections.Counter(task.dtype for task in self._active)
        return [
            task
            for task in self._waiting
            if at_once[task.dtype] < self._tag(task.dtype).slots
            and (isinstance(task.spec, TargetSpec) or task.target.id not in unbuilt)
        ]

    def _is_free(self, task: Task) -> bool:
        """Whether no other command is at work on a task."""
        kind = "targets" if isinstance(task.spec, TargetSpec) else "runs"
        return not self._store.is_leased(kind, task.id)

    def _tag(self, dtype: Dtype) -> LocalTag:
        tag = self._card.tag(dtype)
        assert isinstance(tag, LocalTag), "the command refuses a card that says slurm"
        return tag

    def _client(self, dtype: Dtype) -> WorkerClient:
        tag = self._tag(dtype)
        client = WorkerClient(self._store.root, tag.argv(), tag.environment(dtype))
        with self._changed:
            self._clients.add(client)
            if self._stopped:
                client.kill()
        return client

    def _release(self, client: WorkerClient | None) -> None:
        """End a worker; the last one, when nothing is left to do, first takes what comes after."""
        if client is None:
            return
        with self._changed:
            left = self._stopped or self._waiting or self._active
            is_last = self._clients == {client} and not left
            if not is_last:
                self._clients.discard(client)
        if is_last and self._afterwards is not None:
            collections.deque(client.run([self._afterwards]), maxlen=0)
        with self._changed:
            self._clients.discard(client)
        client.close()

    def _made(self, client: WorkerClient, task: Task) -> str | None:
        """Return why a task failed; what may pass is tried again."""
        for line in task.requests():
            end: Event = {}
            ask = partial(client.run, [line])
            for event in insist(ask, give_up=lambda: self._stopped, sleep=self._pause):
                end = event
                self._listener.heard(task, event)
            if end["event"] == "failed":
                return end["reason"]
        return None

    def _pause(self, seconds: float) -> None:
        """Wait, but no longer than until everything is stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped, seconds)

    def _failed(self, task: Task, failure: str) -> None:
        """Note a failure, and that of the runs which can now never start."""
        self.failures[task.id] = failure
        if records.read_failure(self._store, task.id) != failure:
            records.write_failure(self._store, task.spec, failure)
        for other in [other for other in self._waiting if other.target.id == task.id]:
            self._waiting.remove(other)
            self._failed(other, f"its target {task.id} could not be built: {failure}")


def _wait_for(working: list["Future[None]"], interrupts: Interrupts) -> None:
    """Return when all threads have ended, one has raised, or somebody pressed Ctrl-C."""
    while not interrupts.seen:
        done, left = wait(working, _LOOK_EVERY, FIRST_EXCEPTION)
        if not left or any(future.exception() for future in done):
            return
