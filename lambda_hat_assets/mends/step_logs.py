"""The terminal shows the output of a step to the last line.

The fault: `dagster._core.execution.compute_logs.execute_posix_tail` shows the output file of a step
with `tail -F`, which it kills when the step ends. Lines that `tail` has not read yet, such as the
last error of the step, never reach the terminal.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import UnsupportedOperation
from typing import IO

from dagster._core.execution import compute_logs

_LOOK = 0.05
"""Seconds between two checks for new lines."""

_BYTES = 1 << 16


def mend() -> None:
    """Replace Dagster's function."""
    compute_logs.execute_posix_tail = _follow


@contextmanager
def _follow(path: str, stream: IO[str]) -> Iterator[None]:
    """During the context, copy all additions to a file to the present destination of a stream."""
    try:
        terminal = os.dup(stream.fileno())
    except UnsupportedOperation:
        # The stream is a Python object, as in a notebook, so its output is not redirected.
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
    """Copy until `ended` is set and everything is copied, or until the terminal is closed."""
    with open(path, "rb", buffering=0) as file, suppress(OSError):
        is_last = False
        while not is_last:
            is_last = ended.wait(_LOOK)
            while chunk := file.read(_BYTES):
                while chunk:
                    chunk = chunk[os.write(terminal, chunk) :]
