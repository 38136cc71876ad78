"""Finds and hashes the source of a user's factory without importing it."""

import hashlib
import importlib
import os
import sys
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path


def factory_search_path() -> list[str]:
    """Return the search path for factories: the working directory, PYTHONPATH, then sys.path."""
    listed = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return list(dict.fromkeys([os.getcwd(), *filter(None, listed), *filter(None, sys.path)]))


def source_sha256(module: str) -> str:
    """Return the SHA-256 of a module's source file; neither it nor its package is imported.

    Raises:
        ModuleNotFoundError: if there is no such module, or it has no file.
    """
    importlib.invalidate_caches()
    spec: ModuleSpec | None = None
    path: list[str] | None = factory_search_path()
    parts = module.split(".")
    for index in range(len(parts)):
        name = ".".join(parts[: index + 1])
        spec = PathFinder.find_spec(name, path) if path is not None else None
        if spec is None:
            raise ModuleNotFoundError(f"there is no module {name}")
        found = spec.submodule_search_locations
        path = None if found is None else list(found)
    if spec is None or spec.origin is None or not spec.has_location:
        raise ModuleNotFoundError(f"{module} has no source file")
    return hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest()
