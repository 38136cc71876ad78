"""Payloads on this machine: one warm worker process, which takes one request after the other."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue

import dagster as dg

from lambda_hat_assets.card import LocalTag
from lambda_hat_assets.compute import Kind, Order, Result
from lambda_hat_core import records
from lambda_hat_core.config.samplers import Dtype
from lambda_hat_core.gallery.members import Gallery
from lambda_hat_core.retries import insist
from lambda_hat_core.store import Store
from lambda_hat_core.telling import Teller
from lambda_hat_core.worker_client import Event, WorkerClient

Say = Callable[[str], None]


class LocalBackend:
    """A worker of one dtype, started when the first order comes.

    Args:
        store: where results go.
        dtype: of the worker.
        tag: the card's entry for the dtype.
    """

    def __init__(self, store: Store, dtype: Dtype, tag: LocalTag):
        self._store = store
        self._stop = threading.Event()
        self._worker = WorkerClient(store.root, tag.argv(), tag.environment(dtype))

    def run(self, context: dg.AssetExecutionContext, orders: Sequence[Order]) -> Iterator[Result]:
        """Yield results as they come; after the failure of a key, go on with the next key.

        The worker goes on while Dagster records a result.
        """
        news: SimpleQueue[str | Result | None] = SimpleQueue()
        self._stop.clear()
        with ThreadPoolExecutor(1) as pool:
            working = pool.submit(self._work, orders, news.put)
            working.add_done_callback(lambda _: news.put(None))
            try:
                while (item := news.get()) is not None:
                    if isinstance(item, str):
                        context.log.info(item)
                    else:
                        yield item
            finally:
                if not working.done():
                    self._stop.set()
                    self._worker.kill()
        working.result()

    def close(self) -> None:
        """End the worker."""
        self._worker.close()

    def _work(self, orders: Sequence[Order], tell: Callable[[str | Result], None]) -> None:
        for order in orders:
            for kind in order.kinds:
                result = self._made(order, kind, tell)
                if self._stop.is_set():
                    return
                tell(result)
                if result.failure is not None:
                    break

    def _made(self, order: Order, kind: Kind, say: Say) -> Result:
        end = self._asked(order, kind, say)
        if end["event"] == "done":
            return Result(order.key, kind, end["record"], reused=end["status"] == "reused")
        spec = order.run or order.target
        is_its_own = end["kind"] == "died" and not self._stop.is_set()
        if is_its_own and not isinstance(spec, Gallery):
            records.write_failure(self._store, spec, end["reason"])
        return Result(order.key, kind, {}, failure=end["reason"])

    def _asked(self, order: Order, kind: Kind, say: Say) -> Event:
        """Return the event that ends the request, and tell the others."""
        teller = Teller(order.key, say)
        end: Event = {}
        line = order.request(kind)
        ask = partial(self._worker.run, [line])
        for event in insist(ask, give_up=self._stop.is_set, sleep=self._stop.wait):
            end = event
            teller.hear(event)
        return end
