"""The progress reports of a stored run, so that reused runs are judged like new ones."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from lambda_hat_core.analysis.traceio import load_trace
from lambda_hat_core.config.spec import RunSpec
from lambda_hat_core.samplers.trace import Trace
from lambda_hat_core.store.store import Store


def events(trace: Trace, sampler: Any) -> Iterator[dict[str, Any]]:
    """Yield the progress of a chain sampler after each chunk, without the burn-in.

    A variational fit yields nothing, because it reports only at its end.
    """
    if trace.iid:
        return
    from lambda_hat_core.samplers.drive import chunk_length

    total, n_burn = sampler.n_draws, sampler.n_burn
    first = n_burn if trace.failure is None else 0
    length = chunk_length(total)
    for done in range(length, total, length):
        if n_burn < done <= first + trace.loss.shape[1]:
            kept = slice(n_burn - first, done - first)
            means = trace.llc[:, kept].mean(axis=1)
            n_chains = len(means)
            virial_m = trace.virial_m
            yield {
                "done": done,
                "total": total,
                "llc": float(means.mean()),
                "llc_se": float(means.std(ddof=1)) / n_chains**0.5 if n_chains > 1 else None,
                "v_m": None if virial_m is None else float(np.mean(virial_m[:, kept])),
                "work_fge": float(trace.cumulative_fge[done - first - 1]),
            }


def replay(
    store: Store, spec: RunSpec, steer: Callable[[dict[str, Any]], str | None]
) -> tuple[str, float] | None:
    """Pass a stored run's progress to `steer`; return its reason to stop and the work so far."""
    trace = load_trace(store.path("runs", spec.id) / "trace.nc")
    for event in events(trace, spec.sampler):
        reason = steer(event)
        if reason is not None:
            return reason, event["work_fge"]
    return None
