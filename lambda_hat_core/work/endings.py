"""How processes end: a command that a person started by signals, all others with their parent.

Everything that the store holds is complete or absent at every moment, so a process needs no time to
clean up: it ends at once, wherever it is, and the same command continues where it stopped. What
this module adds is that nothing outlives the command. A signal is taken by a thread of its own:
Python calls signal handlers between two bytecodes of the main thread only, and an exception that is
raised there can be swallowed by a finaliser, by an import, or by a library that catches it.
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
"""Seconds that may be spent on saying that a command was interrupted."""

_LOOK = 1.0
"""Seconds between two looks for the processes above this one."""

_COPYING = 0.2
"""Seconds between the last words and the end."""


def end_by_signals(say_so: Callable[[], None]) -> None:
    """Let the first signal end this process, with everything that ends with its parent.

    Threads and processes that are started afterwards take no notice of these signals, which a
    terminal sends to a whole group. Signals that are ignored already, as under `nohup`, stay so.
    Call it in the main thread.

    Args:
        say_so: is called in a thread before the process ends, and may take eight seconds.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    # Starting it later would unblock two of them again.
    resource_tracker.ensure_running()
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _wait_for_the_end)
    hears, speaks = socket.socketpair()
    speaks.setblocking(False)
    # Whoever sets another handler for a signal later, as Dagster does, leaves this as it is.
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
            # What was written may be on its way to the terminal through a thread that copies it.
            time.sleep(_COPYING)
            _end(128 + number)

    threading.Thread(target=listen, name="signals", daemon=True).start()


def end_with_parent() -> None:
    """End this process as soon as its `multiprocessing` parent has ended."""
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent.join,), name="parent", daemon=True).start()


def end_with_ancestors(say_so: Callable[[], None]) -> None:
    """Let this process end as soon as any process above it ends that the same command started.

    Args:
        say_so: is called in a thread before the process ends.
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
    """End this process and, without waiting until they notice, those below it."""
    for pid in process.descendants():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    os._exit(code)


def _wait_for_the_end(number: int, frame: FrameType | None) -> None:
    """Do nothing: the thread that listens ends this process."""
