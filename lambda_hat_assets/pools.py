"""Pools: as many payloads of a dtype at once as the card says, over everything that runs.

The job, runs of the UI and backfills share Dagster's history, and with it the slots of its pools.
"""

import dagster as dg
from sqlalchemy.exc import IntegrityError

from lambda_hat_assets.assets.common import Routing
from lambda_hat_assets.card import DTYPES, Card


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
                # Another job has made the row since it was looked for; now it can be changed.
                storage.set_concurrency_slots(pool, slots)
