"""One way out of every finding of a verdict: the keys to set, and their values."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, assert_never

from lambda_hat_core.analysis import verdict
from lambda_hat_core.analysis.finding import Finding
from lambda_hat_core.analysis.measure import Estimate
from lambda_hat_core.analysis.tempering import ROUND_TRIPS_MIN
from lambda_hat_core.analysis.ways_out import Settings, agreed, worded
from lambda_hat_core.config.samplers.base import AUTO_BATCH, Chains, Sampler
from lambda_hat_core.config.samplers.choice import chosen
from lambda_hat_core.config.samplers.exact import AdjustedMclmc, Exact, Hmc, Mala, Mclmc, Nuts
from lambda_hat_core.config.samplers.stochastic import Sghmc, Sgld, Sgnht
from lambda_hat_core.config.samplers.tempered import Tempered
from lambda_hat_core.config.samplers.vi import Vi

_MARGIN = 1.5
"""A run is made longer by this factor beyond what its shortfall needs, as that is itself noisy."""

_LONGEST = 100.0
"""Largest factor by which a run is advised to be longer."""

_HOPELESS = 25.0
"""Factor from which on chains count as separated, which replicas at higher temperatures mix."""

_HIGHEST = 0.99
"""Acceptance rate above which a smaller step is no way out."""

_Stochastic = Sgld | Sghmc | Sgnht


def advise(
    found: Sequence[Finding], estimate: Estimate, sampler: Sampler, info: Mapping[str, Any]
) -> list[str]:
    """Return what to set so that each of the findings does not occur again.

    The same keys have the same values, and another sampler has none of the settings of this one.

    Args:
        found: the findings.
        estimate: that of the run.
        sampler: the settings of the run.
        info: what its set-up found, a trace's `info`.
    """
    ways_out = [_way_out(finding, estimate, sampler, info) for finding in found]
    return [worded(settings) for settings in agreed(ways_out, _burn(sampler))]


def _way_out(
    found: Finding, estimate: Estimate, sampler: Sampler, info: Mapping[str, Any]
) -> Settings:
    value, limit = found.value or 0.0, found.threshold or 0.0
    match found.cause:
        case "stopped early" | "not finite":
            if isinstance(sampler, Mclmc) and "n_tune" in (estimate.failure or ""):
                return {"n_tune": 4 * sampler.n_tune}
            return smaller_steps(sampler, info, 0.25)
        case "stuck" | "divergences":
            return smaller_steps(sampler, info, 0.25)
        case "one chain":
            return {"n_chains": type(sampler).model_fields["n_chains"].default}
        case "no draws" | "few draws":
            return longer(estimate, sampler, info, 4.0)
        case "r_hat":
            return _mixed(estimate, sampler, info, (value**2 - 1) / (limit**2 - 1))
        case "ess":
            return _mixed(estimate, sampler, info, limit / max(value, 1.0))
        case "se" | "noisy certificate":
            return longer(estimate, sampler, info, (value / limit) ** 2 if limit > 0 else _LONGEST)
        case "k-hat" | "family":
            if found.persists:
                return _another(estimate)
            return longer(estimate, sampler, info, 2.0)
        case "exchange rate":
            return _replicas(estimate, sampler)
        case "round trips":
            return longer(estimate, sampler, info, ROUND_TRIPS_MIN / max(value, 1.0))
        case "in burn-in":
            made = estimate.n_burn + estimate.n_draws
            return _budget(estimate, max(2 * estimate.least_burn / made, 1.0))
        case "precision":
            return _budget(estimate, _MARGIN * (value / limit) ** 2)
        case "certificate":
            return _certified(found, estimate, sampler, info)
        case "ledger":
            return _ledger(estimate, sampler, info)
        case "step bias":
            order = int(info.get("step_order", 1))
            share = limit / abs(value) if value else 0.5
            return smaller_steps(sampler, info, 0.5 * share ** (1 / order))
        case "heating":
            return {"extrapolate": True}
        case "rounding":
            if info.get("loss_dtype") == "float64":
                return {"posterior.nbeta": 0.5 * estimate.nbeta * max(limit / value, 0.01)}
            return {"dtype": "float64"}
        case _:
            assert_never(found.cause)


def smaller_steps(sampler: Sampler, info: Mapping[str, Any], times: float) -> Settings:
    """Return how to make the steps of a sampler `times` as long, or so that fewer are refused."""
    match sampler:
        case Mala() | Mclmc() if sampler.step_size != "auto":
            return {"step_size": times * sampler.step_size}
        case Mclmc():
            return {"desired_energy_var": times**2 * sampler.desired_energy_var}
        case Nuts() | Hmc() | Mala() | AdjustedMclmc() | Tempered():
            higher = 1 - times * (1 - sampler.target_acceptance)
            if higher <= _HIGHEST:
                return {"target_acceptance": higher}
            return {"kernel": "nuts"} if isinstance(sampler, Tempered) else {"name": "tempered"}
        case Sgld() | Sghmc() | Sgnht():
            if sampler.step_size != "auto":
                found = (info.get("ledger") or {}).get("recommended", {}).get("step_size", math.inf)
                return {"step_size": min(times * sampler.step_size, found)}
            return {"step_fraction": times * info.get("step_fraction", sampler.fraction)}
        case Vi():
            return {"lr": times * sampler.lr}
        case _:
            raise TypeError(f"{type(sampler).__name__} has no step size")


def longer(estimate: Estimate, sampler: Sampler, info: Mapping[str, Any], times: float) -> Settings:
    """Return how to make a run `times` as long, with a margin."""
    times = min(max(_MARGIN * times, _MARGIN), _LONGEST)
    if estimate.spent is not None:
        return _budget(estimate, times)
    if sampler.until is not None:
        return {"until.rel_se": sampler.until.rel_se / math.sqrt(times)}
    n_draws, n_burn = int(info.get("n_draws", sampler.n_draws)), _burn(sampler)
    return {"n_draws": n_burn + math.ceil(_rounded(times * (n_draws - n_burn)))}


def _burn(sampler: Sampler) -> int:
    """Return the draws that a run of fixed length drops."""
    return sampler.n_burn if isinstance(sampler, Chains) else 0


def _mixed(estimate: Estimate, sampler: Sampler, info: Mapping[str, Any], times: float) -> Settings:
    """Return how to mix chains, given by which factor the run is too short."""
    apart = times > _HOPELESS and isinstance(sampler, Exact) and not isinstance(sampler, Tempered)
    return {"name": "tempered"} if apart else longer(estimate, sampler, info, times)


def _budget(estimate: Estimate, times: float) -> Settings:
    """Return the budget that was spent, enlarged."""
    spent, budget = estimate.spent, estimate.budget
    assert spent is not None and budget is not None
    key = spent if spent == "max_seconds" else f"until.{spent}"
    value = _rounded(min(max(times, 1.1), _LONGEST) * (budget + estimate.overrun))
    return {key: math.ceil(value) if spent == "max_draws" else value}


def _another(estimate: Estimate) -> Settings:
    """Return a sampler in place of a family that does not fit."""
    return {"name": chosen(estimate.n, estimate.d).kind}


def _replicas(estimate: Estimate, sampler: Sampler) -> Settings:
    assert isinstance(sampler, Tempered) and estimate.tempered is not None
    if sampler.ladder is not None:
        return {"ladder": None}
    if sampler.n_replicas != "auto":
        return {"n_replicas": "auto"}
    return {"n_replicas": 2 * len(estimate.tempered.replicas)}


def _certified(
    found: Finding, estimate: Estimate, sampler: Sampler, info: Mapping[str, Any]
) -> Settings:
    """Return the way out of a virial certificate that is not 1."""
    value = found.value or 1.0
    if isinstance(sampler, Vi):
        return _another(estimate) if found.persists else longer(estimate, sampler, info, 2.0)
    se = estimate.v_m_se if value == estimate.v_m else estimate.v_se
    off = abs(value - 1)
    if off <= verdict.V_M_SES * (se or 0.0):
        return longer(estimate, sampler, info, (2 * (se or 0.0) / verdict.V_M_TOLERANCE) ** 2)
    if value > 1 and isinstance(sampler, _Stochastic | Mclmc):
        batch = info.get("batch_size")
        if batch is not None and info.get("step_limited_by") == "minibatch noise":
            return {"batch_size": min(4 * batch, estimate.n)}
        return smaller_steps(sampler, info, max(0.1, 0.5 * verdict.V_M_TOLERANCE / off))
    return _later(estimate, sampler, info, 4.0)


def _later(estimate: Estimate, sampler: Sampler, info: Mapping[str, Any], times: float) -> Settings:
    """Return how to drop more draws: a stop rule drops a share, so its run has to be longer."""
    if sampler.until is not None or not isinstance(sampler, Chains):
        return longer(estimate, sampler, info, times)
    kept = int(info.get("n_draws", sampler.n_draws)) - sampler.n_burn
    n_burn = math.ceil(_rounded(times * max(sampler.n_burn, kept // 4, 1)))
    return {"n_burn": n_burn, "n_draws": n_burn + kept}


def _ledger(estimate: Estimate, sampler: Sampler, info: Mapping[str, Any]) -> Settings:
    """Return the way out of the bias that was predicted to be the largest."""
    assert isinstance(sampler, _Stochastic)
    ledger = info["ledger"]
    better = ledger["recommended"]
    parts = {name: ledger[name]["relative"] for name in ("discretisation", "minibatch", "burn_in")}
    if sampler.extrapolates:
        parts = {"burn_in": parts["burn_in"]}
    largest = max(parts, key=lambda name: abs(parts[name]))
    if largest == "burn_in":
        if sampler.until is not None:
            return longer(estimate, sampler, info, 4.0)
        n_draws, n_burn = sampler.lengths
        if better["n_burn"] <= n_burn:
            return {"step_size": better["step_size"]}
        burn = math.ceil(_rounded(better["n_burn"]))
        return {"n_burn": burn, "n_draws": burn + n_draws - n_burn}
    times = 0.5 * verdict.LEDGER_MAX / abs(parts[largest])
    batch = info.get("batch_size") or AUTO_BATCH
    if largest == "minibatch" and sampler.step_size != "auto":
        return {"batch_size": math.ceil(batch / times)}
    return smaller_steps(sampler, info, times)


def _rounded(value: float | int) -> float:
    """Round up to two digits."""
    if value <= 0:
        return value
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return math.ceil(value / unit - 1e-9) * unit
