"""Costs counted in calls, statements and reads, which are the same on every machine."""

import cProfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

FEW, MORE, MANY = 50, 500, 5000
"""Numbers of runs in an experiment."""


def calls_of_each(work: Callable[[int], Callable[[], object]]) -> float:
    """Return the number of function calls per additional run, C functions included.

    The number must not increase with the number of runs: if it did, the work for one run would
    involve all the others.

    Args:
        work: a function that takes a number of runs and returns the function to be profiled.
    """
    work(FEW)()  # imports and caches
    few, more, many = (_calls(work(runs)) for runs in (FEW, MORE, MANY))
    at_first, further = (more - few) / (MORE - FEW), (many - more) / (MANY - MORE)
    assert further < 1.05 * at_first, f"{further:.0f} calls for each of many, {at_first:.0f} of few"
    return further


def _calls(work: Callable[[], object]) -> int:
    import jaxtyping

    profile = cProfile.Profile()
    checks = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)  # tests check types at every call; users not
    try:
        profile.runcall(work)
    finally:
        jaxtyping.config.update("jaxtyping_disable", checks)
    return sum(entry.callcount for entry in profile.getstats())


@contextmanager
def statements() -> Iterator[list[str]]:
    """Collect the SQL statements that SQLAlchemy sends during the context."""
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
    """Return how often this process has called the system to read from a file."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["syscr"])
