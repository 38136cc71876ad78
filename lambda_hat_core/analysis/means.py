"""Means of a run's series with their errors: of Markov chains, at two step sizes, and of fits."""

import math

import numpy as np
from jaxtyping import Float

from lambda_hat_core.analysis.correction import corrected
from lambda_hat_core.analysis.diagnostics import (
    Mean,
    Series,
    iid_mean,
    mcmc_mean,
    restart_mean,
)
from lambda_hat_core.analysis.extrapolation import Extrapolated, extrapolated
from lambda_hat_core.samplers.trace import Trace

SHOWN = 0.25
"""Standard deviation of the bias at the larger step, relative to the mean, in a run that was made
again because of its step: the bias that makes a run suspect. On deep linear networks it was 0.12,
and the prior of an ordinary run took half of that for noise."""


def is_complete(trace: Trace) -> bool:
    """Return whether the run did not stop early, and there are draws, all of them finite."""
    series = (trace.loss, trace.dist2, trace.projections, trace.virial, trace.virial_m)
    return (
        trace.failure is None
        and trace.loss.size > 0
        and math.isfinite(trace.loss0)
        and all(np.isfinite(values).all() for values in series if values is not None)
    )


def alternates(trace: Trace) -> bool:
    """Return whether draws were made at two step sizes, to extrapolate over them."""
    return "step_order" in trace.info


def mean_of(trace: Trace, series: Series) -> Mean:
    """Return the mean of a series of scalars of the draws, at step size 0 of a run with two."""
    if trace.iid:
        return iid_mean(series)
    return _at_step_zero(trace, series).mean if alternates(trace) else mcmc_mean(series)


def mean_llc(trace: Trace, n_draws: int | None = None) -> Mean:
    """Return the mean LLC, with its error, of the first `n_draws` draws of every chain.

    What the ledger predicts of its bias is taken off.

    The trace of a variational fit may have `extras["restart_loss"]` and
    `extras["restart_loss_se"]`, the mean loss of each restart and its error from a control variate.
    For the whole run they replace the plain mean of the draws.
    """
    if n_draws is None and trace.iid and "restart_loss" in trace.extras:
        return restart_mean(restart_means(trace), trace.nbeta * trace.extras["restart_loss_se"])
    if alternates(trace):
        return corrected(llc_at_step_zero(trace, n_draws).mean, trace)
    return corrected(mean_of(trace, trace.llc[:, :n_draws]), trace)


def llc_at_step_zero(trace: Trace, n_draws: int | None = None) -> Extrapolated:
    """Return the LLC at step size 0 of a run with two, from the first `n_draws` of every chain.

    Its bias may be as large as the heating that was predicted, or seen where the chains ended, and
    in a run that was made again because of its step, as a quarter of the mean.
    """
    llc = trace.llc[:, :n_draws]
    known = max(trace.info.get("heating", 0.0), abs(trace.info.get("heated") or 0.0))
    if any(one["cause"] != "heated" for one in trace.info.get("attempts", ())):
        known = max(known, SHOWN * abs(float(llc.mean())))
    return _at_step_zero(trace, llc, known=known)


def _at_step_zero(trace: Trace, series: Series, *, known: float = 0.0) -> Extrapolated:
    """Return the mean at step size 0 of a series, `known` being the size of the predicted bias."""
    sizes = trace.stats["step_size"][0]
    fine = sizes[: series.shape[1]] < 0.75 * sizes.max()
    return extrapolated(series, fine, trace.info["step_order"], known=known)


def is_precise(trace: Trace, rel_se: float) -> bool:
    """Return whether the standard error of the llc is at most this share of its magnitude.

    At a checkpoint of a training the llc may be negative, and is as precise as any. At nbeta 0 it
    is that of the rise of the loss.
    """
    if not is_complete(trace):
        return False
    llc = mean_llc(trace) if trace.nbeta else mean_of(trace, trace.loss - trace.loss0)
    return llc.se is not None and llc.se <= rel_se * abs(llc.mean)


def restart_means(trace: Trace) -> Float[np.ndarray, " chain"]:
    """Return the mean LLC of each restart, from its control variate if there is one."""
    if "restart_loss" in trace.extras:
        return trace.nbeta * (trace.extras["restart_loss"] - trace.loss0)
    return trace.llc.mean(axis=1)
