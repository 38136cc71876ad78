"""Executes the runs of trials, with workers on this machine or as SLURM jobs.

Workers can be stopped early. A SLURM job cannot; only its time limit ends it. When it has ended,
the pruner judges its progress reports, so that a bad trial is stopped before its next run.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg

from lambda_hat_assets.cards.card import DTYPES, LocalTag
from lambda_hat_assets.compute.orders import Order, missing_kinds
from lambda_hat_assets.compute.resource import Backend, Compute
from lambda_hat_assets.compute.workers import open_pool
from lambda_hat_assets.project.project import Project
from lambda_hat_core.config.samplers.base import Dtype
from lambda_hat_core.config.spec import RunSpec, TargetSpec
from lambda_hat_core.store.store import Store
from lambda_hat_core.tuning.payloads import Payloads, Ran, Runner
from lambda_hat_core.tuning.replay import replay
from lambda_hat_core.work.pool import Steer

Context = dg.OpExecutionContext | dg.AssetExecutionContext


@contextmanager
def runners(context: Context, project: Project, compute: Compute) -> Iterator[Runner]:
    """Yield a runner that executes each dtype as the card says; end its workers afterwards."""
    step: Any = context
    here = {dtype: isinstance(project.card.tag(dtype), LocalTag) for dtype in DTYPES}
    at_once = sum(project.card.at_once(dtype) for dtype in DTYPES if here[dtype])
    with open_pool(project.store, project.card, at_once) as pool:
        payloads = Payloads(project.store, pool)
        jobs = Jobs(step, project.store, lambda dtype: compute.backend(step, dtype))
        yield _Routed(lambda dtype: payloads if here[dtype] else jobs)


class _Routed(Runner):
    """A runner that passes each run to the runner of its dtype."""

    def __init__(self, of: Callable[[Dtype], Runner]):
        self._of = of

    def build(self, target: TargetSpec) -> None:
        """Make a target."""
        self._of("float64").build(target)

    def run(self, spec: RunSpec, target: TargetSpec, steer: Steer, seconds: float) -> Ran:
        """Sample and analyse a run, in at most `seconds`."""
        return self._of(spec.dtype).run(spec, target, steer, seconds)


class Jobs(Runner):
    """A runner that orders runs from the backend of their dtype. It may be used in several threads.

    Args:
        context: the context of the requesting step.
        store: the store for results.
        backend: returns the backend of a dtype.
    """

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        store: Store,
        backend: Callable[[Dtype], Backend],
    ):
        self._context, self._store, self._backend = context, store, backend
        self._lock = threading.Lock()

    def build(self, target: TargetSpec) -> None:
        """Make a target.

        Raises:
            ValueError: if it cannot be made; the error gives the reason.
        """
        if not self._store.is_complete("targets", target.id):
            failure = self._ordered("float64", Order(target.id, ("targets",), target))
            if failure is not None:
                raise ValueError(f"{target.id} could not be made: {failure}")

    def run(self, spec: RunSpec, target: TargetSpec, steer: Steer, seconds: float) -> Ran:
        """Sample and analyse a run, which only the walltime limits; then replay it to `steer`."""
        del seconds
        began = time.perf_counter()
        missing = missing_kinds(self._store, spec.id, ("runs", "analyses"))
        failure = None
        if missing:
            failure = self._ordered(spec.dtype, Order(spec.id, missing, target, spec))
        wall = time.perf_counter() - began
        if failure is not None:
            return Ran("failed", {}, 0.0, wall, failure)
        if ended := replay(self._store, spec, steer):
            return Ran("stopped", {}, ended[1], wall, ended[0], reused=True)
        record = self._store.read_json("analyses", spec.id, "estimate.json")
        return Ran("done", record, record["work_fge"], wall, reused=not missing)

    def _ordered(self, dtype: Dtype, order: Order) -> str | None:
        with self._lock:
            backend = self._backend(dtype)
        results = list(backend.run(self._context, [order]))
        return next((result.failure for result in results if result.failure is not None), None)
