"""dagster-slurm's client for one job, mended where 1.22 drops options or results.

Its search for a job to take up again knows assets but not partitions, so that one partition's job
was recorded as another's: which job it is, is decided here from the job's name. It ends a job after
any trouble of its own: here only a person does. It reads an ssh that fails as a job that ended.
"""

import logging
import shlex
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_slurm import SlurmPipesClient, SlurmQueueConfig, SlurmResource
from dagster_slurm.config.runtime import RuntimeVariant
from dagster_slurm.launchers.base import ComputeLauncher, ExecutionPlan
from dagster_slurm.pipes_clients import slurm_pipes_client

from lambda_hat_assets.console import PARENT_TAG
from lambda_hat_assets.slurm.card import Cluster, SlurmTag
from lambda_hat_core.worker_client import Event

PAYLOAD = Path(__file__).with_name("payload.py")

_FOR_EVER = 10**9
"""Seconds; dagster-slurm ends a job after its time-out, which counts the queue too."""

_UNREACHABLE = 3600.0
"""Seconds without an answer after which a cluster is given up; its jobs go on."""

_SLICE = 2.0
"""Seconds until an end that was asked for is noticed."""


class Signals:
    """The module `signal` as dagster-slurm may use it: only the main thread takes handlers."""

    def signal(self, number: int, handler: Any) -> Any:
        """Set a handler, if this is the main thread."""
        is_main = threading.current_thread() is threading.main_thread()
        return signal.signal(number, handler) if is_main else None

    def __getattr__(self, name: str) -> Any:
        return getattr(signal, name)


slurm_pipes_client.signal = Signals()  # type: ignore[assignment]


class Detached(Exception):
    """This process was told to end; the job goes on and is found again by the next one."""


class JobScript(ComputeLauncher):
    """The script of a job: the card's lines, the environment, the payload."""

    python: str
    setup: list[str]

    def prepare_execution(
        self,
        payload_path: str,
        python_executable: str,
        working_dir: str,
        pipes_context: dict[str, str],
        extra_env: dict[str, str] | None = None,
        allocation_context: dict[str, Any] | None = None,
        activation_script: str | None = None,
    ) -> ExecutionPlan:
        """Return the script's lines."""
        exports = {**pipes_context, **(extra_env or {})}
        lines = [
            "#!/bin/bash",
            "set -eo pipefail",
            *self.setup,
            *(f"export {name}={shlex.quote(value)}" for name, value in exports.items()),
            f"exec {shlex.quote(self.python)} {shlex.quote(payload_path)}",
        ]
        return ExecutionPlan(RuntimeVariant.SHELL, lines, pipes_context, {})


