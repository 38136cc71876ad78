"""The identity of this process, and whether other processes still exist."""

import hashlib
import os
import platform
from functools import cache
from pathlib import Path


@cache
def host() -> str:
    """Return 8 hex digits that identify the scope within which a pid is unique.

    The scope is given by machine name, boot and pid namespace: after a reboot, or in another
    container that shares the disk, the same pid belongs to another process.
    """
    boot = Path("/proc/sys/kernel/random/boot_id")
    space = Path("/proc/self/ns/pid")
    parts = (
        platform.node(),
        boot.read_text() if boot.exists() else "",
        os.readlink(space) if space.is_symlink() else "",
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


@cache
def processor() -> str:
    """Return 8 hex digits that identify the instruction set of this machine's processor.

    Code compiled on one machine of a cluster may contain instructions that another lacks.
    """
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    known = [platform.machine(), *sorted(flags.partition(":")[2].split())]
    return hashlib.sha256("\n".join(known).encode()).hexdigest()[:8]


def start_time(pid: int) -> str:
    """Return the start time, which distinguishes a process from later ones with the same pid.

    The text is empty if the start time is unknown.
    """
    fields = _stat(pid)
    return fields[19] if fields else ""


def alive(pid: int, started: str = "") -> bool:
    """Return whether `pid` runs on this host and is the process that started at `started`.

    A zombie, which has ended but has not been reaped by its parent, does not count as running.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    fields = _stat(pid)
    if not fields:
        return True
    return fields[0] != "Z" and started in ("", fields[19])


def ancestors() -> list[tuple[int, str]]:
    """Return pid and start time of this process's ancestors within its process group.

    These were all started by one command; the shell belongs to another group. The list is empty on
    systems without /proc.
    """
    found: list[tuple[int, str]] = []
    pid = os.getppid()
    while pid > 1 and (fields := _stat(pid)) and os.getpgid(pid) == os.getpgrp():
        found.append((pid, fields[19]))
        pid = int(fields[1])
    return found


def descendants() -> list[int]:
    """Return the pids of all descendants of this process; none on systems without /proc."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        if fields := _stat(int(folder.name)):
            children.setdefault(int(fields[1]), []).append(int(folder.name))
    found: list[int] = []
    ahead = [os.getpid()]
    while ahead:
        below = children.get(ahead.pop(), [])
        found += below
        ahead += below
    return found


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/<pid>/stat from the state on; none if it cannot be read."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError, NotADirectoryError):
        return []
    return text.rpartition(")")[2].split()
