"""The pool of workers that a card describes."""

from lambda_hat_assets.cards.card import DTYPES, Card, LocalTag
from lambda_hat_core.config.samplers.base import Dtype
from lambda_hat_core.store.store import Store
from lambda_hat_core.work.client import WorkerClient
from lambda_hat_core.work.pool import Pool


def open_pool(store: Store, card: Card, at_once: int) -> Pool:
    """Return a pool of workers on this machine.

    Args:
        store: the store for results.
        card: the card, with command, environment and number of workers of each dtype.
        at_once: the largest number of workers at once over both dtypes.
    """

    def start(dtype: Dtype) -> WorkerClient:
        tag = card.tag(dtype)
        assert isinstance(tag, LocalTag), "the pool has no workers for SLURM tags"
        return WorkerClient(store.root, tag.argv(), tag.environment(dtype))

    return Pool(start, {dtype: card.tag(dtype).slots for dtype in DTYPES}, at_once)
