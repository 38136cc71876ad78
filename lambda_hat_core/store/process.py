"""Which process this is, and whether another one still lives."""

import hashlib
import os
import platform
from functools import cache
from pathlib import Path


@cache
def host() -> str:
    """Return 8 hex digits naming the space in which a pid means something.

    Machine name, boot and pid namespace: after a reboot, or in another container that shares the
    disk, an equal pid is another process.
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
    """Return 8 hex digits naming the instructions that this machine's processor knows.

    Code compiled on one machine of a cluster may hold instructions that another does not know.
    """
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    known = [platform.machine(), *sorted(flags.partition(":")[2].split())]
    return hashlib.sha256("\n".join(known).encode()).hexdigest()[:8]


def start_time(pid: int) -> str:
    """Return what tells a process from a later one of the same pid; empty where unknown."""
    fields = _stat(pid)
    return fields[19] if fields else ""


def alive(pid: int, started: str = "") -> bool:
    """Return whether `pid` runs on this host, and is the process that started at `started`.

    A process that has ended, but whose parent has not asked how, does not run.
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
    """Return pid and start time of the processes above this one in its process group.

    They are those that one command has started; the shell has another group. Empty where there is
    no /proc.
    """
    found: list[tuple[int, str]] = []
    pid = os.getppid()
    while pid > 1 and (fields := _stat(pid)) and os.getpgid(pid) == os.getpgrp():
        found.append((pid, fields[19]))
        pid = int(fields[1])
    return found


def descendants() -> list[int]:
    """Return the pids of all processes below this one; empty where there is no /proc."""
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
    """Return what /proc says of a process from its state on; nothing where it says nothing."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError, NotADirectoryError):
        return []
    return text.rpartition(")")[2].split()
