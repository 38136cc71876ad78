"""A pool of worker processes. The future of a task yields the last event of the task.

A worker serves one dtype and is kept between tasks, so that it compiles each program once. The pool
assigns tasks to workers, retries failures of the machine (`retries`), asks the submitter at each
progress event whether the run should continue, and kills a worker that takes too long.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

from lambda_hat_core.config.samplers.base import Dtype
from lambda_hat_core.samplers.telling import silent
from lambda_hat_core.work.client import Event, WorkerClient
from lambda_hat_core.work.retries import insist

Steer = Callable[[Event], str | None]
"""A function that takes a progress event of a run, and returns a reason to stop it, or None."""

_GRACE = 2.0
"""Factor on the time limit of a task after which its worker is killed. Before that, `steer` can
stop the task at a progress event."""
_LEAST_GRACE = 60.0
"""Least number of seconds between the time limit of a task and the killing of its worker."""


class Task(NamedTuple):
    """Requests that one worker answers in order; the first that fails ends the task.

    Attributes:
        dtype: precision of the worker.
        requests: as `client.request` returns them.
        likeness: a worker prefers the task that has the most leading entries in common with its
            previous task, because similar tasks share compiled programs.
        hear: called with every event, in a thread of the pool.
        steer: called at every progress event; the text that it returns becomes the reason of a
            failure whose cause is "stopped".
        seconds: time limit. The worker is killed after twice this time or 60 s after it, whichever
            is later.
    """

    dtype: Dtype
    requests: tuple[Event, ...]
    likeness: tuple[str, ...] = ()
    hear: Callable[[Event], None] = silent
    steer: Steer | None = None
    seconds: float | None = None


class _Seat:
    """The place of one worker in the pool.

    Attributes:
        dtype: the dtype of the last task; None before the first task.
        likeness: the likeness of the last task.
        client: the worker; None until it is needed.
        serves: the dtype of the worker.
        is_busy: whether a task is being worked on.
    """

    def __init__(self) -> None:
        self.dtype: Dtype | None = None
        self.likeness: tuple[str, ...] = ()
        self.client: WorkerClient | None = None
        self.serves: Dtype | None = None
        self.is_busy = True


class Pool:
    """Workers that are started when they are needed and end with the pool.

    Args:
        start: returns a client for a dtype.
        limits: largest number of workers of each dtype at once.
        at_once: largest number of workers at once over both dtypes.
    """

    def __init__(
        self, start: Callable[[Dtype], WorkerClient], limits: Mapping[Dtype, int], at_once: int
    ):
        self._start, self._limits, self._at_once = start, limits, at_once
        self._changed = threading.Condition()
        self._queue: list[tuple[Task, Future[Event]]] = []
        self._seats: list[_Seat] = []
        self._closed = threading.Event()

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def submit(self, task: Task) -> "Future[Event]":
        """Return a future of the event "done" or "failed" that ends the task.

        Raises:
            RuntimeError: if the pool is closed.
        """
        future: Future[Event] = Future()
        with self._changed:
            if self._closed.is_set():
                raise RuntimeError("the pool of workers is closed; open another one")
            self._queue.append((task, future))
            idle = sum(not seat.is_busy for seat in self._seats)
            if len(self._queue) > idle and len(self._seats) < self._at_once:
                seat = _Seat()
                self._seats.append(seat)
                threading.Thread(target=self._serve, args=(seat,), daemon=True).start()
            self._changed.notify_all()
        return future

    def resize(self, at_once: int) -> None:
        """Change the largest number of workers; surplus workers end after their current task."""
        with self._changed:
            self._at_once = at_once
            self._changed.notify_all()

    def close(self) -> None:
        """Kill all workers immediately, and cancel the tasks that have not begun."""
        with self._changed:
            self._closed.set()
            waiting, self._queue = self._queue, []
            for seat in self._seats:
                if seat.client is not None:
                    seat.client.kill()
            self._changed.notify_all()
        for _, future in waiting:
            future.cancel()

    def _serve(self, seat: _Seat) -> None:
        while (picked := self._next(seat)) is not None:
            task, future = picked
            try:
                end = self._end_of(task, self._client(seat, task.dtype))
            except BaseException as error:
                self._release(seat)
                future.set_exception(error)
            else:
                future.set_result(end)
        self._release(seat)

    def _next(self, seat: _Seat) -> "tuple[Task, Future[Event]] | None":
        """Wait for the task that suits a worker best; return None if it is no longer needed."""
        with self._changed:
            seat.is_busy = False
            while not self._closed.is_set() and len(self._seats) <= self._at_once:
                mine = [pair for pair in self._queue if self._may_take(seat, pair[0])]
                if mine:
                    picked = max(mine, key=lambda pair: _in_common(seat, pair[0]))
                    self._queue.remove(picked)
                    if not picked[1].set_running_or_notify_cancel():
                        continue
                    seat.is_busy = True
                    seat.dtype, seat.likeness = picked[0].dtype, picked[0].likeness
                    # Workers that deferred to this one while it was idle may now take other tasks.
                    self._changed.notify_all()
                    return picked
                self._changed.wait()
            self._seats.remove(seat)
            self._changed.notify_all()
            return None

    def _may_take(self, seat: _Seat, task: Task) -> bool:
        """Return whether a worker may take a task, changing to the task's dtype if necessary."""
        if seat.dtype == task.dtype:
            return True
        others = [other for other in self._seats if other.dtype == task.dtype]
        is_waited_for = any(not other.is_busy for other in others)
        return not is_waited_for and len(others) < self._limits[task.dtype]

    def _client(self, seat: _Seat, dtype: Dtype) -> WorkerClient:
        if seat.client is not None and seat.serves == dtype:
            return seat.client
        self._release(seat)
        client = self._start(dtype)
        with self._changed:
            seat.client, seat.serves = client, dtype
            if self._closed.is_set():
                client.kill()
        return client

    def _release(self, seat: _Seat) -> None:
        with self._changed:
            client, seat.client = seat.client, None
        if client is not None:
            client.close()

    def _end_of(self, task: Task, client: WorkerClient) -> Event:
        """Return the event that ends a task."""
        end: Event = {"event": "done"}
        with _deadline(client, task.seconds) as late:

            def is_given_up() -> bool:
                return self._closed.is_set() or late.is_set()

            for line in task.requests:
                steered = line if task.steer is None else line | {"steered": True}
                ask = partial(_asked, client, steered, task.steer)
                for event in insist(ask, give_up=is_given_up, sleep=self._closed.wait):
                    end = event
                    task.hear(event)
                if end["event"] == "failed":
                    break
        if late.is_set() and end["event"] == "failed":
            allowed = _allowed(task.seconds or 0.0)
            end |= {"reason": f"killed: no chunk finished within {allowed:.0f} s"}
        return end


def _asked(client: WorkerClient, line: Event, steer: Steer | None) -> Iterator[Event]:
    """Yield the events of one request, and answer its progress events if it is steered."""
    why: str | None = None
    for event in client.run([line]):
        if steer is not None and event["event"] == "progress":
            why = steer(event)
            client.answer(go=why is None)
        if event["event"] == "failed" and event["cause"] == "stopped":
            event |= {"reason": why}
        yield event


def _in_common(seat: _Seat, task: Task) -> int:
    """Return how many leading entries of likeness a task shares with a worker's last task."""
    count = 0
    for mine, other in zip(seat.likeness, task.likeness, strict=False):
        if mine != other:
            break
        count += 1
    return count


def _allowed(seconds: float) -> float:
    return max(_GRACE * seconds, seconds + _LEAST_GRACE)


@contextmanager
def _deadline(client: WorkerClient, seconds: float | None) -> Iterator[threading.Event]:
    """Kill a worker when the time allowed for its task has passed, and set the yielded event."""
    late = threading.Event()
    if seconds is None:
        yield late
        return

    def kill() -> None:
        late.set()
        client.kill()

    timer = threading.Timer(_allowed(seconds), kill)
    timer.daemon = True
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()
