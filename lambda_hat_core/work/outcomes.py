"""How an artifact came to be in the store, or did not: reused, made, stopped or failed.

A failure leaves no folder, only a row that SQL shows.
"""

import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

from lambda_hat_core.config.spec import Origin, RunSpec, TargetSpec
from lambda_hat_core.gallery.members import FACTS
from lambda_hat_core.store import failures
from lambda_hat_core.store.store import Kind, Store

Log = Callable[[str], None]

LESS_MEMORY = (
    "lower n_chains or batch_size of a run, n_data or the widths of a target, or max_concurrent in "
    "the compute card"
)


class Stopped(Exception):
    """Raised by a progress callback: nothing of the run is kept, and it did not fail."""


class Outcome(NamedTuple):
    """How one artifact came to be in the store.

    Attributes:
        id: the id of the artifact.
        status: whether it was computed now or found in the store.
        seconds: wall seconds of this call, waiting included.
        record: facts about the artifact as JSON values, read from the store.
    """

    id: str
    status: Literal["made", "reused"]
    seconds: float
    record: dict[str, Any]


_FACTS: dict[Kind, str] = {
    "trajectories": "meta.json",
    "targets": "meta.json",
    "runs": "work.json",
    "analyses": "estimate.json",
    "galleries": FACTS,
}


def record(store: Store, kind: Kind, id: str) -> dict[str, Any]:
    """Return the facts of a complete artifact: its JSON file, its folder, figures and age."""
    name = _FACTS[kind]
    facts = store.read_json(kind, id, name)
    folder = store.path(kind, id)
    return facts | {
        "id": id,
        "path": str(folder),
        "made": store.made_at(kind, id).isoformat(),
        "figures": sorted(path.name for path in (folder / "figures").glob("*.png")),
    }


def describe(error: BaseException) -> str:
    """Return an exception as one line, without its type if its message is written for users."""
    words = " ".join(str(error).split()) or "no message"
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in words:
        return f"out of memory ({words}): {LESS_MEMORY}"
    plain = isinstance(error, ValueError | OSError | FloatingPointError)
    return words if plain else f"{type(error).__name__}: {words}"


def made(
    store: Store,
    kind: Kind,
    spec: TargetSpec | RunSpec,
    make: Callable[[Path], None],
    log: Log,
) -> Outcome:
    """Make an artifact in a folder that is published, unless the store has it."""
    began = time.perf_counter()
    status: Literal["made", "reused"] = "reused"
    if not store.is_complete(kind, spec.id):
        from lambda_hat_core import precision

        precision.require("float64" if isinstance(spec, TargetSpec) else spec.dtype)
        with noted(store, spec), store.lease(kind, spec.id, log):
            problem = store.problem(kind, spec.id)
            if problem is not None:
                if store.path(kind, spec.id).exists():
                    log(f"{spec.id} is made again: {problem}")
                with store.publish(kind, spec.id, spec) as folder:
                    make(folder)
                status = "made"
    failures.clear_failure(store, spec.id)
    seconds = time.perf_counter() - began
    return Outcome(spec.id, status, seconds, record(store, kind, spec.id))


@contextmanager
def noted(store: Store, spec: Origin | RunSpec) -> Iterator[None]:
    """Record an exception as a row for SQL, with its traceback beside it, and raise it again."""
    try:
        yield
    except Exception as error:
        if isinstance(error, Stopped):
            raise
        try:
            failures.write_failure(
                store, spec, describe(error), "".join(traceback.format_exception(error))
            )
        except OSError as another:
            error.add_note(f"the failure could not be recorded: {another}")
        raise


def require(store: Store, kind: Kind, id: str) -> None:
    """Raise an error that says what to make first, unless the store has an artifact."""
    problem = store.problem(kind, id)
    if problem is not None:
        raise FileNotFoundError(
            f"{store.path(kind, id)} is required, but it is not complete ({problem}); make {id} "
            "first"
        )
