"""How much work a run will be, before it runs: from its spec, and from what like runs cost."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

from lambda_hat_core.config.data import NoData
from lambda_hat_core.config.samplers import (
    AdjustedMclmc,
    Hmc,
    Mala,
    Mclmc,
    Nuts,
    SamplerSpec,
    Sghmc,
    Sgld,
    Sgnht,
    Vi,
)
from lambda_hat_core.config.spec import RunSpec, TargetSpec
from lambda_hat_core.store import Store

_TREE = 15
"""Leapfrog steps of a NUTS draw, 2^4 - 1: what trees on whitened posteriors settle at."""

_TRAJECTORY = 8
"""Gradients of an adjusted MCLMC draw; it tunes its trajectory, so this is a guess."""

_RECORD = 4 / 3
"""The full-data loss of a draw and the gradient of its virial certificate."""

_SPECTRUM = 136
"""64 Lanczos steps and 4 probes at one point, 2 gradients a Hessian-vector product."""

_PILOT = 2 * (200 + _SPECTRUM)
"""Gradients of a chain before its sampler sets itself up: two rounds of HMC, each with a spectrum
at the end."""

BUDGET = 4
"""Times the forecast that a run may cost. Of adaptive samplers the forecast is a guess: the trees
of NUTS are 0.5 to 2.6 times as long on the default experiment."""


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


class History:
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


def history(store: Store) -> History:
    """Read the history of a store."""
    from lambda_hat_core import sql

    statement = (
        "SELECT DISTINCT ON (run_id) target_id, sampler, work_fge, wall_s FROM llc "
        "WHERE work_fge > 0 AND wall_s > 0"
    )
    return History(sql.query(store, statement).rows)


def forecast(spec: RunSpec, target: TargetSpec, known: History) -> Cost:
    """Return what a run will cost, within a factor of a few for adaptive samplers."""
    fge = work(spec.sampler, target.data.n_data)
    return Cost(fge, known.seconds(spec, fge))


def guess(spec: RunSpec, target: TargetSpec, d: int, known: History) -> float:
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
        evaluations = work(spec.sampler, getattr(spec.sampler, "batch_size", None) or n)
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


def budget(sampler: SamplerSpec, n: int) -> float:
    """Return the full-gradient evaluations that a run is meant to cost at most.

    It follows from the specification alone, so that the same run always has the same budget.

    Args:
        sampler: of the run.
        n: examples of its target.
    """
    return BUDGET * work(sampler, n)


def work(sampler: Any, n: int) -> float:
    """Return the forecast full-gradient evaluations of a sampler on `n` examples."""
    full, batches = evaluations(sampler)
    size = getattr(sampler, "batch_size", None)
    return full + batches * (1.0 if size is None else size / n)


def evaluations(sampler: Any) -> tuple[float, float]:
    """Return how many gradients a sampler will take of all examples, and how many of a batch."""
    chains, draws, batches = sampler.n_chains, sampler.n_draws, 0.0
    match sampler:
        case Nuts():
            steps = (draws * sampler.thin + sampler.n_warmup) * _TREE
        case Hmc():
            steps = (draws * sampler.thin + sampler.n_warmup) * sampler.n_leapfrog
        case Mala():
            steps = draws * sampler.thin + sampler.n_warmup
        case Mclmc():
            stages = 2 if sampler.integrator == "isokinetic_mclachlan" else 1
            steps = (draws * sampler.thin + sampler.n_tune) * stages
        case AdjustedMclmc():
            steps = (draws * sampler.thin + sampler.n_tune) * _TRAJECTORY
        case Sgld() | Sghmc() | Sgnht():
            steps, batches = 0.0, float(chains * draws * sampler.thin)
        case Vi():
            fits = float(chains * sampler.steps * sampler.n_samples)
            return _SPECTRUM + chains * draws / 3, fits
        case _:
            raise ValueError(f"no forecast for the sampler {type(sampler).__name__}")
    return _SPECTRUM + chains * (_PILOT + steps + draws * _RECORD), batches
