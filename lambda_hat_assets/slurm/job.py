"""The life of one job as the step sees it that waits for it: submitted, watched, cancelled."""

from collections.abc import Callable, Sequence
from functools import partial

from lambda_hat_assets.slurm import queue
from lambda_hat_assets.slurm.batch import Batch, read
from lambda_hat_assets.slurm.login import Login
from lambda_hat_assets.slurm.watch import TICK, Watch

_SETTLED = 120.0
"""Seconds until everybody knows of a job: longer than an answer of squeue or sacct is out of date,
and than an sbatch whose answer was lost can still be heard."""

VISIBLE = 30.0
"""Seconds until what a node has written is seen here: file servers keep attributes for a while."""

_SLOWER = 1.5
"""Growth of the pause between two looks at a job that stays as it is."""


class Job:
    """The job of a batch, which may not be submitted yet.

    Args:
        batch: its folder.
        login: where SLURM is asked.
        watch: of the step that waits for it.

    Attributes:
        number: SLURM's, None while it is not known.
    """

    def __init__(self, batch: Batch, login: Login, watch: Watch):
        self.batch = batch
        self.number: int | None = None
        self._login, self._watch = login, watch

    def is_living(self) -> bool:
        """Whether an earlier command has submitted the job and it goes on; else it is ended."""
        self.number = self._found()
        if self.number is not None:
            look = partial(queue.state, self._login, self.number)
            state = self._watch.insist(look, _SETTLED)
            if state is not None and not state.is_over:
                return True
        self.end()
        return False

    def submit(self, options: Sequence[str]) -> None:
        """Submit the job, once, however often the cluster has to be asked.

        Args:
            options: of sbatch, and the script.

        Raises:
            Refused: if SLURM does not take it.
        """

        def ask() -> int:
            try:
                return queue.submit(self._login, options)
            except queue.Full:
                raise
            except ConnectionError:
                # The answer is lost; SLURM may have taken the job all the same.
                if (found := self._found()) is None:
                    raise
                return found

        self.number = self._watch.insist(ask)
        self.batch.begin(self._watch.run)

    def wait(self, often: float, seldom: float, is_seen: Callable[[], bool]) -> queue.JobState:
        """Say what the payload says until the job is over, and return how it ended.

        Args:
            often: seconds between looks at a job whose state has just changed.
            seldom: seconds that this grows to.
            is_seen: whether this machine sees all that the job has left; waited for, not for ever.
        """
        assert self.number is not None
        look = partial(queue.state, self._login, self.number)
        name, pause, left = "", often, 0.0
        while True:
            self._say_news()
            if left <= 0:
                state = self._watch.insist(look)
                assert state is not None
                if state.is_over:
                    break
                if state.name != name:
                    self._watch.say(f"SLURM job {self.number} is {state.name}")
                    name, pause = state.name, often
                left, pause = pause, min(_SLOWER * pause, seldom)
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
        """Cancel the job if there is one: what looks over may yet be put back into the queue."""
        if self.number is not None:
            self._watch.insist(partial(queue.cancel, self._login, [self.batch.name]))
        self.batch.end()

    def terminate(self) -> None:
        """Cancel the job because a person says so, which nothing interrupts."""
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
