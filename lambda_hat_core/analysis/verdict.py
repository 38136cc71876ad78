"""The verdict on a run: the findings that make its mean suspect or failed.

It judges the sampler alone, whether its mean is the mean of the posterior. Whether w* is a minimum
is another question (`minimum`), and what a finite temperature does is a third (`temperature`). All
thresholds are defined here, those of fitted families in `family`; `checks` presents the same
findings as named checks, and `advice` has a way out of each.
"""

from collections.abc import Iterator

from lambda_hat_core.analysis.ending import in_burn_in, too_early
from lambda_hat_core.analysis.family import FAMILY_SHARE, KHAT_MAX, knows_family, misfits
from lambda_hat_core.analysis.finding import Cause, Finding
from lambda_hat_core.analysis.measure import Estimate, Verdict
from lambda_hat_core.analysis.tempering import shortcomings
from lambda_hat_core.analysis.words import plus_minus

R_HAT_MAX = 1.1
"""Chains that agree have R-hat near sqrt(1 + n_chains / ESS) (Vats & Knudson 2021,
arXiv:1812.09384): 1.04 for four chains with the fewest effective draws. The limit is that of Gelman
et al. 2013 (Bayesian Data Analysis, section 11.4)."""

ESS_MIN = 50.0
"""Fewest effective draws per run; the relative error of the standard error is then about 10 %."""

SE_SHARE = 0.5
"""Largest ratio of the error to the estimate. Draws of the LLC scatter by about sqrt(2 / d_eff) of
their mean, so with 50 effective draws a larger error means outliers, which no interval covers."""

DIVERGING_MAX = 0.05
"""Largest share of diverging steps. Up to it errors are as large as standard errors say, above 0.06
they are 1.6 times that (`bench/verdicts.py`)."""

DIVERGING_MAX_OF = {"mala": 0.03}
"""The same for samplers of another limit. A step of `mala` that diverges has no longer trajectory
to fall back on: with 0.03 to 0.05 of them errors were 1.9 standard errors."""

V_M_TOLERANCE = 0.1
"""On a small deep linear network the estimate was 5 % off at V_M = 0.86 and 105 % off at 1.74."""

STEP_BIAS_MAX = 0.25
"""Largest bias of the larger step size relative to the estimate. Beyond it the extrapolation to
step size 0 needs more than the first term of its series."""

HEATING_MAX = 0.15
"""Largest heating by batches that was foretold but not measured, relative to the estimate. On a
classifier about half of it was seen: 13 % of 24 %, and 15 % of 33 %, with V_M 1.05 and 1.02."""

LEDGER_MAX = 0.1
"""Largest predicted relative bias; the same bar applies to SGLD on targets with exact answers."""

ROUNDING_MAX = 0.2
"""Largest rounding error of one draw relative to the estimate. With 0.13 of it a regression in
float32 read 2.06 ± 0.09 for 2, with 1.3 it read 2.43 ± 0.12."""

V_M_SES = 2.0
"""Number of standard errors within which the distance of V_M from 1 may be noise."""


def judged(found: list[Finding]) -> Verdict:
    """Return the verdict that findings lead to.

    `failed` means that there is no estimate: a number is not finite, the run stopped early, or it
    has no draws. `suspect` means that there is an estimate, but a finding says why not to rely on
    it. Neither agreement with a known value nor whether w* is a minimum plays a role, so that a
    verdict means the same for all targets.
    """
    if not found:
        return "ok"
    return "failed" if any(finding.verdict == "failed" for finding in found) else "suspect"


def findings(estimate: Estimate) -> list[Finding]:
    """Return all problems of a run, with those that make it failed first."""
    found = list(_finite(estimate))
    if not found:
        found = [*_converged(estimate), *_certificate(estimate)]
    return sorted(found, key=lambda finding: finding.verdict != "failed")


def _finite(estimate: Estimate) -> Iterator[Finding]:
    if estimate.failure is not None:
        text = f"the run stopped early: {estimate.failure}"
        yield Finding("finite", "stopped early", "failed", None, None, text)
    elif estimate.n_draws == 0:
        yield Finding("finite", "no draws", "failed", 0.0, 1.0, "no draws were kept")
    elif estimate.llc is None:
        text = "a recorded scalar is not finite"
        yield Finding("finite", "not finite", "failed", None, None, text)


