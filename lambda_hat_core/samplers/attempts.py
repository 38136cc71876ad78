"""A run of a minibatch sampler whose chains leave every bound is made again with smaller steps.

The step comes from the curvature that the pilot met. Where the curvature has no bound, as along the
arms of a crossing, a chain sooner or later comes to where that step is unstable. How far out that
is grows as the step shrinks, and the localiser makes the way there exponentially rarer. So a run
whose loss is no longer finite begins again where the pilot had arrived, with steps from a quarter
of the stiffness. Nothing of it changes a run that does not leave.
"""

from collections.abc import Callable, Mapping
from typing import Any

from lambda_hat_core.config.samplers.known import ChainSpec
from lambda_hat_core.config.samplers.stochastic import Sghmc, Sgld, Sgnht
from lambda_hat_core.samplers.trace import Trace

MOST = 5
"""Attempts before a run counts as failed; the last one's step is 1 / 256 of the first one's for
`sgld`, and 1 / 16 for `sghmc` and `sgnht`."""

SMALLER = 0.25
"""step_fraction of an attempt, relative to what limited the step of the one before."""


def calmer(spec: ChainSpec, info: Mapping[str, Any]) -> ChainSpec | None:
    """Return the settings with which a run whose chains left is made again.

    None if its step size is the user's own, or adapts by itself.

    Args:
        spec: the settings of the run.
        info: what its set-up found.
    """
    if not isinstance(spec, Sgld | Sghmc | Sgnht) or spec.step_size != "auto":
        return None
    fraction = spec.step_fraction
    if info["step_limited_by"] != "curvature":
        power = 1 if isinstance(spec, Sgld) else 2
        fraction = min(fraction, info["step_size"] ** power * info["mu_max"])
    return spec.model_copy(update={"step_fraction": SMALLER * fraction})


def until_they_stay(
    attempt: Callable[[ChainSpec, dict[str, float], list[dict[str, Any]]], Trace],
    spec: ChainSpec,
    setup: dict[str, float],
    log: Callable[[str], None],
) -> Trace:
    """Return the trace of the first attempt whose chains stay, or of the last one.

    Args:
        attempt: makes a run with given settings, after given work, and after given attempts.
        spec: the settings of the first attempt.
        setup: work before the first attempt, by purpose.
        log: is told why there is another attempt.
    """
    left: list[dict[str, Any]] = []
    lost = 0.0
    while True:
        trace = attempt(spec, setup | ({"left": lost} if left else {}), list(left))
        again = calmer(spec, trace.info) if trace.info["stopped_by"] == "failure" else None
        if again is None:
            return trace
        left.append({"step_size": trace.info["step_size"], "failure": trace.failure})
        if len(left) == MOST:
            why = f"{trace.failure}, and in {MOST - 1} attempts with larger steps before"
            return trace._replace(failure=why)
        log(f"{told(left[-1:])}: again with smaller steps")
        spec, lost = again, trace.work_fge - sum(setup.values())


def told(left: list[dict[str, Any]]) -> str:
    """Return a sentence about the attempts whose chains left, as `info["left"]` has them."""
    steps = "; ".join(f"at step size {one['step_size']:.3g} {one['failure']}" for one in left)
    return f"chains left every bound: {steps}"
