"""What a step prints, on the terminal and in the UI, to the last line.

Dagster's manager lets `tail` follow the files and kills it when the step ends: lines that it had
not read are lost on the terminal, a step's last error among them. It also starts four processes a
step. Here it captures with a thread instead, whatever DAGSTER_HOME it is configured in.
"""

import os
import select
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from dagster._core.storage.compute_log_manager import CapturedLogContext, ComputeIOType
from dagster._core.storage.local_compute_log_manager import (
    IO_TYPE_EXTENSION,
    LocalComputeLogManager,
)

_BYTES = 1 << 16

_CAPTURES = threading.RLock()
"""Held by the thread whose captures are under way, one within the other."""


def copy_every_line() -> None:
    """Let Dagster's manager capture like this in this process and its forks."""
    LocalComputeLogManager.capture_logs = _capture_logs


@contextmanager
def _capture_logs(
    self: LocalComputeLogManager, log_key: Sequence[str]
) -> Iterator[CapturedLogContext]:
    """Copy what this process writes meanwhile; the files are whole when this ends."""
    with ExitStack() as stack:
        for stream, kind in (
            (sys.stdout, ComputeIOType.STDOUT),
            (sys.stderr, ComputeIOType.STDERR),
        ):
            place = Path(self.get_captured_local_path(log_key, IO_TYPE_EXTENSION[kind]))
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
            stack.enter_context(_copied(stream, place))
        yield CapturedLogContext(log_key)
    Path(self.complete_artifact_path(log_key)).touch()


@contextmanager
def _copied(stream: IO[str], place: Path) -> Iterator[None]:
    """Copy to a file what is written to the stream's descriptor, and pass it on."""
    try:
        descriptor = stream.fileno()
    except (OSError, AttributeError):
        # A stream of Python's own, as in notebooks and tests: nothing to copy from.
        yield
        return
    if not _CAPTURES.acquire(blocking=False):
        # What is written meanwhile is another thread's as well, and goes to its file.
        yield
        return
    stream.flush()
    source, sink = os.pipe()
    wake, end = os.pipe()
    onward = os.dup(descriptor)
    with place.open("ab", buffering=0) as file:
        copier = threading.Thread(
            target=_copy, args=(source, wake, file.fileno(), onward), daemon=True
        )
        os.dup2(sink, descriptor)
        os.close(sink)
        copier.start()
        try:
            yield
        finally:
            stream.flush()
            os.dup2(onward, descriptor)
            os.close(end)
            copier.join()
            for used in (source, wake, onward):
                os.close(used)
            _CAPTURES.release()


def _copy(source: int, wake: int, *targets: int) -> None:
    """Copy until `wake` is closed at its other end and nothing is left.

    The end of `source` is not waited for: a child that outlives the step holds it open.
    """
    writing = [*targets]
    poller = select.poll()
    poller.register(source, select.POLLIN)
    poller.register(wake, select.POLLIN)
    ended = False
    while True:
        ready = {descriptor for descriptor, _ in poller.poll(0 if ended else None)}
        if source in ready:
            chunk = os.read(source, _BYTES)
            if not chunk:
                return
            for target in tuple(writing):
                try:
                    _write_all(target, chunk)
                except OSError:
                    # A full disk or a closed terminal stops neither the step nor the other copy.
                    writing.remove(target)
        elif ended:
            return
        elif wake in ready:
            poller.unregister(wake)
            ended = True


def _write_all(descriptor: int, chunk: bytes) -> None:
    while chunk:
        chunk = chunk[os.write(descriptor, chunk) :]
