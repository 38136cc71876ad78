"""Pools: they keep the payloads of a dtype that run at once to the number that the card allows.

The `llc` job, runs from the UI and backfills share the slots of the pools in Dagster's history.
"""

from typing import NamedTuple

import dagster as dg
from sqlalchemy.exc import IntegrityError

from lambda_hat_assets.cards.card import DTYPES, Card
from lambda_hat_core.config.samplers.base import Dtype

DTYPE_TAG = "lambda_hat/dtype"


class Routing(NamedTuple):
    """How Dagster tells dtypes apart: steps and runs by a tag, waiting steps by a pool."""

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
    """Give each dtype's pool the card's number of slots."""
    storage = instance.event_log_storage
    limits = {pool.name: pool.limit for pool in storage.get_pool_limits()}
    for dtype in DTYPES:
        pool, slots = Routing(dtype).pool, card.tag(dtype).slots
        if limits.get(pool) != slots:
            try:
                storage.set_concurrency_slots(pool, slots)
            except IntegrityError:
                # Another job has made the row meanwhile; now it can be changed.
                storage.set_concurrency_slots(pool, slots)
