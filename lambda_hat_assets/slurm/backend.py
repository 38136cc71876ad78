"""Payloads as SLURM jobs: a batch of keys is one job, and what it makes is in the store.

A job outlives the process that waits for it. Whoever wants one of its keys next finds it by its
name in the queue and waits for it too; what it has made meanwhile is found in the store.
"""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import dagster as dg

from lambda_hat_assets.compute import Backend, Order, Result
from lambda_hat_assets.console import PARENT_TAG
from lambda_hat_assets.slurm import batch as batches
from lambda_hat_assets.slurm.batch import Batch
from lambda_hat_assets.slurm.card import Cluster, SlurmTag
from lambda_hat_assets.slurm.cluster import End, Login, gist, home, require
from lambda_hat_assets.slurm.fate import Fate, Job, fates, why
from lambda_hat_core import records
from lambda_hat_core.config.samplers import Dtype
from lambda_hat_core.gallery.members import Gallery
from lambda_hat_core.store import Store
from lambda_hat_core.worker_client import Event

if TYPE_CHECKING:
    from lambda_hat_assets.slurm.client import JobClient

_PASSING = (
    "exit 255",
    "Connection",
    "Limit",
    "Unable to contact slurm controller",
    "Socket timed out",
    "temporarily",
)
"""Parts of the messages of submissions that may succeed later: ssh, a full queue, a busy daemon."""

_SUBMISSIONS = 6
_VISIBLE = 30.0
"""Seconds until what a node has written is seen here: file servers keep attributes for a while."""


class SlurmBackend:
    """Jobs of one dtype.

    Args:
        store: where results go; the nodes see it too.
        dtype: of the jobs' processes.
        tag: the card's entry for the dtype.
        cluster: how SLURM is reached.
        here: makes galleries, which only draw.
    """

    def __init__(self, store: Store, dtype: Dtype, tag: SlurmTag, cluster: Cluster, here: Backend):
        self._store, self._tag, self._cluster = store, tag, cluster
        self._dtype: Dtype = dtype
        self._login = Login(cluster)
        self._here = here
        self._is_fit = False

    def run(self, context: dg.AssetExecutionContext, orders: Sequence[Order]) -> Iterator[Result]:
        """Yield results as jobs end."""
        drawn = [order for order in orders if isinstance(order.target, Gallery)]
        yield from self._here.run(context, drawn)
        waiting = {order.key: order for order in orders if order not in drawn}
        if waiting:
            self._require(context)
        charges: Counter[str] = Counter()
        while waiting:
            batch = self._batch(context, waiting)
            keys = batch.keys()
            asked = [order for key, order in waiting.items() if key in keys]
            job, events = self._ended(context, batch)
            reason = why(job, self._dtype, self._tag)
            self._settle(asked, events)
            found = fates(self._store, asked, events, reason, job.end.state, charges)
            for order in asked:
                yield from self._told(context, waiting, order, found[order.key], reason)
            if not any(fate.is_again or fate.is_failed for fate in found.values()):
                batch.remove()

    def close(self) -> None:
        """End what runs here; jobs go on."""
        self._here.close()

    def _require(self, context: dg.AssetExecutionContext) -> None:
        """Look at the cluster once; steps of the `llc` job rely on its first step."""
        if not self._is_fit and PARENT_TAG not in context.run.tags:
            require(self._login, self._cluster, [self._tag], self._store)
        self._is_fit = True

    def _batch(self, context: dg.AssetExecutionContext, waiting: Mapping[str, Order]) -> Batch:
        """Return a job in the queue that has one of the keys already, or a new one."""
        living = self._login.living(batches.PREFIX)
        found = batches.in_flight(self._store, waiting, living)
        if found is None:
            return batches.write(self._store, list(waiting.values())[: self._tag.batch])
        count = len(found.keys() & set(waiting))
        context.log.info(f"SLURM job {found.job} has {count} of these keys already: waiting for it")
        return found

    def _ended(self, context: dg.AssetExecutionContext, batch: Batch) -> tuple[Job, list[Event]]:
        """Submit a batch, or take it up, and return how it ended and what it said."""
        client = self._client(batch)
        pause, submissions, reported = self._cluster.poll_interval, 0, []
        while True:
            try:
                reported = self._wait(context, client, batch)
                error = ""
            except (RuntimeError, dg.DagsterError) as failure:
                error = gist(failure)
                if client.job is None and "exit 255" in str(failure):
                    error += " (exit 255)"
            if client.job is None:
                submissions += 1
                if submissions == _SUBMISSIONS or not any(part in error for part in _PASSING):
                    return Job(None, End("REFUSED", ""), error), []
            else:
                end = self._login.end(client.job)
                if not end.is_alive:
                    words = _last_line(batch, client.job)
                    return Job(client.job, end, words), [*batch.events(), *reported]
                batch = batch._replace(job=client.job)
            context.log.info(f"{error or 'the job lives'}; looking again in {pause:g} s")
            time.sleep(pause)
            pause = min(2 * pause, self._cluster.poll_interval_max)

    def _wait(
        self, context: dg.AssetExecutionContext, client: "JobClient", batch: Batch
    ) -> list[Event]:
        from lambda_hat_assets.slurm.client import Detached, Step

        environment = self._tag.environment(self._dtype)
        environment["LAMBDA_HAT_HOME"] = str(home(self._cluster, self._store))
        try:
            return client.wait(Step(context), environment, batch.job)
        except Detached as detached:
            context.log.info(f"{detached}; the same command again waits for it")
            raise dg.DagsterExecutionInterruptedError from detached
        except (RuntimeError, dg.DagsterError) as error:
            if client.is_cancelled:
                raise dg.DagsterExecutionInterruptedError from error
            raise

    def _client(self, batch: Batch) -> "JobClient":
        from lambda_hat_assets.slurm.client import JobClient

        folder = home(self._cluster, self._store) / batch.folder.relative_to(self._store.root)
        return JobClient(self._cluster, self._login.resource, self._tag, batch.name, str(folder))

    def _settle(self, orders: Sequence[Order], events: Sequence[Event]) -> None:
        """Wait until this machine sees what the payload says it has made."""
        done = {event["id"] for event in events if event["event"] == "done"}
        deadline = time.monotonic() + _VISIBLE
        for order in orders:
            while (
                order.key in done
                and not self._store.is_complete(order.kinds[0], order.key)
                and time.monotonic() < deadline
            ):
                time.sleep(0.5)

    def _told(
        self,
        context: dg.AssetExecutionContext,
        waiting: dict[str, Order],
        order: Order,
        fate: Fate,
        reason: str,
    ) -> Iterator[Result]:
        """Yield the results of an order, and take it off the list or put it at the list's end."""
        spec = order.run or order.target
        del waiting[order.key]
        if fate.is_again:
            context.log.info(f"{order.key} is tried again: {reason}")
            waiting[order.key] = order._replace(kinds=order.kinds[len(fate.results) :])
        if fate.died and not isinstance(spec, Gallery):
            records.write_failure(self._store, spec, reason)
        yield from fate.results


def _last_line(batch: Batch, job: int) -> str:
    """Return what a job wrote last on stderr."""
    path = batch.folder / f"slurm-{job}.err"
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
