"""Which files are opened for reading while a function runs, as Python's audit hooks tell."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import source_from_cache
from pathlib import Path
from typing import Any

_here = threading.local()


@contextmanager
def opened() -> Iterator[dict[Path, None]]:
    """Collect the files that this thread opens for reading, and has not written itself.

    Compiled modules count as their source.
    """
    _listen()
    events: list[tuple[Any, Any, Any]] = []
    found: dict[Path, None] = {}
    outer = getattr(_here, "events", None)
    _here.events = events
    try:
        yield found
    finally:
        _here.events = outer
        written: set[Path] = set()
        for name, mode, flags in events:
            path = _path(name)
            if path is None:
                continue
            if _writes(mode, flags):
                written.add(path)
            elif path not in written and path.is_file():
                found[path] = None


@cache
def _listen() -> None:
    """Start to listen, once: Python keeps its audit hooks for good."""
    sys.addaudithook(_hear)


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open":
        events = getattr(_here, "events", None)
        if events is not None:
            events.append(arguments)


def _writes(mode: str | None, flags: int) -> bool:
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax")
    return flags & os.O_ACCMODE == os.O_WRONLY or bool(flags & os.O_CREAT)


def _path(name: Any) -> Path | None:
    if not isinstance(name, str | bytes | os.PathLike):
        return None
    path = Path(os.path.realpath(os.fsdecode(name)))
    if path.suffix == ".pyc" and path.parent.name == "__pycache__":
        return Path(source_from_cache(str(path)))
    return path
