"""An experiment without Dagster: targets, then runs, in a pool of warm workers."""

from collections.abc import Sequence
from concurrent.futures import Future, as_completed
from functools import partial
from typing import Protocol

from lambda_hat_assets.cards.card import DTYPES, Card
from lambda_hat_assets.compute.orders import Missing, missing_runs, missing_targets
from lambda_hat_assets.compute.workers import open_pool
from lambda_hat_core.gallery.members import Gallery, is_current
from lambda_hat_core.plan.plan import Plan
from lambda_hat_core.store import records
from lambda_hat_core.store.store import Store
from lambda_hat_core.work.client import Event, request
from lambda_hat_core.work.forecast import times, workers
from lambda_hat_core.work.pool import Pool, Task


class Listener(Protocol):
    """Is told what happens to each key, from several threads."""

    def heard(self, key: str, event: Event) -> None:
        """Take an event of a worker."""
        ...

    def ended(self, key: str, failure: str | None) -> None:
        """Take the end of a key."""
        ...


def make(
    store: Store, card: Card, plan: Plan, gallery: Gallery, listener: Listener
) -> tuple[dict[str, str], str | None]:
    """Make what the store lacks of a plan, then the gallery.

    A failure stops only what depends on it.

    Args:
        store: where results go.
        card: environment and number of workers of each dtype, all local.
        plan: what is wanted.
        gallery: drawn at the end, by a worker that is there already.
        listener: told what happens.

    Returns:
        Why keys failed, by id; and why the gallery could not be drawn, None where it is there.
    """
    targets = missing_targets(store, plan)
    with open_pool(store, card, min(card.at_once("float64"), max(1, len(targets)))) as pool:
        failures = _made(store, pool, targets, listener)
        runs: list[Missing] = []
        for run in missing_runs(store, plan):
            if run.target.id not in failures:
                runs.append(run)
                continue
            why = f"its target {run.target.id} could not be built: {failures[run.target.id]}"
            failures[run.id] = why
            records.write_failure(store, run.spec, why)
            listener.ended(run.id, why)
        pool.resize(_worker_count(store, card, plan, runs))
        failures |= _made(store, pool, runs, listener)
        return failures, _draw(store, pool, gallery, runs or targets)


def _made(
    store: Store, pool: Pool, wanted: Sequence[Missing], listener: Listener
) -> dict[str, str]:
    """Make keys that do not depend on one another; return why some failed."""
    futures: dict[Future[Event], Missing] = {}
    for key in wanted:
        hear = partial(listener.heard, key.id)
        futures[pool.submit(Task(key.dtype, key.requests(), key.likeness, hear))] = key
    failures: dict[str, str] = {}
    for future in as_completed(futures):
        key, end = futures[future], future.result()
        records.note_failure(store, key.spec, end)
        if end["event"] == "failed":
            failures[key.id] = end["reason"]
        listener.ended(key.id, failures.get(key.id))
    return failures


def _worker_count(store: Store, card: Card, plan: Plan, runs: Sequence[Missing]) -> int:
    """Return how many workers are worth their start, at most as many as the card allows."""
    count = 0
    for dtype in DTYPES:
        specs = [plan.runs[run.id] for run in runs if run.dtype == dtype]
        if specs:
            wanted = workers(specs, times(store, specs, plan.targets))
            count += min(wanted, len(specs), card.at_once(dtype))
    return max(1, min(count, card.slots))


def _draw(store: Store, pool: Pool, gallery: Gallery, made: Sequence[Missing]) -> str | None:
    """Draw the gallery unless it is there; return why it could not be drawn."""
    if is_current(store, gallery):
        return None
    dtype = made[-1].dtype if made else "float64"
    end = pool.submit(Task(dtype, (request("gallery", gallery),))).result()
    return end["reason"] if end["event"] == "failed" else None
