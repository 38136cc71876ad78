"""Compiled programs, which JAX keeps in one file each and writes in place.

A process that is killed meanwhile leaves a part of a file. JAX compiles such a program anew each
time and never replaces the file. Only what zlib has compressed, as JAX does by default, has a
checksum.
"""

import zlib
from collections.abc import Iterable
from pathlib import Path

from lambda_hat_core.store import files, process
from lambda_hat_core.store.store import Store

_ZLIB, _BLOCK = b"\x78", 1 << 20
_CHECKED = ".checked"


def cache(store: Store) -> Path:
    """Return the folder of a store's programs for this kind of processor."""
    return store.root / ".cache" / "jax" / process.processor()


def programs(store: Store) -> list[Path]:
    """Return the files of a store's programs, for every kind of processor."""
    return sorted((store.root / ".cache" / "jax").glob("*/*-cache"))


def partial(paths: Iterable[Path]) -> list[Path]:
    """Return the files among some that are not as JAX wrote them."""
    return [path for path in paths if not _is_whole(path)]


def tidy(folder: Path) -> None:
    """Remove the partial files of a cache. Each is read once, by the first process after it."""
    folder.mkdir(parents=True, exist_ok=True)
    stamp = folder / _CHECKED
    since = stamp.stat().st_mtime_ns if stamp.exists() else 0
    stamp.touch()
    new = [path for path in folder.glob("*-cache") if _written(path) >= since]
    for path in partial(new):
        files.remove(path)


def _written(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return -1


def _is_whole(path: Path) -> bool:
    inflated = zlib.decompressobj()
    try:
        with path.open("rb") as stream:
            while block := stream.read(_BLOCK):
                if stream.tell() == len(block) and not block.startswith(_ZLIB):
                    return True
                inflated.decompress(block)
    except FileNotFoundError:
        return True
    except (OSError, zlib.error):
        return False
    return inflated.eof
