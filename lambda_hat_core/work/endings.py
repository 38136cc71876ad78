"""How processes end: commands at a signal, all other processes with their parent.

Every artifact in the store is complete or absent at any moment, so a process needs no time to clean
up: it ends at once, and the same command, given again, continues where it stopped. This module
ensures that no process outlives its command. A dedicated thread receives the signals, because
Python runs signal handlers only between two bytecodes of the main thread, where a finaliser, an
import or a library can swallow the exception that they raise.
"""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import parent_process, resource_tracker
from types import FrameType

from lambda_hat_core.store import process

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that ask a command to end: Ctrl-C, `kill`, and a closed terminal."""

INTERRUPTED = "interrupted: the same command continues where this stopped"

_PATIENCE = 8.0
"""Longest time, in seconds, that the report of an interruption may delay the end."""

_LOOK = 1.0
"""Seconds between two checks whether the ancestors still run."""

_COPYING = 0.2
"""Seconds between the last message and the end of the process."""


def end_by_signals(say_so: Callable[[], None]) -> None:
    """End this process and its descendants at the first signal.

    Threads and processes that are started afterwards are not affected by these signals, which a
    terminal sends to a whole process group. Signals that are already ignored, as under `nohup`,
    remain ignored. This function must be called in the main thread.

    Args:
        say_so: called in a thread before the process ends; it may take up to eight seconds.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    # If the tracker were started later, it would unblock two of the signals again.
    resource_tracker.ensure_running()
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _wait_for_the_end)
    hears, speaks = socket.socketpair()
    speaks.setblocking(False)
    # Setting other handlers later, as Dagster does, does not change the wakeup descriptor.
    signal.set_wakeup_fd(speaks.fileno(), warn_on_full_buffer=False)

    def listen() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        with hears, speaks:
            number = 0
            while number not in SIGNALS:
                number = hears.recv(1)[0]
            timer = threading.Timer(_PATIENCE, _end, (128 + number,))
            timer.daemon = True
            timer.start()
            say_so()
            with suppress(OSError):  # the terminal may be closed
                os.write(2, f"{INTERRUPTED}\n".encode())
            # A thread may still have to copy the output to the terminal.
            time.sleep(_COPYING)
            _end(128 + number)

    threading.Thread(target=listen, name="signals", daemon=True).start()


def end_with_parent() -> None:
    """End this process as soon as its `multiprocessing` parent has ended."""
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent.join,), name="parent", daemon=True).start()


def end_with_ancestors(say_so: Callable[[], None]) -> None:
    """End this process as soon as any of its ancestors that belong to the same command has ended.

    Args:
        say_so: called in a thread before the process ends.
    """
    above = process.ancestors()

    def wait() -> None:
        while all(process.alive(pid, started) for pid, started in above):
            time.sleep(_LOOK)
        say_so()

    if above:
        threading.Thread(target=_follow, args=(wait,), name="ancestors", daemon=True).start()


def _follow(wait: Callable[[], object]) -> None:
    try:
        wait()
    finally:
        _end(1)


def _end(code: int) -> None:
    """Kill all descendants, which may not notice otherwise, and end this process."""
    for pid in process.descendants():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    os._exit(code)


def _wait_for_the_end(number: int, frame: FrameType | None) -> None:
    """Do nothing: the listening thread ends this process."""
