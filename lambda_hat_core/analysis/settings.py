"""The settings that a run actually used, with the values found in place of `auto`."""

from typing import Any

from lambda_hat_core.analysis.ending import ending
from lambda_hat_core.config.spec import RunSpec
from lambda_hat_core.samplers.trace import Trace

_FOUND = (
    "step_size", "target_acceptance", "L", "batch_size", "gradient", "n_draws", "n_burn"
)  # fmt: skip
"""Settings that the set-up or a rule determines, whether or not the sampler has such a field."""


def settings(trace: Trace, run: RunSpec) -> dict[str, Any]:
    """Return sampler, fields, dtype, seed, nbeta, gamma, prior and what ended the run, JSON-able.

    A `batch_size` of None means the full batch. A `step_size` has the unit of the sampler's field;
    for `nuts`, `hmc` and `adjusted_mclmc` it refers to coordinates of unit width.
    """
    fields = run.sampler.model_dump(mode="json", exclude={"kind"})
    named = {*_FOUND, *(name for name, value in fields.items() if value == "auto")}
    found = {name: value for name, value in trace.info.items() if name in named}
    constants: dict[str, Any] = {"nbeta": trace.nbeta, "gamma": trace.gamma}
    if trace.prior is not None:
        constants["prior"] = trace.prior
    if run.posterior.restrict is not None:
        constants["restrict"] = list(run.posterior.restrict)
    return {
        "sampler": run.sampler.kind,
        **(fields | found),
        "dtype": run.dtype,
        "seed": run.seed,
        **constants,
        "stopped_by": ending(trace)["stopped_by"],
    }
