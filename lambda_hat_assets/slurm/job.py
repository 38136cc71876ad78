"""One job: submitted, watched and cancelled by the step that waits for it."""

from collections.abc import Callable, Sequence
from functools import partial

from dagster_slurm import SlurmResource

from lambda_hat_assets.slurm import queue
from lambda_hat_assets.slurm.batch import Batch, read
from lambda_hat_assets.slurm.login import Login
from lambda_hat_assets.slurm.watch import TICK, Watch

_SETTLED = 120.0
"""Seconds after which squeue and sacct know of a job: longer than their answers are out of date,
and longer than an sbatch may run whose answer was lost."""

VISIBLE = 30.0
"""Seconds until this machine sees what a node has written: file servers cache attributes."""


class Job:
    """The job of a batch, which may not be submitted yet.

    Args:
        batch: the job's folder.
        login: the login node, where SLURM's commands are run.
        watch: of the step that waits for the job.

    Attributes:
        number: the job's number in SLURM, None while it is not known.
    """

    def __init__(self, batch: Batch, login: Login, watch: Watch):
        self.batch = batch
        self.number: int | None = None
        self._login, self._watch = login, watch

    def is_living(self) -> bool:
        """Return whether an earlier command has submitted the job and it goes on.

        If it does not go on, it is ended.
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
        """Submit the job once, however often the cluster has to be asked.

        Args:
            options: of sbatch, and the script.

        Raises:
            Refused: if SLURM does not take the job.
        """

        def ask() -> int:
            try:
                return queue.submit(self._login, options)
            except queue.Full:
                raise
            except ConnectionError:
                # The answer is lost, but SLURM may have taken the job.
                if (found := self._found()) is None:
                    raise
                return found

        self.number = self._watch.insist(ask)
        self.batch.begin(self._watch.run)

    def wait(self, slurm: SlurmResource, is_seen: Callable[[], bool]) -> queue.JobState:
        """Pass on what the payload logs until the job is over, and return how the job ended.

        Args:
            slurm: how long to pause between looks at the job.
            is_seen: returns whether this machine sees everything that the job has made; it is
                waited for during half a minute.
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
        """Cancel the job if there is one: SLURM may put a job back into the queue after its end."""
        if self.number is not None:
            self._watch.insist(partial(queue.cancel, self._login, [self.batch.name]))
        self.batch.end()

    def terminate(self) -> None:
        """Cancel the job because a person has terminated the run; nothing interrupts this."""
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
