"""A default cache of compiled programs that outlives the process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
from jax.experimental.compilation_cache import compilation_cache

from lambda_hat_core.store import compiled, process

_KEEP_ALL = {
    "jax_persistent_cache_min_compile_time_secs": 0.0,
    "jax_persistent_cache_min_entry_size_bytes": -1,
}
"""By default JAX caches only programs that took a second to compile, but a run consists of dozens
of smaller programs."""


def user_cache() -> Path:
    """Return the folder of this user's compiled programs for this kind of processor."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "lambda_hat" / "jax" / process.processor()


@contextmanager
def kept() -> Iterator[None]:
    """Cache the programs compiled in this context in the user's folder.

    This has no effect if JAX already has a cache, if caching is switched off, or if the folder
    cannot be written. JAX's settings are restored at the end, so that other programs of the user
    are compiled as before.
    """
    configured = jax.config.jax_compilation_cache_dir or not jax.config.jax_enable_compilation_cache
    folder = user_cache()
    if configured or not _usable(folder):
        yield
        return
    compiled.tidy(folder)
    wanted = {"jax_compilation_cache_dir": str(folder), **_KEEP_ALL}
    before = {name: getattr(jax.config, name) for name in wanted}
    _configure(wanted)
    try:
        yield
    finally:
        _configure(before)


def _usable(folder: Path) -> bool:
    """Return whether the folder can be written to, and make it if it is missing."""
    above = next(path for path in (folder, *folder.parents) if path.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        return False
    folder.mkdir(parents=True, exist_ok=True)
    return True


def _configure(settings: dict[str, object]) -> None:
    for name, value in settings.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
