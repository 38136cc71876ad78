"""Records of experiments: those that somebody asked for, and the runs that belong to each."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from lambda_hat_core.store import files, records
from lambda_hat_core.store.store import Store
from lambda_hat_core.store.tables import Damaged, read_table


def write_asked(store: Store, name: str, experiment: str, changes: Sequence[str] = ()) -> None:
    """Record that somebody asked for an experiment.

    Args:
        store: the store.
        name: its name, which says the changes to its file.
        experiment: its name without the changes.
        changes: the changes, as `lambda-hat run` takes them.
    """
    path = store.root / "experiments" / f"{name}.json"
    content = files.to_json({"experiment": experiment, "changes": list(changes)}, indent=1)
    files.write_atomic(path, lambda tmp: tmp.write_text(content))


def asked_files(store: Store) -> list[Path]:
    """Return the files of the experiments that somebody asked for."""
    return sorted((store.root / "experiments").glob("[!._]*.json"))


def asked_in(path: Path) -> tuple[str, list[str]]:
    """Return the experiment in one of these files: its name without changes, and the changes.

    Raises:
        ValueError: if the file is damaged.
    """
    match json.loads(path.read_bytes()):
        case {"experiment": str(experiment), "changes": list(changes)} if all(
            isinstance(change, str) for change in changes
        ):
            return experiment, changes
    raise ValueError(f"{path} has no experiment with changes")


def write_experiment(
    store: Store, experiment: str, members: Iterable[tuple[str, str]], *, add: bool = False
) -> None:
    """Record which runs belong to an experiment.

    Args:
        store: the store.
        experiment: its name.
        members: (target_id, run_id) of every run.
        add: also keep the runs that were recorded before; none, if that record is damaged.
    """
    path = store.root / "experiments" / f"{experiment}.parquet"
    named = dict.fromkeys(members)
    if add:
        named = dict.fromkeys(_members_in(path)) | named
    rows = [{"experiment": experiment, "target_id": target, "run_id": run} for target, run in named]
    records.write("experiments", rows, path)


def _members_in(path: Path) -> list[tuple[str, str]]:
    try:
        rows = read_table(path, columns=["target_id", "run_id"])
    except (FileNotFoundError, Damaged):
        return []
    return [(row["target_id"], row["run_id"]) for row in rows]
