"""What a user's factory is made of: its module, the modules that this imports, and files it names.

All of it is part of a target's id, and is found without importing anything: imports are read from
the source. Only code outside of the standard library and of installed packages counts, since the
versions of those are recorded with each target.
"""

import ast
import glob
import hashlib
import importlib
import os
import re
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any, NamedTuple

from lambda_hat_core.config.model import Custom

_OURS = ("lambda_hat_core", "lambda_hat_assets")
_INSTALLED = tuple(
    os.path.realpath(sysconfig.get_path(name))
    for name in ("stdlib", "platstdlib", "purelib", "platlib")
)
_LONGEST_PATH = 1024
_PLAIN = (".safetensors", ".npz", ".eqx")


class Source(NamedTuple):
    """What decides which target a factory makes.

    Attributes:
        modules: files by the dotted name of the module, a module after those that it imports.
        files: the other files, by their name.
        sha256: a hash of all of their contents.
    """

    modules: dict[str, Path]
    files: dict[str, Path]
    sha256: str


def factory_search_path() -> list[str]:
    """Return the search path for factories: the working directory, PYTHONPATH, then sys.path."""
    return list(dict.fromkeys([*own_folders(), *filter(None, sys.path)]))


def own_folders() -> list[str]:
    """Return the folders of the user's own modules and files."""
    listed = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return list(dict.fromkeys([os.getcwd(), *filter(None, listed)]))


def source_of(model: Custom) -> Source:
    """Return what a factory is made of; neither it nor its package is imported.

    Raises:
        ModuleNotFoundError: if there is no such module, or it has no file.
        FileNotFoundError: if a file that `files` names does not exist.
    """
    importlib.invalidate_caches()
    name = model.factory.partition(":")[0]
    modules: dict[str, Path] = {}
    _gather(name, modules, required=True)
    files = dict(_named_files(model))
    if list(modules) == [name] and not files:
        return Source(modules, files, file_sha256(modules[name]))
    parts = [f"module {module} {file_sha256(file)}" for module, file in modules.items()]
    parts += [f"file {name} {file_sha256(file)}" for name, file in files.items()]
    return Source(modules, files, hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest())


def checkpoint_files(model: Custom) -> dict[int, Path]:
    """Return the files of a training that was made elsewhere, by step, in ascending order.

    Raises:
        ValueError: if there are none, or one has no step, or not one of its own, or a format that
            could contain code.
    """
    pattern = os.path.expanduser(str(model.checkpoints))
    for folder in own_folders():
        names = glob.glob(os.path.join(folder, pattern))
        if names:
            break
    else:
        raise ValueError("there are no such files")
    found: dict[int, Path] = {}
    for file in sorted(map(Path, names)):
        if file.suffix not in _PLAIN:
            raise ValueError(f"{file.name} is none of {', '.join(_PLAIN)}, which hold arrays alone")
        numbers = re.findall(r"\d+", file.stem)
        if not numbers:
            raise ValueError(f"{file.name} has no number in its name, which would be its step")
        other = found.setdefault(int(numbers[-1]), file)
        if other != file:
            raise ValueError(f"{other.name} and {file.name} are both of step {int(numbers[-1])}")
    return dict(sorted(found.items()))


def file_sha256(file: Path) -> str:
    """Return the SHA-256 of a file, which is read again only if it has changed."""
    stat = file.stat()
    return _sha256(file, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=4096)
def _sha256(file: Path, changed: int, size: int) -> str:
    del changed, size
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def is_installed(file: str | Path) -> bool:
    """Return whether a file belongs to Python, to an installed package, or to lambda_hat."""
    path = os.path.realpath(file)
    parts = Path(path).parts
    ours = tuple(str(Path(__file__).parents[2] / name) for name in _OURS)
    within = any(path.startswith(folder + os.sep) for folder in (*_INSTALLED, *ours))
    # Packages may be installed into any folder, and then have their metadata there.
    packaged = any(part.endswith((".dist-info", ".egg-info")) for part in parts)
    return within or packaged or "site-packages" in parts or "dist-packages" in parts


def _gather(name: str, into: dict[str, Path], *, required: bool = False) -> None:
    """Add a module, its packages, and everything that they import, dependencies first."""
    path: list[str] | None = factory_search_path()
    parts = name.split(".")
    for index in range(len(parts)):
        part = ".".join(parts[: index + 1])
        spec = PathFinder.find_spec(part, path) if path is not None else None
        if spec is None:
            if required:
                raise ModuleNotFoundError(f"there is no module {part}")
            return
        wanted = required and part == name
        if wanted and (spec.origin is None or not spec.has_location):
            raise ModuleNotFoundError(f"{name} has no source file")
        _add(spec, into, wanted=wanted)
        found = spec.submodule_search_locations
        path = None if found is None else list(found)


def _add(spec: ModuleSpec, into: dict[str, Path], *, wanted: bool) -> None:
    if spec.name in into or spec.origin is None or not spec.has_location:
        return
    file = Path(spec.origin)
    if is_installed(file):
        if wanted:
            into[spec.name] = file
        return
    into[spec.name] = file  # stops at modules that import each other
    for imported in _imports(spec, file):
        _gather(imported, into)
    into[spec.name] = into.pop(spec.name)


def _imports(spec: ModuleSpec, file: Path) -> list[str]:
    """Return the names that the import statements of a module may load."""
    if file.suffix != ".py":
        return []
    package = spec.name if spec.submodule_search_locations else spec.name.rpartition(".")[0]
    stat = file.stat()
    return list(_parsed(file, package, stat.st_mtime_ns, stat.st_size))


@lru_cache(maxsize=4096)
def _parsed(file: Path, package: str, changed: int, size: int) -> tuple[str, ...]:
    del changed, size
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return ()  # importing it reports the mistake
    names: dict[str, None] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= dict.fromkeys(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*(above if node.level else []), *filter(None, [node.module])])
            names |= dict.fromkeys([base, *(f"{base}.{alias.name}" for alias in node.names)])
    return tuple(name.strip(".") for name in names if name.strip("."))


def _named_files(model: Custom) -> Iterator[tuple[str, Path]]:
    for name in model.files:
        found = _find(name)
        if found is None:
            raise FileNotFoundError(f"there is no file {name}")
        if found.is_file():
            yield name, found
            continue
        for file in sorted(path for path in found.rglob("*") if path.is_file()):
            yield f"{name}/{file.relative_to(found).as_posix()}", file
    for name in _texts(model.kwargs):
        found = _find(name)
        if found is not None and found.is_file():
            yield name, found


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


def _find(name: str) -> Path | None:
    """Return the file or folder of this name, in the working directory or on PYTHONPATH."""
    if not 0 < len(name) <= _LONGEST_PATH or "\0" in name:
        return None
    for folder in own_folders():
        path = Path(folder, os.path.expanduser(name))
        try:
            if path.exists():
                return path
        except OSError:  # a text that no file system takes for a name
            return None
    return None
