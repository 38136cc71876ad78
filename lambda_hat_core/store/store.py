"""The content-addressed store: a folder an id, complete or absent.

A folder is written beside its place under a private name, synced and renamed. Its manifest lists
every file with size and sha256; its spec.json is canonical JSON and hashes to the folder's name.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

import rfc8785
from pydantic import BaseModel

from lambda_hat_core.store import files, lease

Kind = Literal["targets", "runs", "analyses", "galleries"]
"""What is made: artifacts of a kind are in the folder of that name."""

Folder = Literal[Kind, "tuning"]
"""Where something is: with the artifacts of a kind, or with the studies."""

FOLDERS: tuple[Folder, ...] = get_args(Folder)
MANIFEST, SPEC = "manifest.json", "spec.json"
SCHEMA = "_schema"
"""Folder of every kind that holds empty tables for SQL, and is nobody's id."""

_HASHED: tuple[Kind, ...] = ("targets", "runs", "analyses")


class Store:
    """Everything that is written, under one root.

    Attributes:
        root: absolute path, LAMBDA_HAT_HOME by custom.
    """

    def __init__(self, root: Path | str):
        self.root = Path(root).expanduser().absolute()

    def path(self, kind: Folder, id: str) -> Path:
        """Return where `id` lives, whether it exists or not."""
        return self.root / kind / id

    def read_json(self, kind: Folder, id: str, name: str) -> Any:
        """Return the parsed JSON file `name` of a folder.

        Raises:
            FileNotFoundError: if it is not there.
        """
        path = self.path(kind, id) / name
        if not path.exists():
            raise FileNotFoundError(f"the store has no {path}; run what makes {id} first")
        return json.loads(path.read_bytes())

    def list(self, kind: Folder) -> tuple[str, ...]:
        """Return the ids that have a folder, sorted; whether they are complete is not checked."""
        folder = self.root / kind
        if not folder.is_dir():
            return ()
        with os.scandir(folder) as entries:
            names = [e.name for e in entries if e.is_dir() and e.name[0] != "."]
        return tuple(sorted(name for name in names if name != SCHEMA))

    def is_complete(self, kind: Folder, id: str) -> bool:
        """Whether a folder is whole, as `problem` sees it."""
        return self.problem(kind, id) is None

    def problem(self, kind: Folder, id: str) -> str | None:
        """Return what is wrong with a folder, None if nothing; quick.

        Sizes are compared, and a file is hashed again only if its time of change is not the
        manifest's.
        """
        return _problem(self.path(kind, id), kind, deep=False)

    def verify(self, kind: Folder, id: str) -> str | None:
        """Return what is wrong with a folder, None if nothing; every file is hashed again."""
        return _problem(self.path(kind, id), kind, deep=True)

    def made_at(self, kind: Folder, id: str) -> datetime:
        """Return when a complete folder was made, in UTC."""
        return datetime.fromisoformat(self.read_json(kind, id, MANIFEST)["created_at"])

    @contextmanager
    def publish(self, kind: Folder, id: str, spec: BaseModel | None = None) -> Iterator[Path]:
        """Give a private folder to write into, and put it in its place at the end.

        The first complete folder of an id stays; one that is corrupt is replaced. Without a spec
        (galleries) the newest replaces the older. After an exception nothing is left.

        Args:
            kind: folder of the store.
            id: name of the new folder, which for hashed kinds is the spec's own.
            spec: written as spec.json.

        Raises:
            ValueError: if the spec's hash is not in the id.
            PermissionError: if the store cannot be written.
            OSError: if the disk is full.
            FileNotFoundError: if somebody deleted the folder meanwhile.
        """
        final = self.path(kind, id)
        tmp = files.private(final)
        canonical = None if spec is None else rfc8785.dumps(spec.model_dump(mode="json"))
        if kind in _HASHED and (canonical is None or not _names(canonical, id)):
            raise ValueError(f"{id} is not the id of the spec it would hold; use the spec's own id")
        with files.explained(self.root, id):
            tmp.mkdir(parents=True)
            files.sweep(tmp.parent)
        with files.explained(self.root, id, full_only=True):
            try:
                if canonical is not None:
                    (tmp / SPEC).write_bytes(canonical)
                yield tmp
                _seal(tmp)
                _place(tmp, final, kind, replace=canonical is None)
            except FileNotFoundError as error:
                if tmp.exists():
                    raise
                raise FileNotFoundError(
                    f"{tmp.parent} was deleted while {id} was being written, so nothing of it was "
                    "kept: run the same command again"
                ) from error
            finally:
                files.remove(tmp)

    def lease(
        self, kind: Folder, id: str, on_wait: Callable[[str], None] | None = None
    ) -> AbstractContextManager[None]:
        """Hold the right to make `id`; look at the store again once inside."""
        return lease.hold(self.lease_path(kind, id), on_wait)

    def lease_path(self, kind: Folder, id: str) -> Path:
        """Return the lease file of `id`."""
        return self.root / "leases" / kind / f"{id}.lease"

    def is_leased(self, kind: Folder, id: str) -> bool:
        """Whether a living process is at work on `id`."""
        path = self.lease_path(kind, id)
        return path.exists() and not lease.is_dead(path, lease.read(path))

    def remove(self, kind: Folder, id: str) -> None:
        """Take a folder out of the store in one step, then delete it."""
        away = files.discarded(self.path(kind, id))
        os.rename(self.path(kind, id), away)
        files.remove(away)


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
            return f"{MANIFEST} does not have the content that was written"
        for part, expected in body["files"].items():
            path = folder / part
            stat = path.stat()
            if stat.st_size != expected["size"]:
                return f"{part} has {stat.st_size} bytes, the manifest says {expected['size']}"
            touched = stat.st_mtime_ns != expected["mtime_ns"]
            if (deep or touched) and files.sha256(path) != expected["sha256"]:
                return f"{part} does not have the content that the manifest says"
        if kind in _HASHED and not _names((folder / SPEC).read_bytes(), name or folder.name):
            return f"{SPEC} does not hash to the folder's name"
    except FileNotFoundError as error:
        return f"{Path(error.filename).relative_to(folder)} is missing"
    except (ValueError, KeyError, TypeError, AttributeError, NotADirectoryError):
        return f"{MANIFEST} cannot be read"
    return None
