"""Progress lines, at a rate that people can follow."""

import time
from collections.abc import Callable
from typing import Any

_SECONDS_BETWEEN_LINES = 5.0


def silent(*said: object) -> None:
    """Ignore all arguments."""
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
        key: the key, with which every line begins.
        say: receives each line.
    """

    def __init__(self, key: str, say: Callable[[str], None]):
        self._key = key
        self._say = say
        self._held: str | None = None
        self._last = time.monotonic()

    def hear(self, event: dict[str, Any]) -> None:
        """Take an event; pass on a log line unless the event after it shows that it is too soon.

        A worker sends a log line before each of its progress events. Such a line is dropped if the
        previous line was passed on less than five seconds ago.
        """
        now = time.monotonic()
        if event["event"] == "progress" and now - self._last < _SECONDS_BETWEEN_LINES:
            self._held = None
        if self._held is not None:
            self._say(f"{self._key} {self._held}")
            self._held, self._last = None, now
        if event["event"] == "log":
            self._held = event["message"]
