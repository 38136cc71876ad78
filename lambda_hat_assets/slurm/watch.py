"""The patience of a step that waits for a cluster, and the end of it when a person says so."""

import math
import time
from collections.abc import Callable

import dagster as dg

from lambda_hat_assets.running.console import PARENT_TAG
from lambda_hat_assets.slurm.queue import Full

TICK = 2.0
"""Seconds between looks whether a person has ended the run."""

HOUR = 3600.0
"""Seconds for which a cluster may give no answer."""

_LONGEST = 60.0
"""Seconds of the longest pause between two tries."""

_UNSURE = "squeue and sacct do not say how the job stands"

_ENDED = (dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED)


class Watch:
    """What a step does while it waits.

    Args:
        context: of the step.

    Attributes:
        is_ended: whether nothing interrupts pauses any more, because the step is being ended.
    """

    def __init__(self, context: dg.OpExecutionContext | dg.AssetExecutionContext):
        self._context = context
        self.say: Callable[[str], None] = context.log.info
        self.is_ended = False

    @property
    def run(self) -> str:
        """The id of the outermost run that the step is a part of: what a person terminates."""
        run = self._context.run
        return run.tags.get(PARENT_TAG, run.run_id)

    def is_terminated(self) -> bool:
        """Whether a person has ended this run, or the `llc` job that it is a part of."""
        ids = {self._context.run.run_id, self.run}
        runs = [self._context.instance.get_run_by_id(id) for id in ids]
        return any(run is not None and run.status in _ENDED for run in runs)

    def pause(self, seconds: float) -> None:
        """Wait.

        Raises:
            DagsterExecutionInterruptedError: soon after a person has ended the run.
        """
        while seconds > 0:
            if not self.is_ended and self.is_terminated():
                raise dg.DagsterExecutionInterruptedError
            time.sleep(min(seconds, TICK))
            seconds -= TICK

    def insist[T](self, ask: Callable[[], T], unknown: float = math.inf) -> T:
        """Return an answer, asking again with growing pauses for an hour while there is none.

        Args:
            ask: returns None where nobody knows, and raises ConnectionError where nobody answers.
            unknown: seconds after which None is the answer: as long, and never so long without an
                answer in between, everybody has said so.

        Raises:
            OSError: if there was no answer for an hour; a queue that is full has answered.
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
