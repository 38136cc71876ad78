"""Progress lines for people who wait, thinned out."""

import time
from collections.abc import Callable
from typing import Any

_SECONDS_BETWEEN_LINES = 5.0


def silent(*said: object) -> None:
    """Tell nobody."""
    del said


def seldom(
    say: Callable[[str], None], clock: Callable[[], float] = time.monotonic
) -> Callable[[str], None]:
    """Return a `say` that drops lines within 5 seconds of its creation or of its previous line."""
    last = clock()

    def heard(line: str) -> None:
        nonlocal last
        if clock() - last >= _SECONDS_BETWEEN_LINES:
            last = clock()
            say(line)

    return heard


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
        """Say a log line, unless the next event marks it as a progress line that comes too soon."""
        now = time.monotonic()
        if event["event"] == "progress" and now - self._last < _SECONDS_BETWEEN_LINES:
            self._held = None
        if self._held is not None:
            self._say(f"{self._key} {self._held}")
            self._held, self._last = None, now
        if event["event"] == "log":
            self._held = event["message"]
