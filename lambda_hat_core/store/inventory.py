"""The inventory of the store: every folder with its size, age, description and users."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from lambda_hat_core.store import failures
from lambda_hat_core.store.store import FOLDERS, MANIFEST, SPEC, Folder, Store
from lambda_hat_core.store.tables import read_table

_KINDS: dict[str, Folder] = {"trj_": "trajectories", "tgt_": "targets"}


class Entry(NamedTuple):
    """One artifact, which is a folder.

    Attributes:
        kind: its kind, the name of a folder of the store.
        id: its id, the name of its own folder.
        what: a short description.
        size: its size in bytes.
        made: when it was made, in UTC.
        used_by: the experiments and studies that refer to it.
    """

    kind: Folder
    id: str
    what: str
    size: int
    made: datetime
    used_by: tuple[str, ...]


def entries(store: Store, users: dict[str, set[str]]) -> Iterator[Entry]:
    """Yield every artifact, in the order of `FOLDERS`; `users` is the result of `users_of`."""
    for kind in FOLDERS:
        for id in store.list(kind):
            path = store.path(kind, id)
            used_by = tuple(sorted(users.get(id, ())))
            yield Entry(kind, id, _what(path), _size(path), _made(path), used_by)


def users_of(store: Store) -> dict[str, set[str]]:
    """Return, for each training, target and run, the experiments and studies that refer to it."""
    users: dict[str, set[str]] = {}
    for name, ids in {**_members(store), **_trials(store)}.items():
        for id in ids:
            users.setdefault(id, set()).add(name)
    for target, trajectory in _checkpoints(store):
        users.setdefault(trajectory, set()).update(users.get(target, ()))
    return users


def _checkpoints(store: Store) -> Iterator[tuple[str, str]]:
    """Yield every checkpoint with the training that it is of."""
    for path in store.root.glob("targets/[!._]*/checkpoint.parquet"):
        for row in read_table(path, ["target_id", "trajectory_id"]):
            yield row["target_id"], row["trajectory_id"]


def _members(store: Store) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for path in sorted((store.root / "experiments").glob("[!._]*.parquet")):
        for row in read_table(path):
            found.setdefault(row["experiment"], set()).update((row["target_id"], row["run_id"]))
    return found


def _trials(store: Store) -> dict[str, set[str]]:
    """Return the runs of every study, with their targets."""
    found: dict[str, set[str]] = {}
    for path in sorted((store.root / "tuning").glob("[!._]*/trials.parquet")):
        listed = [row["run_id"] for row in read_table(path, ["run_id"])]
        reference = _json(path.with_name("reference.json"))
        runs = [run for text in filter(None, listed) for run in text.split()]
        runs += [reference[name] for name in ("run_id", "checked_by") if reference.get(name)]
        ids = found.setdefault(f"tuning/{path.parent.name}", set())
        for run in runs:
            spec = _json(store.path("runs", run) / SPEC)
            ids.update({run, spec["target"]} if spec else {run})
    return found


def _what(path: Path) -> str:
    label = _json(path / "meta.json").get("label")
    spec = _json(path / SPEC)
    if label or "sampler" not in spec:
        return label or spec.get("model", {}).get("kind", "")
    sampler = spec["sampler"]
    flavour = sampler.get("precond") or sampler.get("algo")
    words = [sampler["kind"], flavour, spec["dtype"], f"seed {spec['seed']} on {spec['target']}"]
    return " ".join(word for word in words if word not in (None, "none"))


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _size(path: Path) -> int:
    return sum(part.stat().st_size for part in path.rglob("*") if part.is_file())


def _made(path: Path) -> datetime:
    stamp = _json(path / MANIFEST).get("created_at")
    if stamp:
        return datetime.fromisoformat(stamp)
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def collectable(
    store: Store, kept: set[str], older_than: datetime, users: dict[str, set[str]]
) -> Iterator[Entry]:
    """Yield the artifacts that may be deleted.

    These are artifacts that no experiment file and no study refers to, that are old enough, and
    that are not being made at the moment.

    Args:
        store: the store.
        kept: the ids and experiments that configuration files refer to.
        older_than: artifacts made after this time are not yielded.
        users: the result of `users_of`, of which only the studies matter here.
    """
    for entry in entries(store, users):
        in_study = any(user.startswith("tuning/") for user in entry.used_by)
        unnamed = entry.id not in kept and not in_study and entry.kind != "tuning"
        if unnamed and entry.made < older_than and not store.is_leased(entry.kind, entry.id):
            yield entry


def orphans(store: Store, kept: set[str], older_than: datetime) -> Iterator[Path]:
    """Yield what is kept beside artifacts whose id is not in `kept` and has no folder.

    That is failure records, checkpoints, and exact values of targets.
    """
    beside = (store.root.glob(f"{name}/*") for name in ("failures", "checkpoints", "exact"))
    for path in sorted(path for paths in beside for path in paths):
        kind = _KINDS.get(path.name[:4], "runs")
        id = path.name.split(".")[0]
        seed = id == "" or id.startswith("_")
        if seed or id in kept or store.path(kind, id).exists() or store.is_leased(kind, id):
            continue
        if datetime.fromtimestamp(path.stat().st_mtime, UTC) < older_than:
            yield path


def forget(store: Store, entry: Entry) -> None:
    """Remove an artifact and the failure record of its id."""
    store.remove(entry.kind, entry.id)
    if entry.kind in ("trajectories", "targets", "runs"):
        failures.clear_failure(store, entry.id)
