"""What work costs in calls, statements and reads, which are the same on every machine."""

import cProfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

FEW, MORE, MANY = 50, 500, 5000
"""Runs of an experiment."""


def calls_of_each(work: Callable[[int], Callable[[], object]]) -> float:
    """Return how many functions, those in C included, are called for each further of many runs.

    It must be as many as for each of few, for what costs more the more there are is a scan of all.

    Args:
        work: a function from a number of runs to what is done with them.
    """
    work(FEW)()  # what is imported and remembered once
    few, more, many = (_calls(work(runs)) for runs in (FEW, MORE, MANY))
    at_first, further = (more - few) / (MORE - FEW), (many - more) / (MANY - MORE)
    assert further < 1.05 * at_first, f"{further:.0f} calls for each of many, {at_first:.0f} of few"
    return further


def _calls(work: Callable[[], object]) -> int:
    profile = cProfile.Profile()
    profile.runcall(work)
    return sum(entry.callcount for entry in profile.getstats())


@contextmanager
def statements() -> Iterator[list[str]]:
    """Collect the SQL that SQLAlchemy sends meanwhile."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    sent: list[str] = []

    def listen(connection, cursor, statement, parameters, context, executemany):
        sent.append(statement)

    event.listen(Engine, "before_cursor_execute", listen)
    try:
        yield sent
    finally:
        event.remove(Engine, "before_cursor_execute", listen)


def reads() -> int:
    """Return how often this process has asked the system to read from a file."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["syscr"])
