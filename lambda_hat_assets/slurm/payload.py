"""What a job runs: the worker, with the requests in the folder that it is given.

Artifacts go to the store. Log lines, and the begin and end of every request, become lines of
events.jsonl in the folder, synced one by one, for the step that waits for the job. After a request
has failed, later requests for the same key are left out. SLURM may put the job back into the queue
and run this again.
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
    failed = {event["id"] for event in earlier if event.get("transient") is False}
    with (folder / EVENTS).open("a") as events:
        # Ends a line that an earlier payload may have left unfinished when it died.
        events.write("\n")
        for line in (folder / REQUESTS).read_text().splitlines():
            key = json.loads(line)["id"]
            if key not in failed and not worker.serve(store, line, _answer(events, key)):
                failed.add(key)
        _note(events, {"event": "end"})


def _answer(events: TextIO, key: str) -> worker.Answer:
    """Note that a request has begun, and return the function that takes its events."""
    _note(events, {"id": key, "event": "begun"})
    teller = Teller(key, lambda line: _note(events, {"event": "log", "message": line}))

    def answer(event: dict[str, Any]) -> None:
        teller.hear(event)
        if event["event"] in ("done", "failed"):
            _note(events, {name: event[name] for name in event if name != "record"})

    return answer


def _note(events: TextIO, event: dict[str, Any]) -> None:
    """Write an event, which is on the disk when this returns."""
    events.write(to_json(event) + "\n")
    events.flush()
    os.fsync(events.fileno())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
