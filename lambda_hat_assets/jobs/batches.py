"""How keys are shared out to steps, and cut into the Dagster runs of a step.

A batch is a contiguous range of partitions, so that it can be one Dagster run; partitions are
ordered by shape, so that neighbours share a compilation.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

from lambda_hat_assets.cards.card import Card
from lambda_hat_assets.cards.slurm import SlurmTag
from lambda_hat_assets.project.partitions import MOST
from lambda_hat_core.config.samplers.base import Dtype
from lambda_hat_core.config.spec import RunSpec
from lambda_hat_core.work.forecast import workers

Keys = list[str]


def step_count(
    card: Card, dtype: Dtype, runs: Sequence[RunSpec], seconds: Mapping[str, float]
) -> int:
    """Return how many steps of a dtype share runs; on this machine, no more than are worth it.

    Args:
        card: where the runs are computed.
        dtype: of all of them.
        runs: what is left to do.
        seconds: that each may take, by id.
    """
    most = min(len(runs), card.at_once(dtype))
    if isinstance(card.tag(dtype), SlurmTag):
        return most
    return min(most, workers(runs, [seconds[run.id] for run in runs]))


def shares(keys: Sequence[str], seconds: Mapping[str, float], count: int) -> list[Keys]:
    """Cut keys into at most `count` contiguous parts that should take about equally long.

    Args:
        keys: in the order of their partitions.
        seconds: that each may take, by key.
        count: of parts.
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
    """Yield the job of each batch with its keys, all contiguous in the order of their partitions.

    Args:
        keys: what is wanted.
        families: all partitions of each job, in their order.
        most: keys of one batch.
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
