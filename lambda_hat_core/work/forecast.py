"""Predict the cost of a run from its spec and from the cost of similar runs."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from types import MappingProxyType
from typing import NamedTuple

from lambda_hat_core.config.data import NoData
from lambda_hat_core.config.spec import RunSpec, TargetSpec
from lambda_hat_core.store.store import Store

_OVERHEAD = 1e-5
"""Least seconds per gradient evaluation, however small the problem is."""

_RATE = 2e9
"""Floating-point operations per second of one core. A gradient takes six operations per parameter
and example."""

_AFTERWARDS = 0.7
"""Seconds that a run takes after its draws, for its analysis and its figures."""

START = 8.0
"""Seconds that a worker takes before its first draw, and again for every new shape: imports,
tracing, and reading or making compiled programs."""


class Cost(NamedTuple):
    """Estimated full-gradient evaluations, and estimated seconds if similar runs are known."""

    fge: float
    seconds: float | None


class RunTimes:
    """Wall seconds per gradient evaluation in the runs of the store.

    Args:
        rows: (target_id, sampler, work_fge, wall_s).
    """

    def __init__(self, rows: Iterable[tuple[str, str, float, float]]):
        self._rates: dict[tuple[str, ...], list[float]] = {}
        for target, sampler, work, wall in rows:
            for key in ((target, sampler), (target,), (sampler,)):
                self._rates.setdefault(key, []).append(wall / work)

    def seconds(self, spec: RunSpec, fge: float) -> float | None:
        """Return the seconds for `fge` evaluations, at the median rate of the most similar runs."""
        kind = spec.sampler.kind
        for key in ((spec.target, kind), (spec.target,), (kind,)):
            if key in self._rates:
                return fge * median(self._rates[key])
        return None


def history(store: Store) -> RunTimes:
    """Return the run times of a store."""
    from lambda_hat_core.store import sql

    statement = (
        "SELECT DISTINCT ON (run_id) target_id, sampler, work_fge, wall_s FROM llc "
        "WHERE work_fge > 0 AND wall_s > 0"
    )
    return RunTimes(sql.query(store, statement).rows)


def forecast(spec: RunSpec, target: TargetSpec, known: RunTimes) -> Cost:
    """Return the predicted cost of a run, within a factor of a few for adaptive samplers."""
    fge = spec.sampler.work(target.data.n_data)
    return Cost(fge, known.seconds(spec, fge))


def guess(spec: RunSpec, target: TargetSpec, d: int, known: RunTimes) -> float:
    """Predict the seconds that a run takes in a warm worker.

    The prediction uses the times of similar runs if there are any, and otherwise counts operations.
    It is right within a factor of a few, which is enough to tell seconds from minutes.

    Args:
        spec: spec of the run.
        target: spec of the target that it samples.
        d: number of parameters.
        known: the run times of the store.
    """
    n = target.data.n_data
    fge, seconds = forecast(spec, target, known)
    if seconds is None:
        evaluations = spec.sampler.work(spec.sampler.batch(n) or n)
        # A potential costs about as much as a product with a d x d matrix.
        examples = d / 3 if isinstance(target.data, NoData) else n
        seconds = evaluations * _OVERHEAD + fge * 6 * examples * d / _RATE
    return seconds + _AFTERWARDS


def times(store: Store, runs: Sequence[RunSpec], targets: Mapping[str, TargetSpec]) -> list[float]:
    """Return the predicted seconds of every run. The targets must be in the store."""
    if not runs:
        return []
    known = history(store)
    sizes = {
        id: store.read_json("targets", id, "meta.json")["d"] for id in {run.target for run in runs}
    }
    return [guess(run, targets[run.target], sizes[run.target], known) for run in runs]


def workers(
    runs: Sequence[RunSpec],
    seconds: Sequence[float],
    targets: Mapping[str, TargetSpec] = MappingProxyType({}),
) -> int:
    """Return how many workers are worth the time of starting them.

    If one worker takes R seconds, a second worker that starts in S seconds saves (R - S) / 2. It is
    worth starting if that is more than S. The same holds for each further worker.

    Args:
        runs: the runs that are still to be computed.
        seconds: predicted seconds of each run in a warm worker.
        targets: the targets by id; the checkpoints of one training share their programs.
    """

    def shape(run: RunSpec) -> str:
        target = targets.get(run.target)
        training = None if target is None else target.trajectory
        return run.target if training is None else training.id

    shapes = {(shape(run), run.sampler) for run in runs}
    left = sum(seconds) + START * (len(shapes) - 1)
    return 1 + int(left // (3 * START))
