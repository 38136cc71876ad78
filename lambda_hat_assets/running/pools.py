"""Pools, which limit the number of payloads of each dtype at once to that of the card.

The `llc` job, runs from the UI and backfills share the slots of the pools in Dagster's history.
"""

from typing import NamedTuple

import dagster as dg
from sqlalchemy.exc import IntegrityError

from lambda_hat_assets.cards.card import DTYPES, Card
from lambda_hat_core.config.samplers.base import Dtype

DTYPE_TAG = "lambda_hat/dtype"


class Routing(NamedTuple):
    """The dtype as Dagster sees it: a tag of steps and runs, and the pool in which steps wait."""

    dtype: Dtype

    @property
    def tags(self) -> dict[str, str]:
        """Tags of assets, steps and runs."""
        return {DTYPE_TAG: self.dtype}

    @property
    def pool(self) -> str:
        """The pool of the steps that use a payload process."""
        return f"lambda_hat_{self.dtype}"


def set_limits(instance: dg.DagsterInstance, card: Card) -> None:
    """Set the number of slots of each dtype's pool to that of the card."""
    storage = instance.event_log_storage
    limits = {pool.name: pool.limit for pool in storage.get_pool_limits()}
    for dtype in DTYPES:
        pool, slots = Routing(dtype).pool, card.tag(dtype).slots
        if limits.get(pool) != slots:
            try:
                storage.set_concurrency_slots(pool, slots)
            except IntegrityError:
                # Another job has created the row in the meantime; now it can be changed.
                storage.set_concurrency_slots(pool, slots)
