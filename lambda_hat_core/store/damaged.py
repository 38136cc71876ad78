"""Records of the store that cannot be read: they are left out and named."""

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path

import yaml

from lambda_hat_core.store import experiments, files
from lambda_hat_core.store.store import SPEC, Store
from lambda_hat_core.store.tables import WAY_OUT, read_table

REASON = "it cannot be read to its end"


def left_out(path: Path) -> str:
    """Return the line that names a damaged file."""
    return f"{path} is left out: {REASON}; {WAY_OUT}"


def damaged(paths: Iterable[Path]) -> list[Path]:
    """Return the files among some that cannot be read to their end, or not as they were written."""
    return [path for path in paths if not _readable(path)]


def _readable(path: Path) -> bool:
    if path.is_dir():
        return False
    try:
        return _CHECKS[path.suffix](path)
    except FileNotFoundError:
        return True
    except (OSError, ValueError, RecursionError):
        return False


def _is_json(path: Path) -> bool:
    """Wishes and specs of studies have no hash of their own, so only their form is checked."""
    if path.parent.name == "experiments":
        experiments.asked_in(path)
    elif path.name == SPEC:
        json.loads(path.read_bytes())
    else:
        return files.read_sealed(path) is not None
    return True


def _is_database(path: Path) -> bool:
    """Read all of a study's trials in SQLite; one that is being written is not damaged."""
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    except sqlite3.DatabaseError as error:
        return error.sqlite_errorcode in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _is_preset(path: Path) -> bool:
    try:
        return isinstance(yaml.safe_load(path.read_bytes()), dict)
    except yaml.YAMLError:
        return False


def _is_table(path: Path) -> bool:
    """Read a table, whose rows must name what they are about."""
    kind = "failures" if path.parent.name == "failures" else path.stem
    keys = {
        "failures": ["run_id" if path.name.startswith("run_") else "target_id", "reasons"],
        "trials": ["study", "number", "run_id"],
    }
    if path.parent.name == "experiments":
        kind, keys["experiments"] = "experiments", ["experiment", "target_id", "run_id"]
    read_table(path)
    if kind in keys:
        read_table(path, keys[kind])
    return True


_CHECKS: dict[str, Callable[[Path], bool]] = {
    ".json": _is_json,
    ".parquet": _is_table,
    ".db": _is_database,
    ".yaml": _is_preset,
}


def read_asked(store: Store) -> dict[str, tuple[str, list[str]]]:
    """Return each experiment that somebody asked for: name -> (name without changes, changes)."""
    paths = experiments.asked_files(store)
    bad = set(damaged(paths))
    return {path.stem: experiments.asked_in(path) for path in paths if path not in bad}


def commands_records(store: Store) -> Iterator[Path]:
    """Yield the records that every command reads: memberships, failures and wishes."""
    for folder in ("experiments", "failures"):
        yield from sorted((store.root / folder).glob("[!.]*.parquet"))
    yield from experiments.asked_files(store)


def records_of(store: Store) -> Iterator[Path]:
    """Yield the files that are not part of an artifact.

    These are memberships, failures, wishes, exact values, studies, and the presets of their best
    trials. A study that lost one of its files repeats its trials, whose runs are still there.
    """
    yield from commands_records(store)
    for pattern in ("exact/[!.]*.json", "best/*/[!.]*.yaml"):
        yield from sorted(store.root.glob(pattern))
    for name in ("trials.parquet", "study.db", "reference.json", SPEC):
        yield from sorted(store.root.glob(f"tuning/[!.]*/{name}"))
