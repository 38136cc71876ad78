"""The program of a job: it serves the requests in the job's folder as a worker does.

Artifacts are written to the store. For the step that waits for the job, log lines and the begin and
end of every request are written to events.jsonl in the folder, and each line is synced. After a
failed request, further requests for the same key are skipped. SLURM may requeue the job and run
this program again.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any, TextIO

from lambda_hat_assets.slurm.batch import EVENTS, REQUESTS, parsed, read
from lambda_hat_core.samplers.telling import Teller
from lambda_hat_core.store.files import to_json
from lambda_hat_core.store.store import Store
from lambda_hat_core.work import worker


def main(folder: Path) -> None:
    """Serve every request."""
    store = Store(os.environ["LAMBDA_HAT_HOME"])
    worker.prepare_jax(store)
    earlier = parsed(read(folder / EVENTS))
    failed = {event.get("id") for event in earlier if event.get("transient") is False}
    with (folder / EVENTS).open("a") as events:
        # An earlier payload may have left an incomplete line when it died.
        events.write("\n")
        for line in (folder / REQUESTS).read_text().splitlines():
            key = json.loads(line)["id"]
            if key not in failed and not worker.serve(store, line, _answer(events, key)):
                failed.add(key)
        _note(events, {"event": "end"})


def _answer(events: TextIO, key: str) -> worker.Answer:
    """Record that a request has begun, and return a function that records its events."""
    _note(events, {"id": key, "event": "begun"})
    teller = Teller(key, lambda line: _note(events, {"event": "log", "message": line}))

    def answer(event: dict[str, Any]) -> None:
        teller.hear(event)
        if event["event"] in ("done", "failed"):
            _note(events, {name: event[name] for name in event if name != "record"})

    return answer


def _note(events: TextIO, event: dict[str, Any]) -> None:
    """Write an event and sync it to the disk."""
    events.write(to_json(event) + "\n")
    events.flush()
    os.fsync(events.fileno())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