class JobClient(SlurmPipesClient):
    """Submits one job, or takes up one that lives, and waits for its end.

    Args:
        cluster: how it is reached.
        ssh: dagster-slurm's resource for it.
        tag: the card's entry of the job's dtype.
        name: the job's.
        folder: the job's, as the cluster sees it.
    """

    def __init__(self, cluster: Cluster, ssh: Any, tag: SlurmTag, name: str, folder: str):
        slurm = SlurmResource(
            ssh=ssh,
            queue=SlurmQueueConfig(time_limit=tag.walltime),
            remote_base=folder,
            status_poll_interval_seconds=cluster.poll_interval,
            status_poll_max_interval_seconds=cluster.poll_interval_max,
        )
        script = JobScript(python=tag.python or sys.executable, setup=list(tag.setup))
        super().__init__(slurm, script, cleanup_on_failure=False, pre_deployed_env_path=folder)
        self._tag, self._name, self._folder = tag, name, folder
        self._step: Step | None = None
        self._taken_up: int | None = None
        self.job: int | None = None
        self.is_cancelled = False

    def wait(self, step: "Step", environment: Mapping[str, str], job: int | None) -> list[Event]:
        """Return what the payload reported, after a job that ended well.

        Args:
            step: for which it is done.
            environment: what the script exports.
            job: one that is in the queue already; None submits one.

        Raises:
            RuntimeError: if the job ended otherwise, could not be submitted, or was cancelled.
            Detached: if this process was told to end.
        """
        self._step, self._taken_up, self.job = step, job, job
        self.logger = Whisper(step.log)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.PreviewWarning)
            done = self.run(
                context=step,  # type: ignore[arg-type]
                payload_path=str(PAYLOAD),
                extra_env=dict(environment),
                poll_timeout=_FOR_EVER,
                defer_cleanup=True,
            )
        return list(done.get_custom_messages())

    def _build_sbatch_command(
        self,
        job_name: str,
        working_dir: str,
        output_file: str,
        error_file: str,
        script_path: str,
        extra_opts: dict[str, Any] | None = None,
    ) -> str:
        """Pass on all that the card asks for, not the fixed list that dagster-slurm knows."""
        own = {"job-name": self._name, "chdir": working_dir}
        own |= {"output": output_file, "error": error_file}
        options = [f"--{name}={value}" for name, value in own.items()]
        return shlex.join(["sbatch", *options, *self._tag.sbatch(), script_path])

    def _find_reattachable_job(self, op_context: Any, ssh_pool: Any, asset_key: Any) -> Any:
        if self._taken_up is None:
            return None
        return {"job_id": str(self._taken_up), "run_dir": self._folder}

    def _get_remote_run_dir(self, remote_base: str, run_id: str, op_context: Any) -> str:
        return self._folder

    def _store_job_tags(self, op_context: Any, job_id: int, run_dir: str, asset_key: Any) -> None:
        if self.job is None and self._step is not None:
            self._step.log.info(f"SLURM job {job_id} is submitted: {' '.join(self._tag.sbatch())}")
        self.job = job_id
        super()._store_job_tags(op_context, job_id, run_dir, asset_key)

    def _get_job_state(self, job_id: int, ssh_pool: Any) -> str:
        """Return a job's state; an ssh or a daemon that fails is asked again, with back-off."""
        question = (
            f"squeue -h -j {job_id} -o %T 2>/dev/null | grep . || "
            f"sacct -X -n -P -j {job_id} -o State"
        )
        return self._asked(lambda: ssh_pool.run(question), job_id).partition(" ")[0].strip(" +\n")

    def _asked(self, ask: Callable[[], str], job_id: int) -> str:
        began, pause = time.monotonic(), 1.0
        while True:
            try:
                return ask()
            except RuntimeError:
                if time.monotonic() - began > _UNREACHABLE:
                    raise
            self._interruptible_sleep(pause, job_id)
            pause = min(2 * pause, 60.0)

    def _cancel_slurm_job(self, job_id: int) -> None:
        """End a job if a person asked for it, not for trouble on this side."""
        if self._cancellation_requested and self._is_run_canceling(self._step):
            self.is_cancelled = True
            super()._cancel_slurm_job(job_id)

    def _is_run_canceling(self, op_context: Any) -> bool:
        """Return whether a person ended this run, or the `llc` job that it is a part of.

        Raises:
            Detached: if nobody did, but this process was told to end.
        """
        if op_context is None:
            return False
        ids = (op_context.run_id, op_context.run.tags.get(PARENT_TAG))
        runs = (op_context.instance.get_run_by_id(id) for id in ids if id)
        if any(run and run.status == dg.DagsterRunStatus.CANCELING for run in runs):
            return True
        if self._sigterm_received:
            raise Detached(f"job {self.job} goes on without this process")
        return False

    def _interruptible_sleep(self, seconds: float, job_id: int) -> None:
        """Sleep, but notice soon that this process or its run is to end."""
        deadline = time.monotonic() + min(seconds, self.slurm.status_poll_max_interval_seconds)
        while (left := deadline - time.monotonic()) > 0:
            super()._interruptible_sleep(min(left, _SLICE), job_id)
            if (self._sigterm_received or left > _SLICE) and self._is_run_canceling(self._step):
                return

    def _build_tail_command(self, remote_path: str) -> list[str]:
        """Follow neither stdout nor stderr, two connections a job; they are read at its end."""
        return ["true"]


class Step:
    """A step's context as the client may see it.

    Pipes would take the results of an asset out of its hands, and ask for an output a partition;
    here they are recorded key by key. So this is the context of no asset.
    """

    has_assets_def = False
    add_output_metadata = None

    def __init__(self, context: dg.AssetExecutionContext):
        self._context = context.op_execution_context

    @property
    def op_execution_context(self) -> "Step":
        """Itself."""
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)


class Whisper(logging.LoggerAdapter):
    """dagster-slurm's running commentary, kept for those who ask for debug messages."""

    def log(self, level: int, msg: object, *args: Any, **kwargs: Any) -> None:
        """Log at the level of debug messages."""
        super().log(logging.DEBUG, msg, *args, **kwargs)
