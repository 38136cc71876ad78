"""How much work a run will be, before it runs: from its spec, and from what like runs cost."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import NamedTuple

from lambda_hat_core.config.data import NoData
from lambda_hat_core.config.samplers.base import AUTO_BATCH
from lambda_hat_core.config.samplers.known import SamplerSpec
from lambda_hat_core.config.spec import RunSpec, TargetSpec
from lambda_hat_core.store.store import Store

_OVERHEAD = 1e-5
"""Seconds of one gradient evaluation, however small."""

_RATE = 2e9
"""Floating-point operations a second of one core; a gradient takes six a parameter and example."""

_AFTERWARDS = 0.7
"""Seconds of a run after its draws: its analysis and its figures."""

START = 8.0
"""Seconds a worker takes before its first draw, and again for every shape: imports, tracing,
reading or making compiled programs."""


class Cost(NamedTuple):
    """An estimate: full-gradient evaluations, and seconds where like runs are known."""

    fge: float
    seconds: float | None


class RunTimes:
    """Wall seconds a gradient evaluation took in the runs that the store has.

    Args:
        rows: (target_id, sampler, work_fge, wall_s).
    """

    def __init__(self, rows: Iterable[tuple[str, str, float, float]]):
        self._rates: dict[tuple[str, ...], list[float]] = {}
        for target, sampler, work, wall in rows:
            for key in ((target, sampler), (target,), (sampler,)):
                self._rates.setdefault(key, []).append(wall / work)

    def seconds(self, spec: RunSpec, fge: float) -> float | None:
        """Return the time of `fge` evaluations, as the most alike runs took it."""
        kind = spec.sampler.kind
        for key in ((spec.target, kind), (spec.target,), (kind,)):
            if key in self._rates:
                return fge * median(self._rates[key])
        return None


def history(store: Store) -> RunTimes:
    """Read the history of a store."""
    from lambda_hat_core.store import sql

    statement = (
        "SELECT DISTINCT ON (run_id) target_id, sampler, work_fge, wall_s FROM llc "
        "WHERE work_fge > 0 AND wall_s > 0"
    )
    return RunTimes(sql.query(store, statement).rows)


def forecast(spec: RunSpec, target: TargetSpec, known: RunTimes) -> Cost:
    """Return what a run will cost, within a factor of a few for adaptive samplers."""
    fge = spec.sampler.work(target.data.n_data)
    return Cost(fge, known.seconds(spec, fge))


def guess(spec: RunSpec, target: TargetSpec, d: int, known: RunTimes) -> float:
    """Return the seconds a run takes in a warm worker, as like runs did or by counting operations.

    Within a factor of a few: enough to tell seconds from minutes.

    Args:
        spec: of the run.
        target: that it samples.
        d: number of parameters.
        known: of the store.
    """
    n = target.data.n_data
    fge, seconds = forecast(spec, target, known)
    if seconds is None:
        evaluations = spec.sampler.work(_batch(spec.sampler) or n)
        examples = d / 3 if isinstance(target.data, NoData) else n  # a matrix, not examples
        seconds = evaluations * _OVERHEAD + fge * 6 * examples * d / _RATE
    return seconds + _AFTERWARDS


def times(store: Store, runs: Sequence[RunSpec], targets: Mapping[str, TargetSpec]) -> list[float]:
    """Return the guess of every run; their targets are in the store."""
    if not runs:
        return []
    known = history(store)
    sizes = {
        id: store.read_json("targets", id, "meta.json")["d"] for id in {run.target for run in runs}
    }
    return [guess(run, targets[run.target], sizes[run.target], known) for run in runs]


def workers(runs: Sequence[RunSpec], seconds: Sequence[float]) -> int:
    """Return how many workers are worth their start.

    A second worker that starts in S seconds saves (R - S) / 2 of the R that one would take, once it
    is warm. It is worth it where that is more than S, and so on for each further one.

    Args:
        runs: that are left.
        seconds: of each, in a warm worker.
    """
    shapes = {(run.target, run.sampler) for run in runs}
    left = sum(seconds) + START * (len(shapes) - 1)
    return 1 + int(left // (3 * START))


def _batch(sampler: SamplerSpec) -> int | None:
    size = getattr(sampler, "batch_size", None)
    return AUTO_BATCH if size == "auto" else size