def _converged(estimate: Estimate) -> Iterator[Finding]:
    def suspect(cause: Cause, value: float | None, threshold: float | None, text: str) -> Finding:
        return Finding("converged", cause, "suspect", value, threshold, text)

    one = "restart" if estimate.iid else "chain"
    if estimate.n_stuck:
        count = f"{estimate.n_stuck} of {estimate.n_chains} {one}s"
        yield suspect(
            "stuck",
            float(estimate.n_stuck),
            0.0,
            f"{count} never moved: the loss of every draw is the same",
        )
    if estimate.n_chains < 2:
        text = f"there is only one {one}, so agreement cannot be checked"
        yield suspect("one chain", float(estimate.n_chains), 2.0, text)._replace(persists=True)
    elif not estimate.iid and estimate.r_hat is None and not estimate.n_stuck:
        text = f"R-hat needs at least 4 draws per chain, the run has {estimate.n_draws}"
        yield suspect("few draws", None, R_HAT_MAX, text)
    if estimate.r_hat is not None and estimate.r_hat > R_HAT_MAX:
        text = (
            f"the chains have not mixed: R-hat of {estimate.r_hat_of} is {estimate.r_hat:.3f}, "
            f"above {R_HAT_MAX}"
        )
        yield suspect("r_hat", estimate.r_hat, R_HAT_MAX, text)
    if estimate.ess_min is not None and estimate.ess_min < ESS_MIN:
        text = (
            f"too few effective draws: {estimate.ess_min:.0f} of {estimate.ess_min_of}, "
            f"fewer than {ESS_MIN:.0f}"
        )
        yield suspect("ess", estimate.ess_min, ESS_MIN, text)
    if estimate.llc is not None and (estimate.llc_se or 0.0) > SE_SHARE * abs(estimate.llc):
        text = f"the error is more than half of the estimate: {_llc(estimate)}"
        yield suspect("se", estimate.llc_se, SE_SHARE * abs(estimate.llc), text)
    diverged = (estimate.n_divergent or 0) / max(1, estimate.n_chains * estimate.n_draws)
    most = DIVERGING_MAX_OF.get(estimate.sampler_kind or "", DIVERGING_MAX)
    if diverged > most:
        text = (
            f"{estimate.n_divergent} steps diverged, {diverged:.2g} of them and more than "
            f"{most}: the step size is too large"
        )
        yield suspect("divergences", diverged, most, text)._replace(persists=True)
    if estimate.khat is not None and estimate.khat > KHAT_MAX:
        text = (
            f"the fitted family does not cover the posterior: k-hat is {estimate.khat:.2f}, "
            f"above {KHAT_MAX}"
        )
        yield suspect("k-hat", estimate.khat, KHAT_MAX, text)._replace(persists=misfits(estimate))
    for shortcoming in shortcomings(estimate.tempered, is_certified=_is_certified(estimate)):
        cause, value, threshold, text, persists = shortcoming
        yield Finding("converged", cause, "suspect", value, threshold, text, persists)
    yield from _precision(estimate)
    yield from _family(estimate)


def _precision(estimate: Estimate) -> Iterator[Finding]:
    """Yield a finding if a budget was spent before the burn-in or the precision was reached."""
    wanted, spent, budget = estimate.rel_se, estimate.spent, estimate.budget
    llc, se = abs(estimate.llc or 0.0), estimate.llc_se
    if wanted is None or spent is None or budget is None:
        return
    least, dropped = estimate.least_burn, estimate.n_burn
    if dropped < least:
        text = in_burn_in(least, dropped + estimate.n_draws, spent, budget)
        yield Finding("converged", "in burn-in", "suspect", float(dropped), float(least), text)
    elif se is not None and 0 < llc and se > wanted * llc:
        text = too_early(se / llc, wanted, spent, budget, estimate.overrun)
        yield Finding("converged", "precision", "suspect", se, wanted * llc, text)


def _family(estimate: Estimate) -> Iterator[Finding]:
    """Yield a finding if weighting the draws of a fitted family by p/q changes the estimate."""
    bias, llc = estimate.family_bias, estimate.llc
    if bias is None or llc is None:
        return
    limit = FAMILY_SHARE * abs(llc)
    if abs(bias) > limit:
        text = (
            f"the fitted family is biased: weighting its draws by p/q moves the estimate by "
            f"{plus_minus(-bias, estimate.family_bias_se)}, more than {limit:.3g}"
        )
        persists = knows_family(estimate)
        yield Finding("converged", "family", "suspect", bias, limit, text, persists)


