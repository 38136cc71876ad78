"""Payloads as SLURM jobs: one job makes a batch of keys, and writes the artifacts to the store.

A job continues if the process that waits for it ends. The next command that needs one of its keys
finds the job in the queue by its name and waits for it; artifacts that the job has made in the
meantime are in the store.
"""

import shlex
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import dagster as dg

from lambda_hat_assets.cards.slurm import Cluster, SlurmTag
from lambda_hat_assets.compute.orders import Order, Result, is_made
from lambda_hat_assets.compute.resource import Backend
from lambda_hat_assets.running.console import PARENT_TAG
from lambda_hat_assets.slurm.batch import SCRIPT, Batch, unfinished, write
from lambda_hat_assets.slurm.fate import fates, why
from lambda_hat_assets.slurm.fitness import require
from lambda_hat_assets.slurm.job import Job
from lambda_hat_assets.slurm.login import Login
from lambda_hat_assets.slurm.queue import JobState, Refused
from lambda_hat_assets.slurm.resource import home, slurm_resource
from lambda_hat_assets.slurm.watch import Watch
from lambda_hat_core.config.samplers.base import Dtype
from lambda_hat_core.gallery.members import Gallery
from lambda_hat_core.store import failures
from lambda_hat_core.store.store import Kind, Store


class SlurmBackend:
    """Jobs of one dtype.

    Args:
        store: the store for results, on a disk that the nodes share.
        dtype: the dtype of the jobs.
        tag: the card's entry for the dtype.
        cluster: the card's entry for the cluster.
        here: the backend for galleries, which are drawn on this machine.
    """

    def __init__(self, store: Store, dtype: Dtype, tag: SlurmTag, cluster: Cluster, here: Backend):
        self._store, self._tag = store, tag
        self._dtype: Dtype = dtype
        self._slurm = slurm_resource(cluster, tag)
        self._login = Login(self._slurm.ssh)
        self._here = here
        self._is_fit = False

    def run(self, context: dg.AssetExecutionContext, orders: Sequence[Order]) -> Iterator[Result]:
        """Yield results as jobs end."""
        drawn = [order for order in orders if isinstance(order.target, Gallery)]
        yield from self._here.run(context, drawn)
        waiting = {order.key: order for order in orders if order not in drawn}
        watch = Watch(context)
        # In an `llc` job the first step has already checked the cluster.
        if waiting and not self._is_fit and PARENT_TAG not in context.run.tags:
            require(watch, self._login, self._slurm, [self._tag], self._store)
        self._is_fit = True
        charges: Counter[str] = Counter()
        while waiting:
            job = self._taken_up(watch, waiting) or self._new(watch, waiting)
            asked = [order for key, order in waiting.items() if key in job.batch.keys]
            state = self._ended(watch, job, asked)
            reason = why(job.number, state, self._dtype, self._tag)
            found = fates(self._store, asked, job.batch.events, reason, state.name, charges)
            for order, fate in zip(asked, found, strict=True):
                # An order that is tried again is moved to the end.
                del waiting[order.key]
                if fate.again:
                    watch.say(f"{order.key} is tried again: {reason}")
                    waiting[order.key] = order._replace(kinds=fate.again)
                if fate.died and order.hashed is not None:
                    failures.write_failure(self._store, order.hashed, reason)
                yield from fate.results
            if state.name != "COMPLETED":
                job.end()
            if all(self._is_made(order, order.kinds) for order in asked):
                job.batch.remove()
            else:
                job.batch.end()

    def close(self) -> None:
        """End the processes on this machine; jobs continue."""
        self._here.close()

    def _taken_up(self, watch: Watch, waiting: Mapping[str, Order]) -> Job | None:
        """Return an unfinished job of an earlier command for one of the keys, or None."""
        for batch in unfinished(self._store):
            keys = batch.keys & waiting.keys()
            job = Job(batch, self._login, watch)
            if keys and job.is_living():
                watch.say(f"waiting for SLURM job {job.number}, which makes {len(keys)} keys")
                batch.begin(watch.run)
                return job
        return None

    def _new(self, watch: Watch, waiting: Mapping[str, Order]) -> Job:
        """Return a new job for the first keys, not yet submitted."""
        orders = list(waiting.values())[: self._tag.batch]
        requests = [request for order in orders for request in order.requests()]
        exports = self._tag.environment(self._dtype)
        exports["LAMBDA_HAT_HOME"] = str(home(self._slurm, self._store))
        script = [
            "#!/bin/bash",
            "set -eo pipefail",
            "lambda_hat_job=$PWD",
            *self._tag.setup,
            *(f"export {name}={shlex.quote(value)}" for name, value in exports.items()),
            f"exec {shlex.quote(self._tag.python or sys.executable)} "
            '-m lambda_hat_assets.slurm.payload "$lambda_hat_job"',
        ]
        return Job(write(self._store, requests, script, watch.run), self._login, watch)

    def _options(self, batch: Batch) -> list[str]:
        """Return the arguments of sbatch. A % in the path of the outputs is escaped as %%."""
        folder = home(self._slurm, self._store) / "slurm" / batch.folder.name
        output = f"{folder}/slurm-".replace("%", "%%") + "%j"
        own = [f"--job-name={batch.name}", f"--chdir={folder}"]
        own += [f"--output={output}.out", f"--error={output}.err"]
        return [*own, *self._tag.sbatch(), str(folder / SCRIPT)]

    def _ended(self, watch: Watch, job: Job, asked: Sequence[Order]) -> JobState:
        """Submit a job unless that is done, wait for it, and return its final state.

        Raises:
            DagsterExecutionInterruptedError: if the step is interrupted. If a person has terminated
                the run, the job is cancelled; otherwise it continues.
        """
        try:
            if job.number is None:
                job.submit(self._options(job.batch))
                options = " ".join(self._tag.sbatch())
                watch.say(f"SLURM job {job.number} is submitted: {options}")
            return job.wait(self._slurm, lambda: self._is_seen(job.batch, asked))
        except Refused as refused:
            return JobState("REFUSED", words=str(refused))
        except dg.DagsterExecutionInterruptedError:
            if watch.is_terminated():
                job.terminate()
            raise

    def _is_seen(self, batch: Batch, orders: Sequence[Order]) -> bool:
        """Return whether all artifacts that the payload reports are visible on this machine."""
        done = Counter(event["id"] for event in batch.events if event["event"] == "done")
        return all(self._is_made(order, order.kinds[: done[order.key]]) for order in orders)

    def _is_made(self, order: Order, kinds: Sequence[Kind]) -> bool:
        return all(is_made(self._store, order, kind) for kind in kinds)
