"""What is left to do, cut into batches, and shared out to steps.

A batch is a contiguous range of partitions, so that it can be one Dagster run; partitions are
ordered by shape, so that neighbours share a compilation.
"""

import math
from collections.abc import Collection, Iterator, Sequence

import dagster as dg

from lambda_hat_assets.card import Card
from lambda_hat_core.config.samplers import Dtype

MOST = 20
"""Keys of one batch; about 0.3 s of CPU for the Dagster run are then paid once for 20."""

_PER_SLOT = 4
"""Batches that each step finds at least, so that none waits long for another's last one."""

Batch = list[str]


def batch_size(count: int, slots: int) -> int:
    """Return how many keys a batch should have if `slots` steps share `count` keys."""
    return max(1, min(MOST, math.ceil(count / (_PER_SLOT * max(1, slots)))))


def batches(order: Sequence[str], wanted: Collection[str], size: int) -> Iterator[Batch]:
    """Yield the wanted keys in contiguous ranges of at most `size`.

    Args:
        order: all partitions, in the order in which Dagster has them.
        wanted: those that are missing.
        size: most keys of a batch.
    """
    batch: Batch = []
    for key in order:
        if key in wanted:
            batch.append(key)
        if batch and (key not in wanted or len(batch) == size):
            yield batch
            batch = []
    if batch:
        yield batch


def slots(card: Card, dtype: Dtype, count: int) -> int:
    """Return how many steps of a dtype take `count` keys."""
    return min(count, card.slots, card.tag(dtype).slots)


def shares(found: list[Batch], slots: int, output: str) -> Iterator[dg.DynamicOutput[list[Batch]]]:
    """Yield all batches once for each step that may take them, its own share first."""
    for slot in range(slots):
        start = slot * len(found) // slots
        yield dg.DynamicOutput(
            [*found[start:], *found[:start]],
            mapping_key=f"{slot + 1}_of_{slots}",
            output_name=output,
        )
