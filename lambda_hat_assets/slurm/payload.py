"""What a job runs: the worker, with its requests from the file beside this one.

Artifacts go to the store as ever. Every event is also a line of events.jsonl here; log lines and
the ends of requests are told to Dagster through Pipes as they come. After a failure of a key its
later stages are left out.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dagster_pipes import PipesContext, PipesDefaultMessageWriter, open_dagster_pipes

from lambda_hat_core import worker
from lambda_hat_core.files import to_json
from lambda_hat_core.store import Store
from lambda_hat_core.telling import Teller

HERE = Path(__file__).parent


class Quiet(PipesDefaultMessageWriter):
    """Leaves stdout and stderr to SLURM's own files, which saves seconds at the end."""

    def open(self, params: Mapping[str, Any]) -> Any:
        """Open without the copying of stdout and stderr that was asked for."""
        return super().open({k: v for k, v in params.items() if "include_stdio" not in k})


def main() -> None:
    """Serve every request."""
    store = Store(os.environ["LAMBDA_HAT_HOME"])
    worker.prepare_jax(store)
    failed: set[str] = set()
    with open_dagster_pipes(message_writer=Quiet()) as pipes, _events() as events:
        for line in (HERE / "requests.jsonl").read_text().splitlines():
            key = json.loads(line)["id"]
            if key in failed:
                continue
            answer = _Answer(pipes, events, key)
            if not worker.serve(store, line, answer):
                failed.add(key)


def _events() -> Any:
    return (HERE / "events.jsonl").open("a", buffering=1)


class _Answer:
    """Takes the events of one request."""

    def __init__(self, pipes: PipesContext, events: Any, key: str):
        self._pipes, self._events = pipes, events
        self._teller = Teller(key, pipes.log.info)
        self({"id": key, "event": "begun"})

    def __call__(self, event: dict[str, Any]) -> None:
        """Note an event; what ends a request is on the disk before it is told."""
        self._teller.hear(event)
        is_end = event["event"] in ("done", "failed")
        if is_end or event["event"] == "begun":
            self._events.write(to_json(event) + "\n")
            os.fsync(self._events.fileno())
        if is_end:
            self._pipes.report_custom_message({k: v for k, v in event.items() if k != "record"})


if __name__ == "__main__":
    main()
