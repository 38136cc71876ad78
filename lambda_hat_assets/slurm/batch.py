"""The folder of one job, on the disk that the nodes share: what it is asked, and what it said."""

import json
import secrets
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from lambda_hat_assets.compute import Order
from lambda_hat_core import files
from lambda_hat_core.store import Store
from lambda_hat_core.worker_client import Event

PREFIX = "lambda_hat-"
"""Begins the name of every job; the rest is the folder's name."""

REQUESTS, EVENTS = "requests.jsonl", "events.jsonl"


class Batch(NamedTuple):
    """One job's folder, and the job once it is known.

    Attributes:
        folder: `slurm/<name>` of the store.
        job: SLURM's number for it.
    """

    folder: Path
    job: int | None = None

    @property
    def name(self) -> str:
        """The job's name, by which its folder is found again."""
        return PREFIX + self.folder.name

    def keys(self) -> set[str]:
        """Return the ids that the job was asked for."""
        return {request["id"] for request in _lines(self.folder / REQUESTS)}

    def events(self) -> list[Event]:
        """Return what the payload has written so far; a line cut short by its end is left out."""
        return list(_lines(self.folder / EVENTS))

    def remove(self) -> None:
        """Forget the job."""
        files.remove(self.folder)


def write(store: Store, orders: Sequence[Order]) -> Batch:
    """Return a new folder with one request for every stage of every order."""
    folder = _root(store) / secrets.token_hex(6)
    lines = [json.dumps(order.request(kind)) for order in orders for kind in order.kinds]
    files.write_atomic(folder / REQUESTS, "\n".join(lines) + "\n")
    return Batch(folder)


def in_flight(store: Store, keys: Iterable[str], living: dict[str, int]) -> Batch | None:
    """Return a job in the queue that was asked for any of some keys.

    Args:
        store: where the folders are.
        keys: of which one is enough.
        living: jobs in the queue, by name.
    """
    wanted = set(keys)
    for name, job in living.items():
        batch = Batch(_root(store) / name.removeprefix(PREFIX), job)
        if batch.folder.is_dir() and wanted & batch.keys():
            return batch
    return None


def _root(store: Store) -> Path:
    return store.root / "slurm"


def _lines(path: Path) -> Iterator[Event]:
    if not path.exists():
        return
    for line in path.read_text().splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            continue
