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
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError, NotADirectoryError):
        return ""
    return stat.rpartition(")")[2].split()[19]


def alive(pid: int, started: str = "") -> bool:
    """Return whether `pid` runs on this host, and is the process that started at `started`."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return not started or start_time(pid) in ("", started)
