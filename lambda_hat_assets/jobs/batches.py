"""What is left to do, and how much of it a step takes at once.

A batch is a contiguous range of partitions, so that it can be one Dagster run; partitions are
ordered by shape, so that neighbours share a compilation.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence

import dagster as dg

from lambda_hat_assets.card import Card
from lambda_hat_assets.slurm.card import SlurmTag
from lambda_hat_core.config.samplers import Dtype
from lambda_hat_core.config.spec import RunSpec
from lambda_hat_core.forecast import START, workers

MOST = 20
"""Keys of one batch: what a Dagster run costs, about 0.3 s of CPU, is then paid once for 20."""

_SECONDS = 15.0
"""Of one batch: what a Dagster run costs is then a fiftieth of it."""

_PER_STEP = 2
"""Batches that each step finds at least, so that none waits long for another's last one."""

_OF = "_of_"
"""In the name of a step, between its number and how many there are."""

Keys = list[str]


class Pace:
    """How many keys the next batch should have, from how long the keys of the last one took.

    Args:
        steps: that share the work.
    """

    def __init__(self, steps: int):
        self._steps = max(1, steps)
        self._size = 1
        self._start = START

    def size(self, left: int) -> int:
        """Return the size of the next batch if `left` keys are not done yet."""
        return max(1, min(self._size, math.ceil(left / (_PER_STEP * self._steps))))

    def took(self, seconds: float, keys: int) -> None:
        """Note how long a batch took: short keys make large batches, long ones go alone.

        The first one started the worker, which says nothing of the next.
        """
        seconds, self._start = max(seconds - self._start, 1e-3), 0.0
        self._size = max(1, min(MOST, int(_SECONDS * keys / seconds)))


class QueuePace(Pace):
    """The same for SLURM jobs, of which each waits in a queue: few and long ones.

    Args:
        steps: that share the work.
        most: keys of one job.
    """

    def __init__(self, steps: int, most: int):
        super().__init__(steps)
        self._most = most

    def size(self, left: int) -> int:
        """Return the size that gives each step one job, if a job may be that large."""
        return max(1, min(self._most, math.ceil(left / self._steps)))


def pace(card: Card, dtype: Dtype, share: str) -> Pace:
    """Return how a card's payloads of a dtype are cut into batches.

    Args:
        card: where they are.
        dtype: of all keys.
        share: the name that `shares` gave to the step.
    """
    tag = card.tag(dtype)
    if isinstance(tag, SlurmTag):
        return QueuePace(card.at_once(dtype), tag.batch)
    return Pace(share_count(share))


def share_count(share: str) -> int:
    """Return how many steps there are, from the name that `shares` gave to one."""
    return int(share.partition(_OF)[2])


def stretches(order: Sequence[str], wanted: Collection[str]) -> Iterator[Keys]:
    """Yield the wanted keys in contiguous ranges.

    Args:
        order: all partitions, in the order in which Dagster has them.
        wanted: those that are missing.
    """
    stretch: Keys = []
    for key in order:
        if key in wanted:
            stretch.append(key)
        elif stretch:
            yield stretch
            stretch = []
    if stretch:
        yield stretch


def steps(card: Card, dtype: Dtype, runs: Sequence[RunSpec], seconds: Mapping[str, float]) -> int:
    """Return how many steps of a dtype share runs; on this machine, no more than are worth it.

    Args:
        card: where they are computed.
        dtype: of all of them.
        runs: what is left to do.
        seconds: that each may take, by id.
    """
    most = min(len(runs), card.at_once(dtype))
    if isinstance(card.tag(dtype), SlurmTag):
        return most
    return min(most, workers(runs, [seconds[run.id] for run in runs]))


def shares(found: Sequence[Keys], count: int, output: str) -> Iterator[dg.DynamicOutput]:
    """Yield everything once for each of `count` steps, its own share first."""
    total = sum(map(len, found))
    for step in range(count):
        yield dg.DynamicOutput(
            rotated(found, step * total // count),
            mapping_key=f"{step + 1}{_OF}{count}",
            output_name=output,
        )


def rotated(found: Sequence[Keys], by: int) -> list[Keys]:
    """Return stretches from the key of number `by` onwards, those before it at the end."""
    first: list[Keys] = []
    last: list[Keys] = []
    for stretch in found:
        cut = max(0, min(by, len(stretch)))
        by -= len(stretch)
        last += [stretch[:cut]] if cut else []
        first += [stretch[cut:]] if stretch[cut:] else []
    return first + last