def _is_certified(estimate: Estimate) -> bool:
    """Return whether the certificate is near 1 within an error that is small enough to tell."""
    value, se = estimate.v_m, estimate.v_m_se
    if value is None:
        value, se = estimate.v, estimate.v_se
    return value is not None and max(abs(value - 1), se or 0.0) <= V_M_TOLERANCE


def _certificate(estimate: Estimate) -> Iterator[Finding]:
    """Yield a finding if V_M is too far from 1.

    Its noise is no excuse: estimates 18 % and 19 % too high had 1.12 +- 0.06 and 1.02 +- 0.14, and
    more draws settle both. It is one for chains that are exchanged over nbeta, which show by
    that whether they mix. V is checked too if the Hessian has no positive eigenvalue, so that there
    is no V_M, and for a fitted family, which may be wrong in directions that V_M does not contain.
    """
    values = {"V_M": (estimate.v_m, estimate.v_m_se)}
    if estimate.v_m is None or estimate.iid:
        values["V"] = (estimate.v, estimate.v_se)
    for name, (value, se) in values.items():
        if value is None:
            continue
        off, error = abs(value - 1), se or 0.0
        exchanges = estimate.tempered is not None
        if off <= max(V_M_TOLERANCE, V_M_SES * error if exchanges else 0.0):
            if error > V_M_TOLERANCE and not (exchanges or estimate.iid):
                shown = plus_minus(value, error)
                text = f"{name} is {shown}, too noisy to see whether it is {V_M_TOLERANCE} from 1"
                yield Finding(
                    "certificate", "noisy certificate", "suspect", error, V_M_TOLERANCE, text
                )
            continue
        meaning = "not equilibrated" if value < 1 else "heated by the step size or by noise"
        if estimate.iid:
            meaning = "the fitted family is not the posterior"
        is_noise = off <= V_M_SES * error
        if is_noise:
            meaning = "perhaps noise, which more draws settle"
        text = (
            f"the virial certificate {name} is {plus_minus(value, error)}, more than "
            f"{V_M_TOLERANCE} from 1: {meaning}"
        )
        persists = estimate.iid and not is_noise
        yield Finding("certificate", "certificate", "suspect", value, V_M_TOLERANCE, text, persists)
    yield from _step_bias(estimate)
    yield from _heating(estimate)
    yield from _rounding(estimate)
    bias = estimate.ledger_error
    if bias is not None and abs(bias) > LEDGER_MAX:
        text = (
            f"the ledger predicts a bias of {bias:+.0%} from step size, minibatch and burn-in, "
            f"more than {LEDGER_MAX:.0%}"
        )
        yield Finding("certificate", "ledger", "suspect", bias, LEDGER_MAX, text)


def _step_bias(estimate: Estimate) -> Iterator[Finding]:
    """Yield a finding if the bias measured between two step sizes is too large to extrapolate."""
    bias, llc = estimate.step_bias, estimate.llc
    if bias is None or llc is None:
        return
    limit = STEP_BIAS_MAX * abs(llc)
    if abs(bias) > limit:
        text = (
            f"the step size is too large: its bias is {plus_minus(bias, estimate.step_bias_se)}, "
            f"more than {limit:.3g}"
        )
        yield Finding("certificate", "step bias", "suspect", bias, limit, text, persists=True)


def _heating(estimate: Estimate) -> Iterator[Finding]:
    """Yield a finding if batches may heat the draws by more than anything else would show."""
    bias, limit = estimate.heating, HEATING_MAX * abs(estimate.llc or 0.0)
    if bias is not None and bias > limit:
        text = (
            f"batches may heat the draws: by up to {bias:.3g} in directions that are stiff at "
            f"single points, more than {limit:.3g}, which no second step size measures"
        )
        yield Finding("certificate", "heating", "suspect", bias, limit, text, persists=True)


def _rounding(estimate: Estimate) -> Iterator[Finding]:
    """Yield a finding if single losses are too coarse at this nbeta for their differences."""
    error, limit = estimate.rounding, ROUNDING_MAX * abs(estimate.llc or 0.0)
    if error is not None and error > limit:
        text = (
            f"losses are too coarse at this nbeta: their rounding errors are {error:.2g} nats, "
            f"more than {limit:.2g}"
        )
        yield Finding("certificate", "rounding", "suspect", error, limit, text, persists=True)


def _llc(estimate: Estimate) -> str:
    return plus_minus(estimate.llc, estimate.llc_se)
