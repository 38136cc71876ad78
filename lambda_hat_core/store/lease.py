"""One process at a time: a file whose owner renews it, taken over when the owner is dead."""

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
    """Who holds a lease."""

    host: str
    pid: int
    started: str
    token: str

    def dead_here(self) -> bool:
        """Whether the owner ran on this host and does not run any more."""
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
    """Wait for the lease file `path`, hold it, and give it back.

    Args:
        path: the file; its folder is made if need be.
        on_wait: told once, in words, whom this process waits for.
        stale: seconds without a sign of life after which an owner counts as dead.
        beat: seconds between signs of life.
        poll: seconds between looks at somebody else's lease.
    """
    me = Owner(process.host(), os.getpid(), process.start_time(os.getpid()), secrets.token_hex(8))
    with files.explained(path.parent, path.name):
        path.parent.mkdir(parents=True, exist_ok=True)
        while not _create(path, me):
            other = read(path)
            if is_dead(path, other, stale):
                _clear(path, other)
                continue
            if on_wait is not None and other is not None:
                on_wait(f"waiting for process {other.pid}, which is at work on {path.stem}")
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
    """Return the owner of a lease; None where there is none or it is being written."""
    try:
        return Owner(**json.loads(path.read_bytes()))
    except (FileNotFoundError, json.JSONDecodeError, TypeError):
        return None


def is_dead(path: Path, owner: Owner | None, stale: float = _STALE) -> bool:
    """Return whether a lease may be taken over: its owner is gone, or silent for `stale` s."""
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


def _clear(path: Path, dead: Owner | None) -> None:
    """Move a dead lease away; a living one caught by mistake is put back."""
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
        away.unlink(missing_ok=True)


def _beat(path: Path, me: Owner, stop: threading.Event, beat: float) -> None:
    while not stop.wait(beat):
        if read(path) != me:
            return
        try:
            os.utime(path)
        except FileNotFoundError:
            return


def _now(folder: Path) -> float:
    """Return the time by the clock that stamps files in `folder`: the file server's."""
    probe = files.private(folder / "clock")
    try:
        probe.touch()
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)
