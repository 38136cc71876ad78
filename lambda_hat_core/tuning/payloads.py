"""Runs of trials in warm worker processes, which can be told to stop at the end of a chunk."""

import threading
import time
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from lambda_hat_core import records
from lambda_hat_core.config.samplers import Dtype
from lambda_hat_core.config.spec import RunSpec, TargetSpec
from lambda_hat_core.store import Kind, Store
from lambda_hat_core.tuning.replay import replay
from lambda_hat_core.worker_client import Event, WorkerClient, request

Steer = Callable[[Event], str | None]
"""Given a run's progress, returns why it is to stop, or None."""

_GRACE = 2.0
"""Share of its time after which a run that reached no end of a chunk is killed."""
_LEAST_GRACE = 60.0


class Ran(NamedTuple):
    """How one run ended.

    Attributes:
        status: `stopped` if it was steered to its end; it then left nothing in the store.
        record: the analysis, as `stages.record` returns it, of a run that is done.
        work_fge: full-gradient evaluations spent.
        wall_s: wall seconds of this call.
        reason: why it is not done.
        reused: whether the store had all of it.
    """

    status: Literal["done", "stopped", "failed"]
    record: dict[str, Any]
    work_fge: float
    wall_s: float
    reason: str | None = None
    reused: bool = False


@runtime_checkable
class Runner(Protocol):
    """Whoever runs trials; called from several threads."""

    def build(self, target: TargetSpec) -> None:
        """Make a target.

        Raises:
            ValueError: saying why it cannot be made.
        """
        ...

    def run(self, spec: RunSpec, target: TargetSpec, steer: Steer, seconds: float) -> Ran:
        """Sample and analyse, within some seconds."""
        ...


class Payloads:
    """Runs in warm workers of this machine, as many at once as there are callers.

    Args:
        store: where results go.
        worker: makes the client of a dtype.
    """

    def __init__(self, store: Store, worker: Callable[[Dtype], WorkerClient]):
        self._store, self._worker = store, worker
        self._lock = threading.Lock()
        self._idle: dict[Dtype, list[WorkerClient]] = {"float32": [], "float64": []}
        self._all: list[WorkerClient] = []
        self._closed = False

    def __enter__(self) -> "Payloads":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End every worker, whatever it is doing."""
        with self._lock:
            self._closed = True
            idle = {id(client) for clients in self._idle.values() for client in clients}
        for client in self._all:
            if id(client) in idle:
                client.close()
            else:
                client.kill()

    def build(self, target: TargetSpec) -> None:
        """Make a target.

        Raises:
            ValueError: saying why it cannot be made.
        """
        if self._store.is_complete("targets", target.id):
            return
        end = self._ask("float64", [request("build", target)], lambda event: None, None)
        if end["event"] == "failed":
            self._note(target, end)
            raise ValueError(f"{target.id} could not be made: {end['reason']}")

    def run(self, spec: RunSpec, target: TargetSpec, steer: Steer, seconds: float) -> Ran:
        """Sample and analyse, within some seconds."""
        began = time.perf_counter()
        kinds: dict[str, Kind] = {"sample": "runs", "analyse": "analyses"}
        missing = [s for s, kind in kinds.items() if not self._store.is_complete(kind, spec.id)]
        if "sample" not in missing and (ended := replay(self._store, spec, steer)):
            return Ran("stopped", {}, ended[1], time.perf_counter() - began, ended[0], reused=True)
        spent = 0.0
        stopped: str | None = None

        def listen(event: Event) -> str | None:
            nonlocal spent, stopped
            spent = event["work_fge"]
            stopped = steer(event)
            return stopped

        requests = [request(stage, spec, target) | {"steered": True} for stage in missing]
        end = self._ask(spec.dtype, requests, listen, seconds) if requests else {"event": "done"}
        wall = time.perf_counter() - began
        if end["event"] == "failed":
            if stopped is None:
                self._note(spec, end)
                return Ran("failed", {}, spent, wall, end["reason"])
            return Ran("stopped", {}, spent, wall, stopped)
        record = self._store.read_json("analyses", spec.id, "estimate.json")
        return Ran("done", record, record["work_fge"], wall, reused=not missing)

    def _note(self, spec: RunSpec | TargetSpec, end: Event) -> None:
        if end["kind"] == "died":
            records.write_failure(self._store, spec, end["reason"])

    def _ask(
        self, dtype: Dtype, requests: list[Event], listen: Steer, seconds: float | None
    ) -> Event:
        """Return the event that ends the last request, or the first that failed.

        What failed for a reason that may pass is tried once more.
        """
        client = self._take(dtype)
        late = threading.Event()

        def kill() -> None:
            late.set()
            client.kill()

        allowed = None if seconds is None else max(seconds * _GRACE, seconds + _LEAST_GRACE)
        timer = None if allowed is None else threading.Timer(allowed, kill)
        if timer is not None:
            timer.daemon = True
            timer.start()
        end: Event = {"event": "done"}
        try:
            for line in requests:
                end = self._heard(client, line, listen)
                if (
                    end["event"] == "failed"
                    and end["transient"]
                    and not (late.is_set() or self._closed)
                ):
                    end = self._heard(client, line, listen)
                if end["event"] == "failed":
                    break
        finally:
            if timer is not None:
                timer.cancel()
            with self._lock:
                self._idle[dtype].append(client)
        if late.is_set() and end["event"] == "failed":
            return end | {"reason": f"killed: it reached no end of a chunk in {allowed:.0f} s"}
        return end

    def _heard(self, client: WorkerClient, line: Event, listen: Steer) -> Event:
        end: Event = {}
        for event in client.run([line]):
            end = event
            if event["event"] == "progress" and line.get("steered"):
                client.answer(go=listen(event) is None)
        return end

    def _take(self, dtype: Dtype) -> WorkerClient:
        with self._lock:
            if self._idle[dtype]:
                return self._idle[dtype].pop()
            client = self._worker(dtype)
            self._all.append(client)
            return client
