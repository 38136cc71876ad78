"""Files that are complete or absent: written under a temporary name, synced, then renamed."""

import errno
import hashlib
import json
import math
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lambda_hat_core.store import process

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_SHUT = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)
_TMP, _OLD = ".tmp-", ".old-"
_SEAL = "sha256"
_SWEEP_AFTER = 7 * 86400.0
"""Age in seconds of what a process of another host, or before a reboot, has left for certain."""


def private(path: Path, prefix: str = _TMP) -> Path:
    """Return an unused path in the same folder whose name identifies this process."""
    owner = f"{process.host()}-{os.getpid()}-{secrets.token_hex(4)}"
    return path.with_name(f"{prefix}{path.name}-{owner}")


def discarded(path: Path) -> Path:
    """Return a private path to which `path` is moved before it is deleted."""
    return private(path, _OLD)


def sync(path: Path) -> None:
    """Flush a file, or the entries of a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256(path: Path) -> str:
    """Return the hex digest of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_atomic(path: Path, content: bytes | str | Callable[[Path], object]) -> None:
    """Write `path` so that readers see the old file or the new one, also after a crash.

    A folder of that name is a fault, and gives way.

    Args:
        path: the file; its folder is created if necessary.
        content: bytes, text, or a function that writes the file whose path it is given.
    """
    tmp = private(path)
    with explained(path.parent, path.name):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            if callable(content):
                content(tmp)
            else:
                tmp.write_bytes(content.encode() if isinstance(content, str) else content)
            sync(tmp)
            if path.is_dir() and not path.is_symlink():
                remove(path)
            os.replace(tmp, path)
            sync(path.parent)
        finally:
            tmp.unlink(missing_ok=True)


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Write a mapping as JSON, together with its hash."""
    plain = _finite(content)
    write_atomic(path, to_json({**plain, _SEAL: _digest(plain)}, indent=1))


def read_sealed(path: Path) -> dict[str, Any] | None:
    """Return what `write_sealed` has written; None if it is not there, or not as it was written."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(content, dict) or content.pop(_SEAL, None) != _digest(content):
        return None
    return content


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def to_json(content: Any, indent: int | None = None) -> str:
    """Return strict JSON, with numpy scalars as numbers and non-finite numbers as null."""
    return json.dumps(_finite(content), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    match value:
        case dict():
            return {str(key): _finite(entry) for key, entry in value.items()}
        case list() | tuple():
            return [_finite(entry) for entry in value]
        case float():
            return float(value) if math.isfinite(value) else None
        case None | str() | int():
            return value
        case _:
            return _finite(value.tolist()) if hasattr(value, "tolist") else str(value)


def remove(path: Path) -> None:
    """Remove a file or a folder; parts of a folder that cannot be removed now are swept later."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def discard(path: Path) -> None:
    """Remove a file or a folder, which is gone for others in one atomic step."""
    away = discarded(path)
    os.rename(path, away)
    remove(away)


def sweep(folder: Path) -> list[Path]:
    """Remove the incomplete files that dead processes left in `folder`, but not in its subfolders.

    Whether a process of another host is dead is not known, so its files must be a week old.
    """
    gone = []
    with os.scandir(folder) as entries:
        left = [Path(entry.path) for entry in entries if entry.name.startswith((_TMP, _OLD))]
    for path in left:
        host, pid = [*path.name.split("-")[-3:], "", ""][:2]
        if host == process.host() and pid.isdigit():
            dead = not process.alive(int(pid))
        else:
            dead = time.time() - path.lstat().st_mtime > _SWEEP_AFTER
        if dead:
            remove(path)
            gone.append(path)
    return gone


def refused(words: str) -> OSError:
    """Return the disk error that a library has reported only as text."""
    for code in (*_FULL, *_SHUT):
        if os.strerror(code) in words:
            return OSError(code, os.strerror(code))
    return OSError(" ".join(words.split()))


def is_lasting(error: OSError) -> bool:
    """Return whether retrying is useless: the disk is full, or permission is denied."""
    return error.errno in _FULL or isinstance(error, PermissionError)


@contextmanager
def explained(where: Path, what: str, *, full_only: bool = False) -> Iterator[None]:
    """Turn errors of the disk into one line that names the path and what to do.

    Args:
        where: the folder that is written to.
        what: the name of what is being written.
        full_only: pass on permission errors unchanged, because they may concern other paths.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            full = OSError(
                f"no space left under {where} ({error.strerror}): nothing of {what} was kept; free "
                "some space and run the same command again"
            )
            full.errno = error.errno
            raise full from error
        if error.errno in _SHUT and not full_only:
            raise PermissionError(
                f"cannot write {what} under {where} ({error.strerror}): set LAMBDA_HAT_HOME to a "
                "folder that you may write to"
            ) from error
        raise
