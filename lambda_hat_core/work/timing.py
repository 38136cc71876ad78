"""The forecast of a run's duration, from the number of gradients and the time of the loss."""

import time
from typing import Any, NamedTuple

from lambda_hat_core.posterior import Posterior, loss_at_minimum
from lambda_hat_core.targets import audit

_LONG_ENOUGH = 0.03
"""Seconds that a measurement lasts, a hundred times the overhead of clock and call."""
_GRADIENT = 3.0
"""Time of a gradient in units of the loss."""
_PROGRAM = 8.0
"""Time to compile a program of a sampler in units of the loss."""


class Timed(NamedTuple):
    """Seconds of the first evaluation of the loss beyond a later one, and of the later one."""

    first: float
    each: float


def expected(posterior: Posterior, sampler: Any, *, audited: bool) -> float:
    """Return roughly how many seconds a run will take.

    The loss of all examples is evaluated for about a tenth of a second, but at least twice.

    Args:
        posterior: the posterior.
        sampler: the settings of the sampler.
        audited: whether w* was audited before, so that this takes no time.
    """
    full, batches = sampler.gradients(posterior.n)
    n = None if posterior.data is None else posterior.n
    if not audited:
        full += audit.work(posterior.w0.size, n, sampler.setup_rows)
    size = sampler.batch(posterior.n) if batches else None
    full += batches * (1.0 if size is None else size / posterior.n)
    loss = timed(posterior)
    return _PROGRAM * sampler.n_programs * loss.first + _GRADIENT * full * loss.each


def timed(posterior: Posterior) -> Timed:
    """Measure the time of the loss of all examples."""
    first, count = _seconds(posterior, 1), 1
    taken = _seconds(posterior, count)
    while taken < _LONG_ENOUGH:
        count *= 4
        taken = _seconds(posterior, count)
    return Timed(max(first - taken / count, 0.0), taken / count)


def _seconds(posterior: Posterior, count: int) -> float:
    began = time.perf_counter()
    for _ in range(count):
        loss_at_minimum(posterior)  # compiled for the run anyway
    return time.perf_counter() - began
