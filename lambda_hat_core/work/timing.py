"""The forecast of a run's duration, from the number of gradients and the time of the loss."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from lambda_hat_core.posterior import Batch, Loss, Posterior, Scalar, Weights, mean_loss
from lambda_hat_core.programs import quickly
from lambda_hat_core.samplers.settling import settled
from lambda_hat_core.targets import audit

_LONG_ENOUGH = 0.03
"""Seconds that a measurement lasts, a hundred times the overhead of clock and call."""
_TRIES = 5
"""Tries of a short measurement."""
_LEAST = 3e-6
"""Least seconds of a loss inside a compiled loop, however small the problem is."""
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
        sampler: the settings of the sampler; what its target decides is decided first.
        audited: whether w* was audited before, so that this takes no time.
    """
    sampler = settled(sampler, posterior)
    full, batches = sampler.gradients(posterior.n)
    n = None if posterior.data is None else posterior.n
    if not audited:
        full += audit.work(posterior.w0.size, n, audit.ROWS)
    size = sampler.batch(posterior.n) if batches else None
    full += batches * (1.0 if size is None else size / posterior.n)
    loss = timed(posterior)
    return _PROGRAM * sampler.n_programs * loss.first + _GRADIENT * full * loss.each


def timed(posterior: Posterior) -> Timed:
    """Measure the time of the loss of all examples, less that of calling a compiled program.

    A sampler pays for the call once per chunk of draws, not once per gradient.
    """
    first = _seconds(mean_loss, posterior, 1)
    _seconds(_nothing, posterior, 1)
    each = max(_each(mean_loss, posterior) - _each(_nothing, posterior), _LEAST)
    return Timed(max(first - each, 0.0), each)


@quickly
def _nothing(loss: Loss, w: Weights, batch: Batch) -> Scalar:
    """Return one of the weights."""
    del loss, batch
    return w[0]


def _each(program: Callable[..., Any], posterior: Posterior) -> float:
    """Return the seconds of one call: of a short one the fewest in several tries.

    Other work of the machine makes single tries longer, and two of them are subtracted.
    """
    count = 1
    taken = _seconds(program, posterior, count)
    while taken < _LONG_ENOUGH / _TRIES:
        count *= 4
        taken = _seconds(program, posterior, count)
    if taken >= _LONG_ENOUGH:
        return taken / count
    return min(taken, *(_seconds(program, posterior, count) for _ in range(_TRIES))) / count


def _seconds(program: Callable[..., Any], posterior: Posterior, count: int) -> float:
    began = time.perf_counter()
    for _ in range(count):
        program(posterior.loss, posterior.w0, posterior.data).block_until_ready()
    return time.perf_counter() - began
