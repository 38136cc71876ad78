"""Payloads on this machine: one warm worker process, which takes one key after the other."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from queue import SimpleQueue

import dagster as dg

from lambda_hat_assets.cards.card import LocalTag
from lambda_hat_assets.compute.resource import Order, Result
from lambda_hat_core.config.samplers.base import Dtype
from lambda_hat_core.gallery.members import Gallery
from lambda_hat_core.samplers.telling import Teller
from lambda_hat_core.store import records
from lambda_hat_core.store.store import Store
from lambda_hat_core.work.client import Event, WorkerClient
from lambda_hat_core.work.pool import Pool, Task


class LocalBackend:
    """A worker of one dtype, started when the first order comes and kept until `close`.

    Args:
        store: where results go.
        dtype: of the worker.
        tag: the card's entry for the dtype.
    """

    def __init__(self, store: Store, dtype: Dtype, tag: LocalTag):
        self._store = store
        self._dtype: Dtype = dtype
        self._tag = tag
        self._pool: Pool | None = None

    def run(self, context: dg.AssetExecutionContext, orders: Sequence[Order]) -> Iterator[Result]:
        """Yield results as they come; after the failure of a key, go on with the next key.

        The worker computes the next key while Dagster records a result. A caller that stops
        listening ends the worker.
        """
        news: SimpleQueue[tuple[Order, Event] | Future[Event]] = SimpleQueue()
        pool = self._opened()
        futures = [pool.submit(self._task(order, news)) for order in orders]
        for future in futures:
            future.add_done_callback(news.put)
        tellers = {order.key: Teller(order.key, context.log.info) for order in orders}
        made = dict.fromkeys(tellers, 0)
        left = len(futures)
        try:
            while left:
                item = news.get()
                if isinstance(item, Future):
                    item.result()
                    left -= 1
                    continue
                order, event = item
                tellers[order.key].hear(event)
                if event["event"] not in ("done", "failed"):
                    continue
                kind = order.kinds[made[order.key]]
                made[order.key] += 1
                if event["event"] == "done":
                    reused = event["status"] == "reused"
                    yield Result(order.key, kind, event["record"], reused=reused)
                else:
                    self._note(order, event)
                    yield Result(order.key, kind, {}, failure=event["reason"])
        finally:
            if left:
                self.close()

    def close(self) -> None:
        """End the worker, whatever it is doing."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def _opened(self) -> Pool:
        if self._pool is None:
            argv, environment = self._tag.argv(), self._tag.environment(self._dtype)
            self._pool = Pool(
                lambda dtype: WorkerClient(self._store.root, argv, environment), {self._dtype: 1}, 1
            )
        return self._pool

    def _task(self, order: Order, news: "SimpleQueue[tuple[Order, Event] | Future[Event]]") -> Task:
        requests = tuple(order.request(kind) for kind in order.kinds)
        return Task(self._dtype, requests, hear=lambda event: news.put((order, event)))

    def _note(self, order: Order, end: Event) -> None:
        spec = order.run or order.target
        if not isinstance(spec, Gallery):
            records.note_failure(self._store, spec, end)
