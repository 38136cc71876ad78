"""Stands for a node's Python: runs the real payload, with a worker that computes nothing.

If $STAND_IN contains the file `silent`, the payload succeeds without doing anything; if it contains
`mute`, the payload works but its reports are lost.
"""

import json
import os
import runpy
import sys
from pathlib import Path

from lambda_hat_core.work import worker
from tests.assets import fake_worker

STATE = Path(os.environ["STAND_IN"])


def serve(store, line, answer):
    request = json.loads(line)
    for message in ("at work", "still at work"):
        answer({"id": request["id"], "event": "log", "message": message})
    event = fake_worker.answer(store, request, os.environ["JAX_ENABLE_X64"])
    answer({"id": request["id"], **event})
    return event["event"] == "done"


if __name__ == "__main__":
    if sys.argv[1] == "-c":
        exec(sys.argv[2])
    elif not (STATE / "silent").exists():
        worker.serve = serve
        _, module, folder = sys.argv[1:]
        sys.argv = [module, folder]
        runpy.run_module(module, run_name="__main__")
        if (STATE / "mute").exists():
            (Path(folder) / "events.jsonl").unlink()
