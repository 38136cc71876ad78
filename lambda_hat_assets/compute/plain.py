"""Runs an experiment without Dagster: targets, then runs, with a pool of workers."""

from collections.abc import Sequence
from concurrent.futures import Future, as_completed
from functools import partial
from typing import Protocol

from lambda_hat_assets.cards.card import DTYPES, Card
from lambda_hat_assets.compute.orders import (
    Order,
    missing_runs,
    missing_targets,
    missing_trajectories,
    note_blocked,
    note_failure,
)
from lambda_hat_assets.compute.workers import open_pool
from lambda_hat_core.gallery.members import Gallery, is_current
from lambda_hat_core.plan.plan import Plan
from lambda_hat_core.store.store import Store
from lambda_hat_core.work.client import Event
from lambda_hat_core.work.forecast import times, workers
from lambda_hat_core.work.pool import Pool, Task


class Listener(Protocol):
    """An observer of the progress of each key; it is called from several threads."""

    def heard(self, key: str, event: Event) -> None:
        """Receive an event of a worker."""
        ...

    def ended(self, key: str, failure: str | None) -> None:
        """Receive the end of a key, with the reason if it failed."""
        ...


def make(
    store: Store, card: Card, plan: Plan, gallery: Gallery, listener: Listener
) -> tuple[dict[str, str], str | None]:
    """Make the artifacts of a plan that the store lacks, then the gallery.

    If a training fails, its checkpoints fail too, and if a target fails, its runs; other keys are
    not affected.

    Args:
        store: the store for results.
        card: the card, whose entries are all local.
        plan: the plan of the experiment.
        gallery: the gallery, which is drawn at the end, by a running worker if there is one.
        listener: observes the progress.

    Returns:
        The reasons of failures by id, and the reason why the gallery could not be drawn, or None.
    """
    trainings, targets = missing_trajectories(store, plan), missing_targets(store, plan)
    at_once = max(1, len(trainings), len(targets))
    with open_pool(store, card, min(card.at_once("float64"), at_once)) as pool:
        failures = _made(store, pool, trainings, listener)
        targets = _possible(store, targets, failures, listener)
        failures |= _made(store, pool, targets, listener)
        runs = _possible(store, missing_runs(store, plan), failures, listener)
        pool.resize(_worker_count(store, card, plan, runs))
        failures |= _made(store, pool, runs, listener)
        return failures, _draw(store, pool, gallery, runs or targets)


def _possible(
    store: Store, orders: Sequence[Order], failures: dict[str, str], listener: Listener
) -> list[Order]:
    """Return the orders whose source did not fail; the others are added to the failures."""
    possible: list[Order] = []
    for order in orders:
        source = order.source
        if source not in failures:
            possible.append(order)
            continue
        failures[order.key] = note_blocked(store, order, failures[source])
        listener.ended(order.key, failures[order.key])
    return possible


def _made(store: Store, pool: Pool, wanted: Sequence[Order], listener: Listener) -> dict[str, str]:
    """Carry out independent orders, and return the reasons of failures by key."""
    futures: dict[Future[Event], Order] = {}
    for order in wanted:
        hear = partial(listener.heard, order.key)
        futures[pool.submit(Task(order.dtype, order.requests(), order.likeness, hear))] = order
    failures: dict[str, str] = {}
    for future in as_completed(futures):
        order, end = futures[future], future.result()
        note_failure(store, order, end)
        if end["event"] == "failed":
            failures[order.key] = end["reason"]
        listener.ended(order.key, failures.get(order.key))
    return failures


def _worker_count(store: Store, card: Card, plan: Plan, runs: Sequence[Order]) -> int:
    """Return how many workers save more time than their start takes, within the card's limit."""
    count = 0
    for dtype in DTYPES:
        specs = [order.run for order in runs if order.run and order.dtype == dtype]
        if specs:
            wanted = workers(specs, times(store, specs, plan.targets), plan.targets)
            count += min(wanted, len(specs), card.at_once(dtype))
    return max(1, min(count, card.slots))


def _draw(store: Store, pool: Pool, gallery: Gallery, made: Sequence[Order]) -> str | None:
    """Draw the gallery unless it is current, and return the reason if that failed."""
    if is_current(store, gallery):
        return None
    dtype = made[-1].dtype if made else "float64"
    end = pool.submit(Task(dtype, Order(gallery.id, ("galleries",), gallery).requests())).result()
    return end["reason"] if end["event"] == "failed" else None
