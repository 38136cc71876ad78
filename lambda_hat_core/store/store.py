"""The content-addressed store: one folder per id, which is complete or absent.

A folder is written under a temporary name, synced and then renamed. Its manifest lists every file
with size and sha256; its spec.json is canonical JSON whose hash is part of the folder's name.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

import rfc8785
from pydantic import BaseModel

from lambda_hat_core.store import files, lease

Kind = Literal["trajectories", "targets", "runs", "analyses", "galleries"]
"""A kind of artifact, which is also the name of the folder of these artifacts."""

Folder = Literal[Kind, "tuning"]
"""A folder of the store: that of a kind of artifact, or that of the studies."""

FOLDERS: tuple[Folder, ...] = get_args(Folder)
MANIFEST, SPEC = "manifest.json", "spec.json"
SCHEMA = "_schema"
"""A folder in each kind with empty tables for SQL; it is not an artifact."""

_HASHED: tuple[Kind, ...] = ("trajectories", "targets", "runs", "analyses")
_ID = re.compile(r"\w+_[0-9a-f]{12}")


class Store:
    """All artifacts, under one root folder.

    Attributes:
        root: the absolute path, usually that of LAMBDA_HAT_HOME.
    """

    def __init__(self, root: Path | str):
        self.root = Path(root).expanduser().absolute()

    def path(self, kind: Folder, id: str) -> Path:
        """Return the folder of `id`, whether it exists or not."""
        return self.root / kind / id

    def read_json(self, kind: Folder, id: str, name: str) -> Any:
        """Return the parsed JSON file `name` of the folder of `id`.

        Raises:
            FileNotFoundError: if the file does not exist.
        """
        path = self.path(kind, id) / name
        if not path.exists():
            raise FileNotFoundError(f"the store has no {path}; make {id} first")
        return json.loads(path.read_bytes())

    def list(self, kind: Folder) -> tuple[str, ...]:
        """Return the sorted ids that have a folder, without checking that it is complete.

        A folder whose name is no id, such as a copy `run_x.bak`, is no artifact.
        """
        folder = self.root / kind
        if not folder.is_dir():
            return ()
        with os.scandir(folder) as entries:
            names = [e.name for e in entries if e.is_dir() and e.name[0] != "."]
        hashed = kind in _HASHED
        listed = (name for name in names if name != SCHEMA)
        return tuple(sorted(name for name in listed if not hashed or _ID.fullmatch(name)))

    def is_complete(self, kind: Folder, id: str) -> bool:
        """Return whether a folder is complete according to `problem`."""
        return self.problem(kind, id) is None

    def problem(self, kind: Folder, id: str) -> str | None:
        """Return what is wrong with a folder, or None, by a quick check.

        Sizes are compared; a file is hashed again only if its modification time differs from that
        in the manifest.
        """
        return _problem(self.path(kind, id), kind, deep=False)

    def verify(self, kind: Folder, id: str) -> str | None:
        """Return what is wrong with a folder, or None, after hashing every file again."""
        return _problem(self.path(kind, id), kind, deep=True)

    def made_at(self, kind: Folder, id: str) -> datetime:
        """Return when a complete folder was made, in UTC."""
        return datetime.fromisoformat(self.read_json(kind, id, MANIFEST)["created_at"])

    @contextmanager
    def publish(
        self, kind: Folder, id: str, spec: BaseModel | None = None, *, replace: bool = False
    ) -> Iterator[Path]:
        """Yield a temporary folder to write into, and rename it to its final place at the end.

        If a complete folder of this id exists already, it is kept; a corrupt one is replaced.
        Without a spec (galleries) the new folder replaces the old one. After an exception nothing
        is left.

        Args:
            kind: the kind of artifact.
            id: the name of the new folder; for hashed kinds it must be the id of the spec.
            spec: the model that is written as spec.json.
            replace: whether the new folder replaces one that is complete, because it has more.

        Raises:
            ValueError: if the id does not contain the hash of the spec.
            PermissionError: if the store cannot be written.
            OSError: if the disk is full.
            FileNotFoundError: if the folder is deleted in the meantime.
        """
        final = self.path(kind, id)
        tmp = files.private(final)
        canonical = None if spec is None else rfc8785.dumps(spec.model_dump(mode="json"))
        if kind in _HASHED and (canonical is None or not _names(canonical, id)):
            raise ValueError(f"{id} is not the id of the spec; use the spec's own id")
        with files.explained(self.root, id):
            tmp.mkdir(parents=True)
            files.sweep(tmp.parent)
        with files.explained(self.root, id, full_only=True):
            try:
                if canonical is not None:
                    (tmp / SPEC).write_bytes(canonical)
                yield tmp
                _seal(tmp)
                _place(tmp, final, kind, replace=replace or canonical is None)
            except FileNotFoundError as error:
                if tmp.exists():
                    raise
                raise FileNotFoundError(
                    f"{tmp.parent} was deleted while {id} was being written, so nothing of it was "
                    "kept: run the same command again"
                ) from error
            finally:
                files.remove(tmp)

    def sweep(self) -> None:
        """Remove what killed processes left: files that they were writing, and their leases."""
        inner = ("leases", "tuning", "checkpoints", "best")
        folders = [self.root, *self.root.glob("[!.]*/")]
        for name in inner:
            folders += self.root.glob(f"{name}/[!.]*/")
        for folder in folders:
            if folder.is_dir():
                files.sweep(folder)
            if folder.parent == self.root / "leases":
                lease.sweep(folder)

    def lease(
        self, kind: Folder, id: str, on_wait: Callable[[str], None] | None = None
    ) -> AbstractContextManager[None]:
        """Hold the exclusive right to make `id`; the store must be checked again inside."""
        return lease.hold(self.lease_path(kind, id), on_wait)

    def lease_path(self, kind: Folder, id: str) -> Path:
        """Return the lease file of `id`."""
        return self.root / "leases" / kind / f"{id}.lease"

    def is_leased(self, kind: Folder, id: str) -> bool:
        """Return whether a running process is making `id`."""
        path = self.lease_path(kind, id)
        return path.exists() and not lease.is_dead(path, lease.read(path))

    def remove(self, kind: Folder, id: str) -> None:
        """Remove a folder from the store in one atomic step, then delete it."""
        files.discard(self.path(kind, id))


def _names(canonical: bytes, id: str) -> bool:
    return hashlib.sha256(canonical).hexdigest()[:12] == id.rpartition("_")[2]


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body).encode()).hexdigest()


def _seal(folder: Path) -> None:
    """Sync every file, then write and sync the manifest."""
    listed = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        files.sync(path)
        stat = path.stat()
        listed[path.relative_to(folder).as_posix()] = {
            "sha256": files.sha256(path),
            "size": stat.st_size,
            "mtime_ns": stat.st_mtime_ns,
        }
    body = {"created_at": datetime.now(UTC).isoformat(timespec="seconds"), "files": listed}
    manifest = folder / MANIFEST
    manifest.write_text(json.dumps({**body, "sha256": _digest(body)}, indent=1))
    files.sync(manifest)
    for path in folder.rglob("*"):
        if path.is_dir():
            files.sync(path)
    files.sync(folder)


def _place(tmp: Path, final: Path, kind: Folder, replace: bool) -> None:
    while True:
        if not replace and _problem(final, kind, deep=False) is None:
            return
        try:
            os.rename(tmp, final)
        except OSError:
            if not final.exists():
                raise
        else:
            files.sync(final.parent)
            return
        away = files.discarded(final)
        try:
            os.rename(final, away)
        except FileNotFoundError:
            continue
        if not replace and _problem(away, kind, deep=False, name=final.name) is None:
            away, tmp = tmp, away
        files.remove(away)


def _problem(folder: Path, kind: Folder, *, deep: bool, name: str | None = None) -> str | None:
    try:
        body = json.loads((folder / MANIFEST).read_bytes())
        if body.pop("sha256") != _digest(body):
            return f"{MANIFEST} does not match its own hash"
        for part, expected in body["files"].items():
            path = folder / part
            stat = path.stat()
            if stat.st_size != expected["size"]:
                return f"{part} has {stat.st_size} bytes, the manifest says {expected['size']}"
            touched = stat.st_mtime_ns != expected["mtime_ns"]
            if (deep or touched) and files.sha256(path) != expected["sha256"]:
                return f"{part} does not match its hash in the manifest"
        if kind in _HASHED and not _names((folder / SPEC).read_bytes(), name or folder.name):
            return f"{SPEC} does not hash to the folder's name"
    except FileNotFoundError as error:
        return f"{Path(error.filename).relative_to(folder)} is missing"
    except OSError as error:
        part = Path(error.filename or folder / MANIFEST).relative_to(folder)
        return f"{part} cannot be read ({error.strerror})"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return f"{MANIFEST} cannot be read"
    return None
