"""Divides keys among steps, and the keys of a step into batches, one per Dagster run.

A batch must be a contiguous range of partitions to be one Dagster run. Partitions are ordered by
sampler and model, so that neighbours share compiled programs.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from types import MappingProxyType

from lambda_hat_assets.cards.card import Card
from lambda_hat_assets.cards.slurm import SlurmTag
from lambda_hat_assets.project.partitions import MOST
from lambda_hat_core.config.samplers.base import Dtype
from lambda_hat_core.config.spec import RunSpec, TargetSpec
from lambda_hat_core.work.forecast import workers

Keys = list[str]


def step_count(
    card: Card,
    dtype: Dtype,
    runs: Sequence[RunSpec],
    seconds: Mapping[str, float],
    targets: Mapping[str, TargetSpec] = MappingProxyType({}),
) -> int:
    """Return among how many steps the runs of a dtype are divided.

    On this machine a further step must save more time than its worker takes to start.

    Args:
        card: the card, which says where the runs are computed.
        dtype: the dtype of all runs.
        runs: the runs that are still to be computed.
        seconds: the predicted duration of each run, by id.
        targets: the targets by id.
    """
    most = min(len(runs), card.at_once(dtype))
    if isinstance(card.tag(dtype), SlurmTag):
        return most
    return min(most, workers(runs, [seconds[run.id] for run in runs], targets))


def shares(keys: Sequence[str], seconds: Mapping[str, float], count: int) -> list[Keys]:
    """Cut keys into at most `count` contiguous parts that should take about equally long.

    Args:
        keys: the keys, in the order of their partitions.
        seconds: the predicted duration of each key.
        count: the largest number of parts.
    """
    total = sum(seconds[key] for key in keys)
    parts: list[Keys] = [[] for _ in range(count)]
    before = 0.0
    for key in keys:
        middle = before + seconds[key] / 2
        before += seconds[key]
        parts[min(count - 1, int(count * middle / total)) if total else 0].append(key)
    return [part for part in parts if part]


def batches(
    keys: Collection[str], families: Mapping[str, Sequence[str]], most: int = MOST
) -> Iterator[tuple[str, Keys]]:
    """Yield batches, each with the name of its job.

    Args:
        keys: the keys to be made.
        families: all partitions of each job, in order.
        most: the largest number of keys in a batch.
    """
    for job, order in families.items():
        batch: Keys = []
        for key in order:
            if key in keys:
                batch.append(key)
            if batch and (key not in keys or len(batch) == most):
                yield job, batch
                batch = []
        if batch:
            yield job, batch
