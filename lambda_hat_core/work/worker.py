"""A worker process: it reads requests and writes events, both as JSON lines, in one dtype.

`python -m lambda_hat_core.work.worker --home H` reads stdin until it is closed, and then exits
immediately, because its parent has ended. `--requests FILE` reads a file instead. A request is
{"id", "kind": "trajectories" | "targets" | "runs" | "analyses" | "galleries", "spec", "target"};
its events carry its id and are "log", "progress", and at the end "done" or "failed". A request with
"steered": true waits after each progress event for a line {"go": true}, or {"go": false}, which
ends it as "failed" with the cause "stopped" and leaves nothing in the store.
"""

import argparse
import faulthandler
import json
import os
import queue
import select
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from lambda_hat_core.config.errors import ConfigError
from lambda_hat_core.config.spec import RunSpec, TargetSpec, Trajectory
from lambda_hat_core.gallery.members import Gallery
from lambda_hat_core.store import compiled
from lambda_hat_core.store.store import Kind, Store

Answer = Callable[[dict[str, Any]], None]

_CACHE = {
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}
_ORPHAN_POLL = 1.0


def main(argv: list[str] | None = None) -> int:
    """Serve until there is nothing more to do."""
    parser = argparse.ArgumentParser(prog="python -m lambda_hat_core.work.worker")
    parser.add_argument("--home", type=Path, required=True, help="root of the store")
    parser.add_argument("--requests", type=Path, help="a file of requests instead of stdin")
    args = parser.parse_args(argv)
    faulthandler.enable()
    answer = _private_stdout()
    store = Store(args.home)
    prepare_jax(store)
    lines = _from_file(args.requests) if args.requests else _from_parent()
    answer({"event": "ready", "pid": os.getpid(), "dtype": _dtype()})
    failed = False
    for line in lines:
        failed |= not serve(store, line, answer, lines)
    return int(failed)


def serve(store: Store, line: str, answer: Answer, lines: Iterator[str] | None = None) -> bool:
    """Answer one request and return whether it succeeded; an exception becomes an event.

    The `cause` of a failure is "config" if only a changed specification can help, "stopped" if the
    parent stopped the request, and "error" otherwise; `transient` says whether the same request may
    succeed later. The answers to a steered request are the next entries of `lines`.
    """
    from lambda_hat_core.store import files
    from lambda_hat_core.work import outcomes

    request: dict[str, Any] = {}

    def tell(event: str, **facts: Any) -> None:
        answer({"id": request.get("id"), "event": event, **facts})

    try:
        request.update(json.loads(line))
        outcome = _run(store, request, tell, lines or iter(()))
    except outcomes.Stopped:
        tell("failed", reason="stopped by its parent", cause="stopped", transient=False)
    except (ConfigError, ValidationError) as error:
        tell("failed", reason=outcomes.describe(error), cause="config", transient=False)
    except Exception as error:
        transient = isinstance(error, OSError) and not files.is_lasting(error)
        tell("failed", reason=outcomes.describe(error), cause="error", transient=transient)
    else:
        facts = outcome._asdict()
        del facts["id"]
        tell("done", **facts)
        return True
    return False


def _run(
    store: Store, request: dict[str, Any], tell: Callable[..., None], lines: Iterator[str]
) -> Any:
    from lambda_hat_core.programs import forget_if_many
    from lambda_hat_core.work import making, outcomes
    from lambda_hat_core.work.trajectories import make_trajectory

    forget_if_many()

    def log(message: str) -> None:
        tell("log", message=message)

    def progress(at: Any) -> None:
        tell("progress", **at._asdict())
        if request.get("steered") and not json.loads(next(lines))["go"]:
            raise outcomes.Stopped

    match request["kind"]:
        case "trajectories":
            return make_trajectory(store, Trajectory.model_validate(request["spec"]), log)
        case "targets":
            return making.build_target(store, TargetSpec.model_validate(request["spec"]), log)
        case "runs":
            return making.sample_run(store, *_run_specs(request), log, progress)
        case "analyses":
            return making.analyse_run(store, *_run_specs(request), log)
        case "galleries":
            return making.build_gallery(store, Gallery.model_validate(request["spec"]), log)
        case kind:
            raise ValueError(f"there is no kind {kind!r}; known: {', '.join(get_args(Kind))}")


def _run_specs(request: dict[str, Any]) -> tuple[RunSpec, TargetSpec]:
    spec = RunSpec.model_validate(request["spec"])
    target = TargetSpec.model_validate(request["target"])
    if spec.target != target.id:
        raise ValueError(
            f"{spec.id} samples {spec.target}, but the request has {target.id}; send the target of "
            "the run"
        )
    return spec, target


def _private_stdout() -> Answer:
    """Reserve the real stdout for events, and redirect all printed text to stderr."""
    from lambda_hat_core.store.files import to_json

    handle = os.dup(1)
    os.dup2(2, 1)
    lock = threading.Lock()

    def answer(event: dict[str, Any]) -> None:
        line = f"{to_json(event)}\n".encode()
        with lock:
            while line:
                line = line[os.write(handle, line) :]

    return answer


def prepare_jax(store: Store) -> None:
    """Cache compiled programs per kind of processor, unless the environment sets another folder."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        compiled.tidy(compiled.cache(store))
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(compiled.cache(store))
    for name, value in _CACHE.items():
        os.environ.setdefault(name, value)


def _dtype() -> str:
    """Return the dtype of JAX without importing it, which saves a gallery half a second."""
    wide = os.environ.get("JAX_ENABLE_X64", "0").lower() in ("1", "true", "t", "yes", "y", "on")
    return "float64" if wide else "float32"


def _from_file(path: Path) -> Iterator[str]:
    with path.open() as file:
        yield from (line for line in file if line.strip())


def _from_parent() -> Iterator[str]:
    """Yield requests as they arrive; a thread ends the process when the parent has ended."""
    waiting: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_watch, args=(waiting, os.getppid()), daemon=True).start()
    while True:
        yield waiting.get().decode(errors="replace")


def _watch(waiting: "queue.SimpleQueue[bytes]", parent: int) -> None:
    rest = b""
    while os.getppid() == parent:
        if not select.select([0], [], [], _ORPHAN_POLL)[0]:
            continue
        chunk = os.read(0, 1 << 16)
        if not chunk:
            break
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.strip():
                waiting.put(line)
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
