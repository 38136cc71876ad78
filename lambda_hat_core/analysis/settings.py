"""What a run really used: its sampler's fields, with what set-up found in place of `auto`."""

from typing import Any

from lambda_hat_core.config.spec import RunSpec
from lambda_hat_core.samplers.trace import Trace

_FOUND = ("step_size", "L", "batch_size")
"""Fields, or what would be fields if a sampler let them be chosen, that set-up decides."""


def settings(trace: Trace, run: RunSpec) -> dict[str, Any]:
    """Return sampler, fields, dtype, seed, nbeta and gamma, JSON-able.

    A `batch_size` of None is the full batch, and a `step_size` is in the unit of the sampler's
    field, for `nuts`, `hmc` and `adjusted_mclmc` in coordinates of unit width.
    """
    fields = run.sampler.model_dump(mode="json", exclude={"kind"})
    found = {name: trace.info[name] for name in _FOUND if name in trace.info}
    constants = {"nbeta": trace.nbeta, "gamma": trace.gamma}
    return {
        "sampler": run.sampler.kind,
        **(fields | found),
        "dtype": run.dtype,
        "seed": run.seed,
        **constants,
    }
