"""Runs of trials in worker processes, which can be told to stop at the end of a chunk."""

import time
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from lambda_hat_core.config.spec import RunSpec, TargetSpec
from lambda_hat_core.store import failures
from lambda_hat_core.store.store import Kind, Store
from lambda_hat_core.tuning.replay import replay
from lambda_hat_core.work.client import Event, request
from lambda_hat_core.work.pool import Pool, Steer, Task


class Ran(NamedTuple):
    """How one run ended.

    Attributes:
        status: `stopped` if `steer` ended it; then nothing of it is in the store.
        record: the analysis of a run that is done, as `outcomes.record` returns it.
        work_fge: full-gradient evaluations spent.
        wall_s: wall time of this call in seconds.
        reason: why the run is not done.
        reused: whether the store already had its results.
    """

    status: Literal["done", "stopped", "failed"]
    record: dict[str, Any]
    work_fge: float
    wall_s: float
    reason: str | None = None
    reused: bool = False


@runtime_checkable
class Runner(Protocol):
    """An object that executes runs of trials; it is called from several threads."""

    def build(self, target: TargetSpec) -> None:
        """Make a target.

        Raises:
            ValueError: if it cannot be made; the error gives the reason.
        """
        ...

    def run(self, spec: RunSpec, target: TargetSpec, steer: Steer, seconds: float) -> Ran:
        """Sample and analyse a run, in at most `seconds`."""
        ...


class Payloads:
    """Executes runs in the worker processes of a pool on this machine.

    Args:
        store: the store for results.
        pool: the pool of workers.
    """

    def __init__(self, store: Store, pool: Pool):
        self._store, self._pool = store, pool

    def build(self, target: TargetSpec) -> None:
        """Make a target.

        Raises:
            ValueError: if it cannot be made; the error gives the reason.
        """
        if self._store.is_complete("targets", target.id):
            return
        end = self._pool.submit(Task("float64", (request("targets", target),))).result()
        if end["event"] == "failed":
            failures.note_failure(self._store, target, end)
            raise ValueError(f"{target.id} could not be made: {end['reason']}")

    def run(self, spec: RunSpec, target: TargetSpec, steer: Steer, seconds: float) -> Ran:
        """Sample and analyse a run, in at most `seconds`."""
        began = time.perf_counter()
        kinds: tuple[Kind, ...] = ("runs", "analyses")
        missing: list[Kind] = [k for k in kinds if not self._store.is_complete(k, spec.id)]
        if "runs" not in missing and (ended := replay(self._store, spec, steer)):
            return Ran("stopped", {}, ended[1], time.perf_counter() - began, ended[0], reused=True)
        spent = 0.0

        def listen(event: Event) -> str | None:
            nonlocal spent
            spent = event["work_fge"]
            return steer(event)

        end: Event = {"event": "done"}
        if missing:
            requests = tuple(request(kind, spec, target) for kind in missing)
            likeness = (spec.target, spec.sampler.kind)
            task = Task(spec.dtype, requests, likeness, steer=listen, seconds=seconds)
            end = self._pool.submit(task).result()
        wall = time.perf_counter() - began
        if end["event"] == "failed":
            failures.note_failure(self._store, spec, end)
            status = "stopped" if end["cause"] == "stopped" else "failed"
            return Ran(status, {}, spent, wall, end["reason"])
        record = self._store.read_json("analyses", spec.id, "estimate.json")
        return Ran("done", record, record["work_fge"], wall, reused=not missing)
