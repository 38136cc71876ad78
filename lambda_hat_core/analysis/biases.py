"""Three biases that look alike, as three numbers: finite temperature, step size, burn-in.

The exact expectation at a finite nbeta is lower than lambda by about (m - 1) / log nbeta; too large
a step makes the estimate too high, and too short a burn-in makes it too low. A step size chosen to
reproduce lambda does so because these biases cancel.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from lambda_hat_core.analysis.diagnostics import Series
from lambda_hat_core.analysis.profiles import TemperatureFit
from lambda_hat_core.config.samplers.known import SAMPLERS

EXACT = frozenset(name for name, model in SAMPLERS.items() if model.is_exact)
"""Samplers with a Metropolis test, which have no bias from the step size."""


class Bias(NamedTuple):
    """A bias of an estimate, its standard error if it has one, and how it was determined."""

    value: float
    se: float | None
    source: str


def temperature_bias(fit: TemperatureFit, nbeta: float) -> Bias | None:
    """Return -(m - 1) / (log nbeta + c) of a fit, with the error of lambda.

    It is None without a fit, and up to nbeta = e, where the fit says nothing.
    """
    bias = fit.bias(math.log(nbeta)) if nbeta > math.e else None
    return None if bias is None else Bias(bias, fit.llc_se, "fitted")


def step_bias(facts: Mapping[str, Any], exact: Mapping[str, Any] | None) -> Bias | None:
    """Return the bias from step size and minibatches, or None if it is unknown.

    Args:
        facts: the content of estimate.json of the run.
        exact: the same of an exact sampler's run at the same nbeta and gamma, if there is one.
    """
    if facts["sampler"] in EXACT:
        return Bias(0.0, None, "exact sampler")
    if exact is not None:
        errors = (facts["llc_se"], exact["llc_se"])
        error = None if None in errors else math.hypot(*errors)
        return Bias(facts["llc"] - exact["llc"], error, f"against {exact['sampler']}")
    if facts.get("step_bias") is not None:
        return Bias(0.0, None, "extrapolated")
    if facts.get("llc_uncorrected", facts["llc"]) != facts["llc"]:
        return Bias(0.0, None, "taken off as predicted")
    ledger = facts.get("ledger")
    if not ledger or not ledger["stable"]:
        return None
    parts = [ledger[name]["absolute"] for name in ("discretisation", "minibatch")]
    return None if None in parts else Bias(sum(parts), None, "predicted")


def burn_in_bias(llc: Series) -> Bias | None:
    """Return the mean of all draws minus that of the second half, with an error between chains."""
    n_chains, n_draws = llc.shape
    if n_chains < 2 or n_draws < 2:
        return None
    drift = llc.mean(axis=1) - llc[:, n_draws // 2 :].mean(axis=1)
    se = float(np.std(drift, ddof=1)) / math.sqrt(n_chains)
    return Bias(float(drift.mean()), se, "first half against second")
