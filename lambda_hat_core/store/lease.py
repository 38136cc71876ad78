"""Leases, which admit one process at a time.

A lease is a file that its owner touches regularly. If the owner is dead, another process takes it
over.
"""

import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from lambda_hat_core.store import files, process

_STALE = 60.0
_BEAT = 10.0
_POLL = 0.2


class Owner(NamedTuple):
    """The process that holds a lease."""

    host: str
    pid: int
    started: str
    token: str

    def dead_here(self) -> bool:
        """Return whether the owner was a process of this host that has ended."""
        return self.host == process.host() and not process.alive(self.pid, self.started)


@contextmanager
def hold(
    path: Path,
    on_wait: Callable[[str], None] | None = None,
    *,
    stale: float = _STALE,
    beat: float = _BEAT,
    poll: float = _POLL,
) -> Iterator[None]:
    """Wait for the lease `path`, hold it during the context, and release it.

    Args:
        path: the lease file; its folder is created if necessary.
        on_wait: called once with a sentence that says which process is being waited for.
        stale: seconds without a heartbeat after which an owner counts as dead.
        beat: seconds between heartbeats.
        poll: seconds between checks of a lease that another process holds.
    """
    me = Owner(process.host(), os.getpid(), process.start_time(os.getpid()), secrets.token_hex(8))
    with files.explained(path.parent, path.name):
        path.parent.mkdir(parents=True, exist_ok=True)
        while not _create(path, me):
            other = read(path)
            if is_dead(path, other, stale):
                clear(path, other)
                continue
            if on_wait is not None and other is not None:
                on_wait(f"waiting for process {other.pid}, which is making {path.stem}")
                on_wait = None
            time.sleep(poll)
    stop = threading.Event()
    heart = threading.Thread(target=_beat, args=(path, me, stop, beat), daemon=True)
    heart.start()
    try:
        yield
    finally:
        stop.set()
        heart.join()
        if read(path) == me:
            path.unlink(missing_ok=True)


def read(path: Path) -> Owner | None:
    """Return the owner of a lease; None if there is none, or it is being written or damaged."""
    try:
        owner = Owner(**json.loads(path.read_bytes()))
    except (FileNotFoundError, IsADirectoryError, ValueError, TypeError, RecursionError):
        return None
    return owner if isinstance(owner.pid, int) else None


def is_dead(path: Path, owner: Owner | None, stale: float = _STALE) -> bool:
    """Return whether a lease may be taken over.

    It may if its owner has ended, or has sent no heartbeat for `stale` seconds.
    """
    if owner is not None and owner.dead_here():
        return True
    try:
        return _now(path.parent) - path.stat().st_mtime > stale
    except FileNotFoundError:
        return False


def _create(path: Path, me: Owner) -> bool:
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return False
    with os.fdopen(handle, "w") as stream:
        json.dump(me._asdict(), stream)
    return True


def sweep(folder: Path) -> None:
    """Remove the leases in `folder` whose owners are dead."""
    for path in folder.glob("*.lease"):
        owner = read(path)
        if is_dead(path, owner):
            clear(path, owner)


def clear(path: Path, dead: Owner | None) -> None:
    """Remove a dead lease; one that another process has renewed meanwhile stays, or is restored."""
    if read(path) != dead:
        return
    away = files.discarded(path)
    try:
        os.rename(path, away)
    except FileNotFoundError:
        return
    try:
        if read(away) != dead:
            os.link(away, path)
    except FileExistsError:
        pass
    finally:
        files.remove(away)


def _beat(path: Path, me: Owner, stop: threading.Event, beat: float) -> None:
    while not stop.wait(beat):
        if read(path) != me:
            return
        try:
            os.utime(path)
        except FileNotFoundError:
            return


def _now(folder: Path) -> float:
    """Return the time according to the clock that dates files in `folder`, the file server's."""
    probe = files.private(folder / "clock")
    try:
        probe.touch()
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)
