"""All numbers of a run's estimate, before the verdict."""

import math
from typing import Literal, NamedTuple

import numpy as np

from lambda_hat_core.analysis.correction import predicted
from lambda_hat_core.analysis.diagnostics import Mean, number
from lambda_hat_core.analysis.ending import ending
from lambda_hat_core.analysis.evaluation import NO_NOISE, evaluation_noise
from lambda_hat_core.analysis.means import (
    alternates,
    is_complete,
    llc_at_step_zero,
    mean_llc,
    mean_of,
    restart_means,
)
from lambda_hat_core.analysis.mixing import NOT_MEASURED, mixing
from lambda_hat_core.analysis.tempering import Tempering, tempering
from lambda_hat_core.rounding import error_of_mean
from lambda_hat_core.samplers.trace import Trace

Verdict = Literal["ok", "suspect", "failed"]


class Estimate(NamedTuple):
    """The LLC of one run with its diagnostics, in plain Python values; None if not computable.

    A run with a non-finite number, or that stopped early, has no estimate: its numbers are None,
    and `failure` and `reasons` say why.

    Attributes:
        llc: mean of nbeta (L_n(w) - L_n(w*)) over all retained draws, less its predicted bias.
        llc_se: its standard error (`mcmc_mean`; for independent draws `iid_mean`).
        llc_lo: lower end of the central 90 % interval, which for a fitted family is extended to
            the value to which weighting its draws by p/q moves the estimate.
        llc_hi: upper end of that interval.
        ess_bulk: effective sample size of the loss over all chains; for independent draws, their
            number.
        ess_tail: the same for the 5 % and 95 % quantiles of the loss.
        ess_min: the smallest of those two and the bulk ESS of |w - w*|^2, which the verdict uses.
        ess_min_of: the name of the quantity with that ESS.
        r_hat: largest R-hat over the loss and |w - w*|^2, which the verdict uses.
        r_hat_of: the name of the quantity with that R-hat.
        r_hat_projections: largest R-hat over the projections, which the verdict does not use:
            chains may disagree in directions that hardly affect the loss.
        v: virial certificate, 1 at equilibrium.
        v_se: its standard error.
        v_m: virial certificate with M = nbeta H (nbeta H + gamma)^-1, which the verdict uses.
        v_m_se: its standard error.
        bfmi: lowest Bayesian fraction of missing information of a chain, if there is an energy.
        khat: largest Pareto k-hat over the restarts of a variational fit.
        family_bias: estimate of a fitted family minus the mean of its draws weighted by p/q.
        family_bias_se: its standard error, from the scatter over restarts.
        acceptance: mean acceptance rate.
        n_divergent: number of divergent kernel steps among the retained draws.
        n_stuck: number of chains whose loss never changed.
        llc_min: nbeta (min L_n - L_n(w*)), the value of the lowest draw.
        llc_rounding: largest error of one draw of the LLC from rounding and from batches.
        wnv: work-normalised variance llc_se^2 x work_fge; lower is better, and constant once
            converged.
        wnv_seconds: llc_se^2 x wall_s.
        efficiency: effective draws per full-gradient evaluation.
        work_fge: full-gradient evaluations of all chains, set-up included.
        wall_s: wall time in seconds.
        loss0: L_n(w*).
        nbeta: n beta.
        gamma: strength of the localiser.
        n: number of examples.
        d: number of parameters.
        n_chains: number of chains, or of restarts.
        n_draws: draws per chain after burn-in.
        iid: whether the draws are independent draws of a fitted family, not a Markov chain.
        failure: why the run stopped early.
        verdict: ok, suspect or failed, of the mean that the sampler found (`verdict.judged`).
        reasons: the reasons for the verdict, one sentence each.
        advice: what to set so that each of them does not occur again, one for each.
        notes: statements that do not affect the verdict: why w* is no minimum, and what the finite
            temperature does.
        ledger_error: bias that the ledger of a minibatch sampler predicts from step size, minibatch
            noise and burn-in together, relative to the llc that the pilot found.
        evaluation_share: the share of the variance of the llc draws that comes from measuring
            their losses on batches; None if they are measured on all examples.
        heating: most that batches may add to the llc where nothing makes up for it or measures it:
            of draws at one step size in a product basis. None for all others.
        step_bias: bias of the draws at the larger of two step sizes, which llc does not have.
        step_bias_se: its standard error.
        stopped_by: what ended the run: precision, budget, length or failure.
        rel_se: the standard error that was asked for, as a share of llc; None for a fixed length.
        spent: name of the budget that was spent before that: max_fge, max_draws or max_seconds.
        budget: its value.
        overrun: gradients of the run beyond its budget of them, which a warm-up may take.
        n_burn: draws per chain that were dropped.
        least_burn: draws per chain that a stop rule drops at least.
        tempered: what the replicas of a run over several nbeta tell; None if it has none.
        llc_uncorrected: the estimate with the bias that the ledger predicts (`ledger_error`).
        at_minimum: whether nothing shows that w* is no minimum; None if nobody has looked.
        descent: nbeta times the loss that a Newton step from w* predicts to lose.
        prior: precision of a prior about 0; None if there is none.
        sampler_kind: of the sampler, if the trace tells it.
        rounding: standard error of nbeta L_n at one point, from the rounding of the losses of rows.
    """

    llc: float | None
    llc_se: float | None
    llc_lo: float | None
    llc_hi: float | None
    ess_bulk: float | None
    ess_tail: float | None
    ess_min: float | None
    ess_min_of: str | None
    r_hat: float | None
    r_hat_of: str | None
    r_hat_projections: float | None
    v: float | None
    v_se: float | None
    v_m: float | None
    v_m_se: float | None
    bfmi: float | None
    khat: float | None
    family_bias: float | None
    family_bias_se: float | None
    acceptance: float | None
    n_divergent: int | None
    n_stuck: int
    llc_min: float | None
    llc_rounding: float | None
    wnv: float | None
    wnv_seconds: float | None
    efficiency: float | None
    work_fge: float
    wall_s: float
    loss0: float | None
    nbeta: float
    gamma: float
    n: int
    d: int
    n_chains: int
    n_draws: int
    iid: bool
    failure: str | None
    verdict: Verdict
    reasons: list[str]
    advice: list[str]
    notes: list[str]
    ledger_error: float | None = None
    evaluation_share: float | None = None
    heating: float | None = None
    step_bias: float | None = None
    step_bias_se: float | None = None
    stopped_by: str = "length"
    rel_se: float | None = None
    spent: str | None = None
    budget: float | None = None
    overrun: float = 0.0
    n_burn: int = 0
    least_burn: int = 0
    tempered: Tempering | None = None
    llc_uncorrected: float | None = None
    at_minimum: bool | None = None
    descent: float | None = None
    prior: float | None = None
    sampler_kind: str | None = None
    rounding: float | None = None


