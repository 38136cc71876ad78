"""What a worker says, for people: its log lines, with those on progress thinned out."""

import time
from collections.abc import Callable
from typing import Any

_SECONDS_BETWEEN_LINES = 5.0


class Teller:
    """Passes on the log lines of one key.

    Args:
        key: begins every line.
        say: takes a line.
    """

    def __init__(self, key: str, say: Callable[[str], None]):
        self._key = key
        self._say = say
        self._held: str | None = None
        self._last = time.monotonic()

    def hear(self, event: dict[str, Any]) -> None:
        """Say a log line, unless the next event shows it to be one of progress, too soon."""
        now = time.monotonic()
        if event["event"] == "progress" and now - self._last < _SECONDS_BETWEEN_LINES:
            self._held = None
        if self._held is not None:
            self._say(f"{self._key} {self._held}")
            self._held, self._last = None, now
        if event["event"] == "log":
            self._held = event["message"]
