"""Messages during a call: a forecast, then one line of progress that is updated in place."""

import sys
import time
from collections.abc import Callable
from typing import Any

from lambda_hat_core.analysis.words import duration, plus_minus
from lambda_hat_core.samplers.drive import Progress

_BETWEEN_LINES = 10.0
_BETWEEN_RENEWALS = 0.2
_CLEAR = "\r\033[K"


class Display:
    """Writes messages to a stream.

    In a terminal and in a notebook one line of progress is updated, and removed when the run ends.
    Elsewhere, such as in a file, a line is written every ten seconds.

    Args:
        name: the name of the sampler, with which lines begin.
        stream: where lines are written, stderr by default.
        clock: a function that returns the time in seconds.
    """

    is_heard = True
    """Whether lines are written, so that it is worth to measure what they say."""

    def __init__(self, name: str, stream: Any = None, clock: Callable[[], float] = time.monotonic):
        self._name = name
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._renews = self._stream.isatty() or type(self._stream).__module__.startswith(
            "ipykernel"
        )
        self._last = clock()
        self._counted = False
        self._is_shown = False

    def begin(self) -> None:
        """Write at once that the call has begun, on the line of progress where there is one."""
        self._write("setting up: the loss is checked, timed and compiled")

    def say(self, line: str) -> None:
        """Write a permanent line."""
        start = _CLEAR if self._is_shown else ""
        self._is_shown = False
        print(f"{start}{self._name}: {line}", file=self._stream, flush=True)

    def hear(self, line: str) -> None:
        """Write a line of progress, unless the last one was written only just now."""
        now = self._clock()
        if now - self._last < (_BETWEEN_RENEWALS if self._renews else _BETWEEN_LINES):
            return
        self._last = now
        self._write(line)

    def _write(self, line: str) -> None:
        start, end = (_CLEAR, "") if self._renews else ("", "\n")
        self._is_shown = self._renews
        print(f"{start}{self._name}: {line}", end=end, file=self._stream, flush=True)

    def progress(self, at: Progress) -> None:
        """Write the progress of the draws."""
        known = self._counted and at.done < at.total  # the first chunk waits for its compilation
        self._counted = True
        left = f"{duration(at.eta_seconds)} left, " if known and not at.waits_for else ""
        self.hear(f"{at.so_far}, {left}llc {plus_minus(at.llc, at.llc_se)}{at.waits}")

    def end(self) -> None:
        """Remove the line of progress."""
        if self._renews:
            print(_CLEAR, end="", file=self._stream, flush=True)


class Silent(Display):
    """A display that writes nothing."""

    is_heard = False

    def begin(self) -> None:
        """Do nothing."""

    def say(self, line: str) -> None:
        """Ignore a line."""

    def hear(self, line: str) -> None:
        """Ignore a line."""

    def end(self) -> None:
        """Do nothing."""
