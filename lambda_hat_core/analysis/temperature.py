"""What a finite temperature does: the exact value at this nbeta and gamma beside lambda itself.

A correct estimate is that of the posterior at its own nbeta and gamma. It differs from lambda, the
value at infinite nbeta without a localiser, by what no sampler is to blame for.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from lambda_hat_core.analysis.words import plus_minus
from lambda_hat_core.truth.exact import Exact

FINITE = "finite temperature: "
"""How the sentence begins."""

_FAR = 4.0
"""Standard errors from which the distance of an estimate from an exact value is told."""

_SAME = 1e-6
"""Relative difference of two nbeta, or two gamma, that rounding to float32 may cause."""


def finite_temperature(
    llc: float | None, se: float | None, known: float | None, exact: Exact
) -> str | None:
    """Return the sentence that stands beside a known lambda, or beside an exact value.

    Args:
        llc: the estimate.
        se: its standard error.
        known: lambda at this w*, if it is known.
        exact: the posterior's own value.
    """
    if exact.value is not None:
        told = plus_minus(exact.value, exact.se) if exact.se else f"{exact.value:.4g}"
        words = (
            f"{FINITE}the posterior's own value at this nbeta and gamma is {told} ({exact.word})"
        )
        error = math.hypot(se or 0.0, exact.se or 0.0)
        if llc is not None and error and abs(llc - exact.value) > _FAR * error:
            words += f", {abs(llc - exact.value) / error:.0f} se from the estimate"
        return words if known is None else f"{words}, lambda is {known:.4g}"
    if known is None:
        return None
    away = ""
    if llc is not None and se:
        away = f", {abs(llc - known) / se:.0f} se from the estimate"
    return (
        f"{FINITE}lambda = {known:.4g}{away}, is the value at infinite nbeta without a "
        f"localiser; the posterior's own value at this nbeta and gamma is not known "
        f"({exact.source}); a run of tempered, or one at a larger posterior.nbeta, tells"
    )


def from_profiles(
    runs: Iterable[Mapping[str, Any]],
    *,
    nbeta: float,
    gamma: float,
    loss: str | None,
    prior: float | None = None,
    restrict: str | None = None,
) -> Exact | None:
    """Return the value that a run of `tempered` on the same target found, or None.

    Between two of its replicas it is interpolated in log nbeta, and their larger error counts.

    Args:
        runs: contents of estimate.json of such runs, of which those with the verdict ok are used.
        nbeta: n beta of the value.
        gamma: its localiser.
        loss: its loss.
        prior: the precision of its prior.
        restrict: the parameters that are sampled, as `llc.restrict` has them; None: all.
    """
    for run in runs:
        if run.get("prior") != prior or run.get("restrict") != restrict:
            continue
        if run["verdict"] != "ok" or run["loss"] != loss or not _same(run["gamma"], gamma):
            continue
        replicas = [one for one in run["tempered"]["replicas"][::-1] if one["llc_se"]]
        at = np.array([one["nbeta"] for one in replicas])
        if not at[0] * (1 - _SAME) <= nbeta <= at[-1] * (1 + _SAME):
            continue
        llc, se = (np.array([one[name] for one in replicas]) for name in ("llc", "llc_se"))
        place = np.clip(np.searchsorted(at, nbeta), 1, len(at) - 1)
        value = float(np.interp(np.log(nbeta), np.log(at), llc))
        error = se[-1] if _same(at[-1], nbeta) else se[place - 1 : place + 1].max()
        return Exact(value, float(error), f"the profile of {run['run_id']}", "profile of tempered")
    return None


def _same(a: float, b: float) -> bool:
    return bool(abs(a - b) <= _SAME * max(abs(a), abs(b)))
