"""The folder of one job, on a disk that the nodes share: its requests and its events."""

import json
import secrets
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from lambda_hat_core.store import files
from lambda_hat_core.store.store import Store
from lambda_hat_core.work.client import Event, event_of

REQUESTS, EVENTS, SCRIPT, _RUNS = "requests.jsonl", "events.jsonl", "job.sh", "runs.txt"


class Batch:
    """The folder of one job.

    Args:
        folder: the folder `slurm/<name>` in the store.

    Attributes:
        events: the events "begun", "done" and "failed" of requests that have been read so far.
        is_closed: whether the payload has reported that it has finished.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.events: list[Event] = []
        self.is_closed = False
        self._file, self._read = folder / EVENTS, 0

    @property
    def name(self) -> str:
        """The name of the job in SLURM, which contains the name of the folder."""
        return f"lambda_hat-{self.folder.name}"

    @cached_property
    def keys(self) -> set[str]:
        """The ids of the artifacts that the job makes."""
        return {json.loads(line)["id"] for line in read(self.folder / REQUESTS).splitlines()}

    def runs(self) -> list[str]:
        """Return the ids of the Dagster runs that wait for the job."""
        return read(self.folder / _RUNS).decode().split()

    def begin(self, run: str) -> None:
        """Record that a Dagster run waits for the job."""
        with (self.folder / _RUNS).open("a") as file:
            file.write(f"{run}\n")

    def end(self) -> None:
        """Record that the job has ended; the folder is kept for people to read."""
        (self.folder / _RUNS).unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the folder."""
        files.remove(self.folder)

    def news(self) -> Iterator[str]:
        """Yield the log lines that were written since the last call; store the other events.

        A line without its end, or with NUL bytes because the file server does not have its content
        yet, is read at a later call.
        """
        new = read(self._file, self._read).partition(b"\0")[0]
        whole, newline, _ = new.rpartition(b"\n")
        self._read += len(whole) + len(newline)
        for event in parsed(whole):
            if event["event"] == "log":
                yield event["message"]
            elif event["event"] == "end":
                self.is_closed = True
            else:
                self.events.append(event)


def read(file: Path, start: int = 0) -> bytes:
    """Return the content of a file from a byte on; empty if it cannot be read at the moment."""
    try:
        # Opening the file each time makes NFS ask the server for new content.
        with file.open("rb") as stream:
            stream.seek(start)
            return stream.read()
    except OSError:
        return b""


def parsed(lines: bytes) -> Iterator[Event]:
    """Yield the event of each line, except lines that a payload left incomplete when it died."""
    for line in lines.splitlines():
        if (event := event_of(line)) is not None:
            yield event


def write(store: Store, requests: Sequence[Event], script: Sequence[str], run: str) -> Batch:
    """Return a new batch, whose job is not yet submitted.

    Args:
        store: the store, which gets the folder.
        requests: the requests to the payload, in order.
        script: the lines of the job's script.
        run: the id of the Dagster run that waits for the job.
    """
    batch = Batch(store.root / "slurm" / secrets.token_hex(6))
    batch.keys = {request["id"] for request in requests}
    lines = [json.dumps(request) for request in requests]
    files.write_atomic(batch.folder / REQUESTS, "\n".join(lines) + "\n")
    files.write_atomic(batch.folder / SCRIPT, "\n".join(script) + "\n")
    (batch.folder / EVENTS).touch()
    batch.begin(run)
    return batch


def unfinished(store: Store) -> Iterator[Batch]:
    """Yield the batches whose job is not known to have ended."""
    for file in (store.root / "slurm").glob(f"*/{_RUNS}"):
        yield Batch(file.parent)
