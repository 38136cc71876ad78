"""One SLURM job, which the step that waits for it submits, watches and cancels."""

from collections.abc import Callable, Sequence
from functools import partial

from dagster_slurm import SlurmResource

from lambda_hat_assets.slurm import queue
from lambda_hat_assets.slurm.batch import Batch, read
from lambda_hat_assets.slurm.login import Login
from lambda_hat_assets.slurm.watch import TICK, Watch

_SETTLED = 120.0
"""Seconds after which squeue and sacct know a job. Their answers are not out of date for so long,
and an sbatch whose answer was lost does not run for so long."""

VISIBLE = 30.0
"""Seconds after which files written by a node are visible here; file servers cache attributes."""


class Job:
    """The job of a batch, before or after its submission.

    Args:
        batch: the folder of the job.
        login: the login node, where SLURM's commands are run.
        watch: the watch of the step that waits for the job.

    Attributes:
        number: the number of the job in SLURM; None until it is known.
    """

    def __init__(self, batch: Batch, login: Login, watch: Watch):
        self.batch = batch
        self.number: int | None = None
        self._login, self._watch = login, watch

    def is_living(self) -> bool:
        """Return whether an earlier command has submitted the job and it has not ended.

        If it has ended, it is cancelled, and the batch is ended too.
        """
        self.number = self._found()
        if self.number is not None:
            look = partial(queue.state, self._login, self.number)
            state = self._watch.insist(look, _SETTLED)
            if state is not None and not state.is_over:
                return True
        self.end()
        return False

    def submit(self, options: Sequence[str]) -> None:
        """Submit the job exactly once, even if the command has to be repeated.

        Args:
            options: the options of sbatch, followed by the script.

        Raises:
            Refused: if SLURM rejects the job.
        """

        def ask() -> int:
            try:
                return queue.submit(self._login, options)
            except queue.Full:
                raise
            except ConnectionError:
                # The answer is lost, but SLURM may have accepted the job.
                if (found := self._found()) is None:
                    raise
                return found

        self.number = self._watch.insist(ask)
        self.batch.begin(self._watch.run)

    def wait(self, slurm: SlurmResource, is_seen: Callable[[], bool]) -> queue.JobState:
        """Pass on the log lines of the payload until the job has ended, and return its final state.

        Args:
            slurm: the pauses between polls of the job.
            is_seen: returns whether all artifacts of the job are visible on this machine, which is
                waited for up to half a minute.
        """
        assert self.number is not None
        look = partial(queue.state, self._login, self.number)
        name, pause, left = "", 0.0, 0.0
        while True:
            self._say_news()
            if left <= 0:
                state = self._watch.insist(look)
                assert state is not None
                if state.is_over:
                    break
                if state.name != name:
                    self._watch.say(f"SLURM job {self.number} is {state.name}")
                    name, pause = state.name, slurm.status_poll_interval_seconds
                left, pause = pause, slurm.next_status_poll_interval(pause)
            self._watch.pause(min(left, TICK))
            left -= TICK
        waited = 0.0
        while True:
            self._say_news()
            if waited >= VISIBLE or (self.batch.is_closed and is_seen()):
                break
            self._watch.pause(TICK)
            waited += TICK
        text = read(self.batch.folder / f"slurm-{self.number}.err").decode("utf-8", "replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return state._replace(words=lines[-1] if lines else "")

    def end(self) -> None:
        """Cancel the job if it has a number, because SLURM may requeue a job, and end the batch."""
        if self.number is not None:
            self._watch.insist(partial(queue.cancel, self._login, [self.batch.name]))
        self.batch.end()

    def terminate(self) -> None:
        """Cancel the job because a person has terminated the run; this cannot be interrupted."""
        self._watch.is_ended = True
        self.number = self.number or self._found()
        self.end()
        if self.number is not None:
            self._watch.say(f"SLURM job {self.number} is cancelled")

    def _found(self) -> int | None:
        return self._watch.insist(partial(queue.find, self._login, self.batch.name), _SETTLED)

    def _say_news(self) -> None:
        for line in self.batch.news():
            self._watch.say(line)
