"""Payloads on this machine: one worker process, which makes keys one after another."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue

import dagster as dg

from lambda_hat_assets.cards.card import Card
from lambda_hat_assets.compute.orders import Order, Result, note_failure
from lambda_hat_assets.compute.workers import open_pool
from lambda_hat_core.samplers.telling import Teller
from lambda_hat_core.store.store import Store
from lambda_hat_core.work.client import Event
from lambda_hat_core.work.pool import Pool, Task


class LocalBackend:
    """One worker, which is started for the first order and kept until `close`.

    Args:
        store: the store for results.
        card: the card, which says how the worker is started.
    """

    def __init__(self, store: Store, card: Card):
        self._store, self._card = store, card
        self._pool: Pool | None = None

    def run(self, context: dg.AssetExecutionContext, orders: Sequence[Order]) -> Iterator[Result]:
        """Yield results as they arrive; if a key fails, the next keys are computed nevertheless.

        The worker computes the next key while Dagster records a result. The worker ends if the
        caller stops iterating.
        """
        self._pool = self._pool or open_pool(self._store, self._card, 1)
        news: SimpleQueue[tuple[Order, Event] | Future[Event]] = SimpleQueue()
        for order in orders:
            hear = partial(_put, news, order)
            task = Task(order.dtype, order.requests(), hear=hear)
            self._pool.submit(task).add_done_callback(news.put)
        tellers = {order.key: Teller(order.key, context.log.info) for order in orders}
        kinds = {order.key: iter(order.kinds) for order in orders}
        left = len(orders)
        try:
            while left:
                item = news.get()
                if isinstance(item, Future):
                    item.result()
                    left -= 1
                    continue
                order, event = item
                tellers[order.key].hear(event)
                if event["event"] == "done":
                    kind, reused = next(kinds[order.key]), event["status"] == "reused"
                    yield Result(order.key, kind, event["record"], reused=reused)
                elif event["event"] == "failed":
                    note_failure(self._store, order, event)
                    kind = next(kinds[order.key])
                    yield Result(order.key, kind, {}, failure=event["reason"])
        finally:
            if left:
                self.close()

    def close(self) -> None:
        """End the worker immediately."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None


def _put(news: SimpleQueue, order: Order, event: Event) -> None:
    news.put((order, event))
