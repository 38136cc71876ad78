"""A variational run: build the chart, fit, draw, compute k-hat, and return a Trace.

Each restart counts as a chain of independent draws. The estimate is an expectation under q, so the
error of the family is a bias that the spread within a restart cannot show. It is revealed by k-hat,
the spread over restarts, the virial certificate and the importance-weighted estimate.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Key, PRNGKeyArray, PyTree

from lambda_hat_core.config.samplers.vi import Vi
from lambda_hat_core.linalg.spectrum import Spectrum
from lambda_hat_core.posterior import Posterior
from lambda_hat_core.samplers.drive import Checkpoint, Progress
from lambda_hat_core.samplers.monitor import Monitor
from lambda_hat_core.samplers.trace import Trace
from lambda_hat_core.vi import mfa
from lambda_hat_core.vi.chart import Chart
from lambda_hat_core.vi.control import controlled_means
from lambda_hat_core.vi.evaluate import DRAW_WORK, Evaluated, evaluate
from lambda_hat_core.vi.family import Family, split
from lambda_hat_core.vi.fit import FitOptions, Fitted, fit, learning_rates, minimum_of, step_work
from lambda_hat_core.vi.psis import smooth
from lambda_hat_core.vi.whitening import build_chart


def _build(key: PRNGKeyArray, spec: Vi, chart: Chart) -> Family:
    if spec.algo == "mfa":
        return mfa.build(key, spec, chart.origin)
    from lambda_hat_core.vi import flow

    return flow.build(key, spec, chart.flattest(spec.d_latent))


@eqx.filter_jit
def _initial(keys: Key[Array, " restart"], spec: Vi, chart: Chart) -> PyTree:
    """Return the initial parameters of all restarts, stacked."""
    return jax.vmap(lambda key: split(_build(key, spec, chart))[0])(keys)


def _fit(
    key: PRNGKeyArray,
    posterior: Posterior,
    chart: Chart,
    spec: Vi,
    loss0: float,
    checkpoint: Checkpoint,
    clock: Callable[[], float],
) -> tuple[Fitted, PyTree]:
    """Return the fitted parameters of all restarts, and the part that they have in common."""
    start_key, fit_key = jr.split(key)
    starts = jr.split(start_key, spec.n_chains)
    _, static = split(_build(starts[0], spec, chart))
    fitted = fit(
        jr.split(fit_key, spec.n_chains),
        _initial(starts, spec, chart),
        static,
        posterior,
        chart,
        minimum_of(posterior, loss0),
        learning_rates(spec, posterior.w0.dtype),
        FitOptions.of(spec),
        checkpoint=checkpoint,
        clock=clock,
    )
    return fitted, static


def _not_finite(history: dict[str, np.ndarray], drawn: Evaluated) -> str | None:
    for what, values, axis in (
        ("the ELBO", history["elbo"], "step"),
        ("the loss", drawn.loss, "draw"),
    ):
        bad = np.argwhere(~np.isfinite(values))
        if bad.size:
            restart, index = bad[0].tolist()
            return f"{what} is not finite at {axis} {index} of restart {restart}"
    return None


def sample_vi(
    key: PRNGKeyArray,
    posterior: Posterior,
    spec: Vi,
    *,
    spectrum: Spectrum,
    points: Float[Array, "point d"],
    monitor: Monitor,
    loss0: float,
    setup_work: dict[str, float],
    began: float,
    progress: Callable[[Progress], None],
    checkpoint: Checkpoint,
    clock: Callable[[], float],
) -> Trace:
    """Fit `n_chains` restarts and draw `n_draws` points from each.

    `spectrum` is that of the Hessian averaged over `points`.
    """
    chart_key, fit_key, draw_key = jr.split(key, 3)
    restarts, n_draws = spec.n_chains, spec.n_draws
    chart, chart_work = build_chart(chart_key, posterior, spectrum, points, spec)
    found, static = _fit(fit_key, posterior, chart, spec, loss0, checkpoint, clock)
    params, history = found.params, found.history
    began -= found.before
    fitted = clock() - began
    keys = jr.split(draw_key, restarts)
    drawn = evaluate(keys, params, static, posterior, chart, spectrum, monitor, n_draws)
    finished = clock() - began
    setup = {**setup_work, **chart_work, "gradient at w*": 1.0}
    per_step = restarts * step_work(posterior, FitOptions.of(spec))
    training, evaluation = spec.steps * per_step, restarts * n_draws * DRAW_WORK
    share = np.arange(1, n_draws + 1) / n_draws
    spent = sum(setup.values()) + per_step * np.arange(1, spec.steps + 1)
    trace = Trace(
        loss=drawn.loss,
        dist2=drawn.dist2,
        projections=drawn.projections,
        virial=drawn.virial,
        virial_m=drawn.virial_m if float(jnp.sum(monitor.weights)) > 0 else None,
        cumulative_fge=sum(setup.values()) + training + evaluation * share,
        seconds=fitted + (finished - fitted) * share,
        stats={},
        loss0=loss0,
        nbeta=float(posterior.nbeta),
        gamma=float(posterior.gamma),
        n=posterior.n,
        d=posterior.w0.size,
        work={**setup, "training": training, "evaluation": evaluation},
        seconds_total=finished,
        info={
            "sampler": spec.kind,
            "algo": spec.algo,
            "batch_size": spec.batch_size,
            "h_max": float(spectrum.h_max),
        },
        failure=_not_finite(history, drawn),
        iid=True,
        extras={**history, "cumulative_fge": np.tile(spent, (restarts, 1))},
    )
    if trace.failure is None:
        trace = _certified(trace, drawn, spec)
    rate, means = restarts * n_draws / max(finished, 1e-9), trace.llc.mean(axis=1)
    progress(
        Progress(
            n_draws,
            n_draws,
            rate,
            0.0,
            llc=float(means.mean()),
            llc_se=float(means.std(ddof=1)) / restarts**0.5 if restarts > 1 else np.nan,
            v_m=np.nan if trace.virial_m is None else float(trace.virial_m.mean()),
            work_fge=trace.work_fge,
        )
    )
    return trace._replace(seconds_total=clock() - began)


def _certified(trace: Trace, drawn: Evaluated, spec: Vi) -> Trace:
    """Add k-hat, the estimate with control variate and the importance-weighted estimate."""
    log_ratios = -trace.llc - 0.5 * trace.gamma * trace.dist2 - drawn.log_q
    weights, khat = smooth(log_ratios)
    extras = {
        **trace.extras,
        "khat": khat,
        "elbo_final": log_ratios.mean(axis=1),
        "llc_importance": np.sum(weights * trace.llc, axis=1),
    }
    if spec.hvp_control_variate:
        means, ses = controlled_means(drawn.loss, drawn.control, drawn.control_mean)
        extras["restart_loss"], extras["restart_loss_se"] = means, ses
    info = {
        **trace.info,
        "elbo": float(extras["elbo_final"].mean()),
        "llc_importance": float(extras["llc_importance"].mean()),
    }
    stats = {"log_ratio": log_ratios, "weight": weights}
    return trace._replace(extras=extras, stats=stats, info=info)