_UNKNOWN = Mean(math.nan, None, None)

_ROUNDING = 16 * float(np.finfo(np.float32).eps)
"""Relative rounding error of a mean loss, whose terms may be float32 but whose sum is float64."""


def measure(trace: Trace) -> Estimate:
    """Compute all numbers of an `Estimate`; its verdict is `suspect` until it is judged."""
    complete, llc, step = is_complete(trace), _UNKNOWN, None
    plain = _UNKNOWN
    if complete:
        llc = mean_llc(trace)
        step = llc_at_step_zero(trace) if alternates(trace) else None
        plain = llc if trace.iid else mean_of(trace, trace.llc) if step is None else step.mean
    mixed = mixing(trace) if complete else NOT_MEASURED
    bias = _family_bias(trace) if complete else _UNKNOWN
    noise = evaluation_noise(trace) if complete else NO_NOISE
    v, v_m = (
        mean_of(trace, series) if complete and series is not None else _UNKNOWN
        for series in (trace.virial, trace.virial_m)
    )
    lo, hi = _interval(llc, bias)
    n_chains, n_draws = trace.loss.shape
    work, wall = trace.work_fge, float(trace.seconds_total)
    variance = None if llc.se is None else llc.se**2
    diverging = trace.stats.get("diverging")
    return Estimate(
        llc=number(llc.mean),
        llc_se=number(llc.se),
        llc_lo=lo,
        llc_hi=hi,
        **mixed._asdict(),
        family_bias=number(bias.mean),
        family_bias_se=number(bias.se),
        v=number(v.mean),
        v_se=number(v.se),
        v_m=number(v_m.mean),
        v_m_se=number(v_m.se),
        acceptance=_mean_stat(trace, "acceptance_rate"),
        n_divergent=None if diverging is None else int(np.nansum(diverging)),
        llc_min=number(np.min(trace.llc)) if complete else None,
        llc_rounding=number(_ROUNDING * trace.nbeta * abs(trace.loss0) + noise.largest),
        wnv=None if variance is None else variance * work,
        wnv_seconds=None if variance is None else variance * wall,
        efficiency=mixed.ess_bulk / work if mixed.ess_bulk is not None and work > 0 else None,
        work_fge=work,
        wall_s=wall,
        loss0=number(trace.loss0),
        nbeta=float(trace.nbeta),
        gamma=float(trace.gamma),
        n=int(trace.n),
        d=int(trace.d),
        n_chains=n_chains,
        n_draws=n_draws,
        iid=trace.iid,
        failure=trace.failure,
        verdict="suspect",
        reasons=[],
        advice=[],
        notes=[],
        ledger_error=_relative(trace),
        evaluation_share=noise.share,
        heating=_heating(trace),
        step_bias=None if step is None else number(step.bias),
        step_bias_se=None if step is None else number(step.bias_se),
        **ending(trace),
        tempered=tempering(trace) if complete else None,
        llc_uncorrected=number(plain.mean),
        prior=trace.prior,
        sampler_kind=trace.info.get("sampler"),
        rounding=number(_rounding(trace)),
    )


def _rounding(trace: Trace) -> float:
    dtype = trace.info.get("loss_dtype", "float64")
    return trace.nbeta * error_of_mean(trace.loss0, trace.n, dtype)


def _heating(trace: Trace) -> float | None:
    info = trace.info
    is_blind = info.get("precond") == "kronecker" and "step_order" not in info
    return number(info.get("heating")) if is_blind else None


def _relative(trace: Trace) -> float | None:
    bias = predicted(trace)
    return None if bias is None else number(bias["relative"])


def _family_bias(trace: Trace) -> Mean:
    weighted = trace.extras.get("llc_importance")
    if weighted is None:
        return _UNKNOWN
    excess = restart_means(trace) - weighted
    se = float(excess.std(ddof=1)) / math.sqrt(excess.size) if excess.size > 1 else None
    return Mean(float(excess.mean()), se, None)


def _interval(llc: Mean, bias: Mean) -> tuple[float | None, float | None]:
    if llc.half_width is None:
        return None, None
    moved = -bias.mean if math.isfinite(bias.mean) else 0.0
    lo, hi = llc.mean - llc.half_width, llc.mean + llc.half_width
    return number(lo + min(moved, 0.0)), number(hi + max(moved, 0.0))


def _mean_stat(trace: Trace, name: str) -> float | None:
    values = trace.stats.get(name)
    return None if values is None or values.size == 0 else number(np.mean(values))
