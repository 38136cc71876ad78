"""What a step prints reaches the terminal to the last line.

The fault: `dagster._core.execution.compute_logs.execute_posix_tail` lets `tail -F` show the file
into which a step prints and kills it when the step ends, so that the terminal loses the lines that
`tail` has not read yet, such as a step's last error.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import UnsupportedOperation
from typing import IO

from dagster._core.execution import compute_logs

_LOOK = 0.05
"""Seconds between two looks for new lines."""

_BYTES = 1 << 16


def mend() -> None:
    """Put this follower in place of Dagster's own."""
    compute_logs.execute_posix_tail = _follow


@contextmanager
def _follow(path: str, stream: IO[str]) -> Iterator[None]:
    """Copy what is added to a file to where a stream leads now, until the block has ended."""
    try:
        terminal = os.dup(stream.fileno())
    except UnsupportedOperation:
        # A stream of Python's own, as in a notebook, into which no file is redirected.
        yield
        return
    ended = threading.Event()
    thread = threading.Thread(target=_copy, args=(path, terminal, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        os.close(terminal)


def _copy(path: str, terminal: int, ended: threading.Event) -> None:
    """Copy until nothing is left after the end, or until the terminal is closed."""
    with open(path, "rb", buffering=0) as file, suppress(OSError):
        is_last = False
        while not is_last:
            is_last = ended.wait(_LOOK)
            while chunk := file.read(_BYTES):
                while chunk:
                    chunk = chunk[os.write(terminal, chunk) :]
