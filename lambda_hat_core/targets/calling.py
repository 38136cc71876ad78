"""Imports and calls the factory of a custom target, and watches which files it reads."""

import importlib
import inspect
import os
import sys
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import Any

import jax

from lambda_hat_core.config.model import Custom
from lambda_hat_core.plan.factory import (
    Source,
    checkpoint_files,
    factory_search_path,
    file_sha256,
    is_installed,
    own_folders,
    source_of,
)
from lambda_hat_core.streams import stream
from lambda_hat_core.targets.loss_check import refusal
from lambda_hat_core.targets.opened import opened

_LOADED = "__lambda_hat_sha256__"
"""Attribute of a module that a factory uses: the hash of the source that was loaded."""


def called(spec: Custom, seed: int, step: int | None = None) -> tuple[Any, str]:
    """Return what the factory returns for a seed, and the hash of what it is made of.

    Args:
        spec: the factory and its arguments.
        seed: that of its key.
        step: of the checkpoint that it is given, if `spec` names files of checkpoints.

    Raises:
        ValueError: if it cannot be imported or called, fails, or reads a file that its id does not
            cover.
    """
    maker = f"model.factory {spec.factory}"
    name, _, function = spec.factory.partition(":")
    way_out = "put the module in the working directory or on PYTHONPATH"
    with opened() as read:
        try:
            source = source_of(spec)
            module = _module(name, source)
        except (ImportError, SyntaxError) as error:
            raise refusal(maker, f"cannot be imported ({error})", way_out) from error
        except FileNotFoundError as error:
            raise refusal(
                maker, f"names a file in vain ({error})", "correct model.files"
            ) from error
        if spec.source_sha256 not in (None, source.sha256):
            did = (
                f"has source {source.sha256[:12]}, but the plan was made with "
                f"{spec.source_sha256[:12]}"
            )
            raise refusal(maker, did, "plan again") from None
        factory = getattr(module, function, None)
        if not callable(factory):
            raise refusal(maker, "is not a function of that module", "check its name")
        key, kwargs = stream(seed, "factory"), dict(spec.kwargs)
        if spec.checkpoints is not None:
            kwargs["checkpoint"] = _checkpoint(spec, step, maker)
            source = source._replace(files=source.files | {"": kwargs["checkpoint"]})
        try:
            inspect.signature(factory).bind(key, **kwargs)
        except TypeError as error:
            did = f"does not take (key, **{kwargs}) ({error})"
            raise refusal(maker, did, "correct model.kwargs") from error
        try:
            made = factory(key, **kwargs)
        except (OSError, MemoryError):
            raise
        except Exception as error:
            did = f"raised {type(error).__name__}: {error}"
            raise refusal(
                maker, did, "correct it; the traceback is kept next to the record of the failure"
            ) from error
    _check_read(maker, source, read)
    return made, source.sha256


def _checkpoint(spec: Custom, step: int | None, maker: str) -> Path:
    """Return the file of a step, which must be what it was when the plan was made.

    Raises:
        ValueError: if it is not.
    """
    try:
        file = checkpoint_files(spec).get(-1 if step is None else step)
    except ValueError as error:
        raise refusal(maker, f"has no checkpoints ({error})", "correct the files") from error
    if file is None or spec.checkpoint_sha256 not in (None, file_sha256(file)):
        did = f"has another file of step {step} of {spec.checkpoints} than when the plan was made"
        raise refusal(maker, did, "plan again")
    return file


def _module(name: str, source: Source) -> Any:
    """Import a module; reload all of its own modules if the source of one is not what was loaded.

    Dependencies come first, so that each module is reloaded with those that it imports.
    """
    sys.path[:0] = [path for path in factory_search_path() if path not in sys.path]
    hashes = {module: file_sha256(file) for module, file in source.modules.items()}
    loaded = [module for module in hashes if module in sys.modules]
    with _from_source(hashes):
        if any(vars(sys.modules[module]).get(_LOADED) != hashes[module] for module in loaded):
            for module in loaded:
                importlib.reload(sys.modules[module])
        found = importlib.import_module(name)
    for module, sha256 in hashes.items():
        if module in sys.modules:
            vars(sys.modules[module])[_LOADED] = sha256
    return found


class _SourceLoader(SourceFileLoader):
    """Compiles the source that is there, and neither reads nor writes its bytecode.

    Python takes bytecode for current if the source has the same size and was changed in the same
    second, so a number edited twice within one could be read as what it was before.
    """

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


@contextmanager
def _from_source(modules: Container[str]) -> Iterator[None]:
    """Load these modules from their source during the context."""

    class Finder:
        @staticmethod
        def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
            spec = PathFinder.find_spec(name, path, target) if name in modules else None
            if spec is not None and type(spec.loader) is SourceFileLoader:
                spec.loader = _SourceLoader(name, spec.loader.path)
            return spec

    finder = Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def _check_read(maker: str, source: Source, read: Iterable[Path]) -> None:
    """Refuse a file of the user's folders that is not part of the id.

    Raises:
        ValueError: if one was read; the error names it.
    """
    own = {Path(os.path.realpath(path)) for path in own_folders()}
    own |= {Path(os.path.realpath(file)).parent for file in source.modules.values()}
    own -= {Path(os.sep)}
    covered = {os.path.realpath(file) for file in (source.modules | source.files).values()}
    compiled = jax.config.jax_compilation_cache_dir
    for file in read:
        if str(file) in covered or is_installed(file) or not own & {*file.parents}:
            continue
        if compiled is not None and Path(os.path.realpath(compiled)) in file.parents:
            continue
        shown = os.path.relpath(file) if Path.cwd() in file.parents else str(file)
        raise refusal(
            maker,
            f"opened {shown}, which is not part of the target's id",
            "what a factory reads must be named, so that a change makes another target: write "
            f"model.files: [{shown}], or pass the name in kwargs",
        )
