"""The findings of a run as named checks with a severity, as they are shown to users.

The first four checks group the findings of the verdict. The other two, agreement with a known value
and with the work budget, are shown in addition and never affect the verdict.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from lambda_hat_core.analysis import verdict
from lambda_hat_core.analysis.family import KHAT_MAX
from lambda_hat_core.analysis.measure import Estimate
from lambda_hat_core.analysis.verdict import Finding, findings
from lambda_hat_core.analysis.words import plus_minus, short
from lambda_hat_core.config.samplers.base import BUDGET


class Check(NamedTuple):
    """One named check. The severity is `error` if its failure leaves no usable number.

    Attributes:
        name: one of `CHECK_NAMES`.
        passed: whether the check passed.
        severity: the severity of its failure.
        value: the measured value, None if there is none.
        threshold: the limit that the value is compared with.
        text: a sentence that explains the result.
    """

    name: str
    passed: bool
    severity: Literal["warn", "error"]
    value: float | None
    threshold: float | None
    text: str


CHECK_NAMES = (
    "finite",
    "converged",
    "certificate",
    "minimum",
    "interval_covers_known",
    "work_within_budget",
)
"""The names of all checks, in the order in which `checks` returns them."""


def checks(
    estimate: Estimate,
    meta: Mapping[str, Any] | None = None,
    *,
    llc_oracle: float | None = None,
    budget_fge: float | None = None,
) -> list[Check]:
    """Return all checks of a run, each of `CHECK_NAMES` once.

    Args:
        estimate: the run's estimate.
        meta: the target's meta.json.
        llc_oracle: the exact value at this run's nbeta and gamma, if it can be computed.
        budget_fge: the most full-gradient evaluations that the run should have cost.
    """
    found = findings(estimate, meta)
    return [
        _grouped("finite", found, (None, None), "every recorded scalar is finite"),
        _grouped("converged", found, _mixed(estimate), _mixed_text(estimate)),
        _grouped(
            "certificate",
            found,
            (estimate.v_m, verdict.V_M_TOLERANCE),
            _certificate_text(estimate),
        ),
        _grouped(
            "minimum",
            found,
            (estimate.llc_min, -verdict.OFF_CENTRE_MAX),
            _minimum_text(estimate, meta),
        ),
        _covers(estimate, meta or {}, llc_oracle),
        _budget(estimate, budget_fge),
    ]


def _grouped(
    name: str, found: list[Finding], good: tuple[float | None, float | None], text: str
) -> Check:
    """Return a check that fails with the findings of that name, or else passes with a text."""
    mine = [finding for finding in found if finding.check == name]
    if not mine:
        return Check(name, True, "warn", *good, text)
    severity = "error" if any(finding.verdict == "failed" for finding in mine) else "warn"
    texts = "; ".join(finding.text for finding in mine)
    return Check(name, False, severity, mine[0].value, mine[0].threshold, texts)


def _mixed(estimate: Estimate) -> tuple[float | None, float | None]:
    if estimate.iid:
        return estimate.khat, KHAT_MAX
    return estimate.r_hat, verdict.R_HAT_MAX


def _mixed_text(estimate: Estimate) -> str:
    if estimate.llc is None:
        return "no estimate to judge"
    if estimate.iid:
        khat = "not computed" if estimate.khat is None else f"{estimate.khat:.2f}"
        return f"independent draws; k-hat {khat}"
    return (
        f"R-hat at most {estimate.r_hat:.4f} ({estimate.r_hat_of}), "
        f"{estimate.ess_min:.0f} effective draws ({estimate.ess_min_of})"
    )


def _certificate_text(estimate: Estimate) -> str:
    if estimate.v_m is None:
        return "V_M was not computed"
    error = estimate.v_m_se or 0.0
    text = f"V_M = {plus_minus(estimate.v_m, error)}, required within {verdict.V_M_TOLERANCE} of 1"
    if error > verdict.V_M_TOLERANCE:
        return f"{text}: too noisy to see a deviation of {verdict.V_M_TOLERANCE}"
    return text


def _minimum_text(estimate: Estimate, meta: Mapping[str, Any] | None) -> str:
    audit = "w* was not audited" if meta is None else _audited(meta)
    if estimate.llc_min is None:
        return audit
    return f"{audit}; the lowest draw has nbeta (L_n - L_n(w*)) = {estimate.llc_min:.3g}"


def _audited(meta: Mapping[str, Any]) -> str:
    """Return what the audit says where it finds no fault: of a checkpoint, how far it is from one.

    A checkpoint is taken as it is, so that nothing is at fault with it.
    """
    if meta.get("step") is None or meta.get("is_minimum"):
        return "w* passed its audit"
    return f"w* is the checkpoint of step {meta['step']}: {'; '.join(meta['audit_reasons'])}"


def _covers(estimate: Estimate, meta: Mapping[str, Any], llc_oracle: float | None) -> Check:
    """Compare with the exact finite-temperature value, or else with lambda itself.

    The exact expectation is lower than lambda by about (m - 1) / log nbeta. Without an oracle the
    interval must therefore overlap that range, rather than contain lambda.
    """
    name, lo, hi = "interval_covers_known", estimate.llc_lo, estimate.llc_hi
    exact = meta.get("llc_known") if llc_oracle is None else llc_oracle
    if exact is None:
        text = f"no exact value is known: {meta.get('llc_known_reason') or 'none is attached'}"
        return Check(name, True, "warn", estimate.llc, None, text)
    exact = float(exact)
    low, what = exact, f"the exact value {exact:.4g} at this nbeta and gamma"
    if llc_oracle is None:
        term = ((meta.get("multiplicity") or 1) - 1) / math.log(max(estimate.nbeta, math.e))
        low, what = exact - term, f"lambda = {exact:.4g}" + (f" minus {term:.2g}" if term else "")
    if lo is None or hi is None:
        return Check(
            name, False, "warn", estimate.llc, exact, f"there is no interval to contain {what}"
        )
    passed = bool(lo <= exact and hi >= low)
    relation = "contains" if passed else "does not contain"
    text = f"the 90 % interval [{lo:.4g}, {hi:.4g}] {relation} {what}"
    return Check(name, passed, "warn", estimate.llc, exact, text)


def _budget(estimate: Estimate, budget_fge: float | None) -> Check:
    name, work = "work_within_budget", estimate.work_fge
    if budget_fge is None:
        text = f"{short(work)} full-gradient evaluations; no budget was set"
        return Check(name, True, "warn", work, None, text)
    passed = work <= budget_fge
    relation = "within" if passed else "over"
    rounded = float(f"{work:.3g}"), float(f"{budget_fge:.3g}")
    cost, most = map(short, rounded)
    forecasts = f" ({BUDGET} forecasts)" if estimate.rel_se is None else ""
    text = f"{cost} full-gradient evaluations, {relation} the budget of {most}{forecasts}"
    return Check(name, passed, "warn", work, budget_fge, text)
