"""How a step waits for a cluster: patiently, and until a person terminates the run."""

import math
import time
from collections.abc import Callable

import dagster as dg

from lambda_hat_assets.running.console import PARENT_TAG
from lambda_hat_assets.slurm.queue import Full

TICK = 2.0
"""Seconds between two looks whether a person has terminated the run."""

HOUR = 3600.0
"""Seconds without an answer after which a step fails."""

_LONGEST = 60.0
"""Seconds of the longest pause between two tries."""

_UNSURE = "neither squeue nor sacct knows the state of the job"

_ENDED = (dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED)


class Watch:
    """Pauses and repeated questions of a step that waits for a cluster.

    Args:
        context: of the step.

    Attributes:
        is_ended: whether pauses are no longer interrupted, because the step is being ended.
    """

    def __init__(self, context: dg.OpExecutionContext | dg.AssetExecutionContext):
        self._context = context
        self.say: Callable[[str], None] = context.log.info
        self.is_ended = False

    @property
    def run(self) -> str:
        """The id of the outermost run that the step belongs to, which a person may terminate."""
        run = self._context.run
        return run.tags.get(PARENT_TAG, run.run_id)

    def is_terminated(self) -> bool:
        """Return whether a person has terminated this run, or the `llc` run that it belongs to."""
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
        """Return an answer; while there is none, ask again with growing pauses for an hour.

        Args:
            ask: returns None if the answer is not known, and raises ConnectionError if there is no
                connection.
            unknown: seconds for which `ask` has to return None, without failing for as long in
                between, until None is taken as the answer.

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
                way_out = "jobs go on, and the same command again waits for them"
                raise OSError(f"{trouble}: asked for an hour; {way_out}")
            if trouble != _UNSURE or pause > 8:
                self.say(f"{trouble}; asked again in {pause:g} s")
            self.pause(pause)
            pause = min(2 * pause, _LONGEST)
