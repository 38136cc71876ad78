"""Payloads as SLURM jobs: a batch of keys is one job, and what it makes is in the store.

A job outlives the process that waits for it. The next command that wants one of its keys finds it
by its name in the queue and waits for it; it finds what the job has made meanwhile in the store.
"""

import shlex
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import dagster as dg

from lambda_hat_assets.cards.slurm import Cluster, SlurmTag
from lambda_hat_assets.compute.orders import Order, Result
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
from lambda_hat_core.store import records
from lambda_hat_core.store.store import Kind, Store


class SlurmBackend:
    """Jobs of one dtype.

    Args:
        store: where results go, on a disk that the nodes share.
        dtype: precision of the jobs' processes.
        tag: the card's entry for the dtype.
        cluster: how SLURM is reached.
        here: the backend that makes galleries, which only draw.
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
        # The first step of the `llc` job has checked the cluster for the later ones.
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
                # An order that is tried again goes to the end.
                del waiting[order.key]
                if fate.again:
                    watch.say(f"{order.key} is tried again: {reason}")
                    waiting[order.key] = order._replace(kinds=fate.again)
                if fate.died and not isinstance(order.spec, Gallery):
                    records.write_failure(self._store, order.spec, reason)
                yield from fate.results
            if state.name != "COMPLETED":
                job.end()
            if all(self._is_made(order, order.kinds) for order in asked):
                job.batch.remove()
            else:
                job.batch.end()

    def close(self) -> None:
        """End the processes on this machine; jobs go on."""
        self._here.close()

    def _taken_up(self, watch: Watch, waiting: Mapping[str, Order]) -> Job | None:
        """Return a living job of an earlier command that makes one of the keys, if there is one."""
        for batch in unfinished(self._store):
            keys = batch.keys & waiting.keys()
            job = Job(batch, self._login, watch)
            if keys and job.is_living():
                watch.say(f"SLURM job {job.number} has {len(keys)} of these keys: waiting for it")
                batch.begin(watch.run)
                return job
        return None

    def _new(self, watch: Watch, waiting: Mapping[str, Order]) -> Job:
        """Return a job for the first keys, which is not submitted yet."""
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
        """Return the words after sbatch. In the names of outputs %% stands for a % of the path."""
        folder = home(self._slurm, self._store) / "slurm" / batch.folder.name
        output = f"{folder}/slurm-".replace("%", "%%") + "%j"
        own = [f"--job-name={batch.name}", f"--chdir={folder}"]
        own += [f"--output={output}.out", f"--error={output}.err"]
        return [*own, *self._tag.sbatch(), str(folder / SCRIPT)]

    def _ended(self, watch: Watch, job: Job, asked: Sequence[Order]) -> JobState:
        """Submit a job unless it is submitted, wait for it, and return how it ended.

        Raises:
            DagsterExecutionInterruptedError: if the step is interrupted. If a person has terminated
                the run, the job is cancelled; otherwise it goes on.
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
        """Return whether this machine sees everything that the payload reports as made."""
        done = Counter(event["id"] for event in batch.events if event["event"] == "done")
        return all(self._is_made(order, order.kinds[: done[order.key]]) for order in orders)

    def _is_made(self, order: Order, kinds: Sequence[Kind]) -> bool:
        return all(self._store.is_complete(kind, order.key) for kind in kinds)
