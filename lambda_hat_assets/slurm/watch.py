"""Waiting for a cluster: repeated attempts and pauses, which end if a person terminates the run."""

import math
import time
from collections.abc import Callable

import dagster as dg

from lambda_hat_assets.running.console import PARENT_TAG
from lambda_hat_assets.slurm.queue import Full

TICK = 2.0
"""Seconds between two checks whether a person has terminated the run."""

HOUR = 3600.0
"""Seconds without an answer after which a step fails."""

_LONGEST = 60.0
"""Longest pause between two attempts, in seconds."""

_UNSURE = "neither squeue nor sacct knows the state of the job"

_ENDED = (dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED)


class Watch:
    """The pauses and repeated queries of a step that waits for a cluster.

    Args:
        context: the context of the step.

    Attributes:
        is_ended: whether the step is already ending, so that pauses are not interrupted any more.
    """

    def __init__(self, context: dg.OpExecutionContext | dg.AssetExecutionContext):
        self._context = context
        self.say: Callable[[str], None] = context.log.info
        self.is_ended = False

    @property
    def run(self) -> str:
        """The id of the outermost run that contains the step, which is what a person terminates."""
        run = self._context.run
        return run.tags.get(PARENT_TAG, run.run_id)

    def is_terminated(self) -> bool:
        """Return whether a person has terminated this run, or the `llc` run that contains it."""
        ids = {self._context.run.run_id, self.run}
        runs = [self._context.instance.get_run_by_id(id) for id in ids]
        return any(run is not None and run.status in _ENDED for run in runs)

    def pause(self, seconds: float) -> None:
        """Wait.

        Raises:
            DagsterExecutionInterruptedError: soon after a person has terminated the run.
        """
        while seconds > 0:
            if not self.is_ended and self.is_terminated():
                raise dg.DagsterExecutionInterruptedError
            time.sleep(min(seconds, TICK))
            seconds -= TICK

    def insist[T](self, ask: Callable[[], T], unknown: float = math.inf) -> T:
        """Return the answer to a query, which is repeated with growing pauses for up to an hour.

        Args:
            ask: a function that returns None if the answer is unknown, and raises ConnectionError
                if there is no connection.
            unknown: None is accepted as the answer after `ask` has returned it for this many
                seconds, without failing for as long in between.

        Raises:
            OSError: if there was no answer for an hour. A full queue counts as an answer.
        """
        began, pause = time.monotonic(), 1.0
        first = last = -math.inf
        while True:
            try:
                answer = ask()
                trouble = _UNSURE
                last, before = time.monotonic(), last
                first = first if last - before < unknown else last
                if answer is not None or last - first >= unknown:
                    return answer
            except ConnectionError as error:
                trouble = str(error)
                began = time.monotonic() if isinstance(error, Full) else began
            if time.monotonic() - began >= HOUR:
                way_out = "jobs continue, and the same command, given again, waits for them"
                raise OSError(f"{trouble}: no answer for an hour; {way_out}")
            if trouble != _UNSURE or pause > 8:
                self.say(f"{trouble}; asking again in {pause:g} s")
            self.pause(pause)
            pause = min(2 * pause, _LONGEST)
