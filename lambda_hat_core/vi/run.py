"""A variational run: chart, fit, draws, k-hat -> Trace.

A restart is a chain of independent draws. The estimate is E_q, so the family's error is a bias
that no spread within a restart shows: k-hat, the spread over restarts, the virial certificate
and the importance-weighted estimate are what reveals it.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import PRNGKeyArray, PyTree

from lambda_hat_core.config.samplers import Vi
from lambda_hat_core.linalg.spectrum import Spectrum
from lambda_hat_core.posterior import Posterior
from lambda_hat_core.samplers.drive import Monitor, Progress
from lambda_hat_core.trace import Trace
from lambda_hat_core.vi import mfa
from lambda_hat_core.vi.chart import Chart
from lambda_hat_core.vi.control import controlled_mean
from lambda_hat_core.vi.evaluate import DRAW_WORK, Evaluated, evaluate
from lambda_hat_core.vi.family import Family, split
from lambda_hat_core.vi.fit import FitOptions, Step, fit, learning_rates, minimum_of, step_work
from lambda_hat_core.vi.psis import smooth
from lambda_hat_core.vi.whitening import build_chart


def _build(key: PRNGKeyArray, spec: Vi, chart: Chart) -> Family:
    if spec.algo == "mfa":
        return mfa.build(key, spec, chart.origin)
    from lambda_hat_core.vi import flow

    return flow.build(key, spec, chart.flattest(spec.d_latent))


@eqx.filter_jit
def _initial(keys: PRNGKeyArray, spec: Vi, chart: Chart) -> PyTree:
    """Return every restart's parameters, stacked."""
    return jax.vmap(lambda key: split(_build(key, spec, chart))[0])(keys)


def _not_finite(history: Step, drawn: Evaluated) -> str | None:
    steps = ~np.isfinite(history.elbo)
    if steps.any():
        restart, step = np.argwhere(steps)[0].tolist()
        return f"the ELBO is not finite at step {step} of restart {restart}"
    draws = ~np.isfinite(drawn.loss)
    if draws.any():
        restart, draw = np.argwhere(draws)[0].tolist()
        return f"the loss is not finite at draw {draw} of restart {restart}"
    return None


def sample_vi(
    key: PRNGKeyArray,
    posterior: Posterior,
    spec: Vi,
    *,
    spectrum: Spectrum,
    monitor: Monitor,
    loss0: float,
    setup_work: dict[str, float],
    began: float,
    progress: Callable[[Progress], None],
    clock: Callable[[], float],
) -> Trace:
    """Fit `n_chains` restarts and draw `n_draws` points from each.

    Raises:
        ValueError: if the minibatch is larger than the data set.
    """
    if posterior.data is not None and spec.batch_size and spec.batch_size > posterior.n:
        raise ValueError(
            f"vi.batch_size is {spec.batch_size}, but the target has n = {posterior.n}; "
            "choose batch_size <= n, or null for the full batch"
        )
    chart_key, start_key, fit_key, draw_key = jr.split(key, 4)
    chart, chart_work = build_chart(chart_key, posterior, spectrum, spec)
    options = FitOptions(spec.n_samples, spec.batch_size, spec.clip_global_norm)
    restarts = spec.n_chains
    dtype = posterior.w0.dtype
    starts = jr.split(start_key, restarts)
    _, static = split(_build(starts[0], spec, chart))
    params = _initial(starts, spec, chart)
    params, history = fit(
        jr.split(fit_key, restarts),
        params,
        static,
        posterior,
        chart,
        minimum_of(posterior, loss0),
        learning_rates(spec, dtype),
        options,
    )
    history = Step(*(np.asarray(series, np.float64) for series in jax.device_get(history)))
    fitted = clock() - began
    keys = jr.split(draw_key, restarts)
    drawn = evaluate(keys, params, static, posterior, chart, monitor, spec.n_draws)
    finished = clock() - began
    setup = {**setup_work, **chart_work, "gradient at w*": 1.0}
    per_step = restarts * step_work(posterior, options)
    work = {
        **setup,
        "training": spec.steps * per_step,
        "evaluation": restarts * spec.n_draws * DRAW_WORK,
    }
    spent = sum(work.values()) - work["evaluation"]
    share = np.arange(1, spec.n_draws + 1) / spec.n_draws
    fge = sum(setup.values()) + per_step * np.arange(1, spec.steps + 1)
    nbeta, gamma = float(posterior.nbeta), float(posterior.gamma)
    trace = Trace(
        loss=drawn.loss,
        dist2=drawn.dist2,
        projections=drawn.projections,
        virial=drawn.virial,
        virial_m=drawn.virial_m if float(jnp.sum(monitor.weights)) > 0 else None,
        cumulative_fge=spent + work["evaluation"] * share,
        seconds=fitted + (finished - fitted) * share,
        stats={},
        loss0=loss0,
        nbeta=nbeta,
        gamma=gamma,
        n=posterior.n,
        d=posterior.w0.size,
        work=work,
        seconds_total=clock() - began,
        info={"sampler": spec.kind, "algo": spec.algo, "h_max": float(spectrum.h_max)},
        failure=_not_finite(history, drawn),
        iid=True,
        extras={
            **history._asdict(),
            "cumulative_fge": np.broadcast_to(fge, (restarts, spec.steps)).copy(),
        },
    )
    if trace.failure is None:
        trace = _certified(trace, drawn, spec)
    rate = spec.n_draws / max(finished, 1e-9)
    progress(Progress(spec.n_draws, spec.n_draws, restarts * rate, 0.0, float(trace.llc.mean())))
    return trace._replace(seconds_total=clock() - began)


def _certified(trace: Trace, drawn: Evaluated, spec: Vi) -> Trace:
    """Add k-hat, the control variate's estimate and the importance-weighted one."""
    log_ratios = -trace.llc - 0.5 * trace.gamma * trace.dist2 - drawn.log_q
    weights, khat = smooth(log_ratios)
    extras = {
        **trace.extras,
        "khat": khat,
        "elbo_final": log_ratios.mean(axis=1),
        "llc_importance": np.sum(weights * trace.llc, axis=1),
    }
    if spec.hvp_control_variate:
        pairs = [
            controlled_mean(loss, control / trace.nbeta, mean / trace.nbeta)
            for loss, control, mean in zip(
                drawn.loss, drawn.control, drawn.control_mean, strict=True
            )
        ]
        extras["restart_loss"] = np.array([mean for mean, _ in pairs])
        extras["restart_loss_se"] = np.array([se for _, se in pairs])
    stats = {"log_ratio": log_ratios, "weight": weights}
    return trace._replace(extras=extras, stats=stats)
