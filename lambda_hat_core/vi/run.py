"""A variational run: build the chart, fit, draw, compute k-hat, and return a Trace.

Each restart counts as a chain of independent draws. The estimate is an expectation under q, so the
error of the family is a bias that the spread within a restart cannot show. It is revealed by k-hat,
the spread over restarts, the virial certificate and the importance-weighted estimate.
"""

from collections.abc import Callable

import jax
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Key, PRNGKeyArray, PyTree

from lambda_hat_core.analysis.ending import ended
from lambda_hat_core.analysis.stopping import never, stop_rule
from lambda_hat_core.config.samplers.vi import Vi
from lambda_hat_core.linalg.spectrum import Spectrum
from lambda_hat_core.posterior import Posterior
from lambda_hat_core.programs import compiled
from lambda_hat_core.samplers.drive import Checkpoint, chunk_length
from lambda_hat_core.samplers.loop import run_draws
from lambda_hat_core.samplers.monitor import Monitor
from lambda_hat_core.samplers.observables import observed
from lambda_hat_core.samplers.progress import Progress
from lambda_hat_core.samplers.rule import Draws
from lambda_hat_core.samplers.trace import Trace
from lambda_hat_core.vi import mfa
from lambda_hat_core.vi.chart import Chart
from lambda_hat_core.vi.control import controlled_means
from lambda_hat_core.vi.evaluate import CHUNK, Drawn
from lambda_hat_core.vi.family import Family, split
from lambda_hat_core.vi.fit import FitOptions, Fitted, fit, learning_rates, minimum_of, step_work
from lambda_hat_core.vi.psis import smooth
from lambda_hat_core.vi.whitening import build_chart


def _build(key: PRNGKeyArray, spec: Vi, chart: Chart) -> Family:
    if spec.algo == "mfa":
        return mfa.build(key, spec, chart.origin)
    from lambda_hat_core.vi import flow

    return flow.build(key, spec, chart.flattest(spec.d_latent))


@compiled
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


def _elbo_is_not_finite(history: dict[str, np.ndarray]) -> str | None:
    bad = np.argwhere(~np.isfinite(history["elbo"]))
    if not bad.size:
        return None
    restart, step = bad[0].tolist()
    return f"the ELBO is not finite at step {step} of restart {restart}"


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
    is_late: Callable[[], bool] = never,
) -> Trace:
    """Fit `n_chains` restarts, and draw points from each: `n_draws`, or as many as `until` says.

    `spectrum` is that of the Hessian averaged over `points`. The fit always takes all of its steps;
    a rule looks at growing numbers of draws.
    """
    chart_key, fit_key, draw_key = jr.split(key, 3)
    chart, chart_work = build_chart(chart_key, posterior, spectrum, points, spec)
    found, static = _fit(fit_key, posterior, chart, spec, loss0, checkpoint, clock)
    began -= found.before
    keys = jr.split(draw_key, spec.n_chains)
    drawn = Drawn(keys, found.params, static, posterior, chart, spectrum, monitor)
    control_means = drawn.control_means()
    per_step = spec.n_chains * step_work(posterior, FitOptions.of(spec))
    setup = {**setup_work, **chart_work, "gradient at w*": 1.0}
    spent = sum(setup.values()) + per_step * np.arange(1, spec.steps + 1)
    setup["training"] = spec.steps * per_step
    before, nbeta = sum(setup.values()), float(posterior.nbeta)
    is_certified = bool(np.any(np.asarray(monitor.weights) > 0))
    failure = _elbo_is_not_finite(found.history)

    def trace(draws: Draws) -> Trace:
        values = dict(draws.values)
        log_q, control = values.pop("log_q"), values.pop("control")
        tether = values.pop("tether", None)
        virial_m = values.pop("virial_m")
        made = Trace(
            **values,
            virial_m=virial_m if is_certified else None,
            cumulative_fge=draws.cumulative_work,
            seconds=draws.seconds,
            stats={},
            loss0=loss0,
            nbeta=nbeta,
            gamma=float(posterior.localiser),
            n=posterior.n,
            d=posterior.w0.size,
            work={**setup, "evaluation": float(draws.cumulative_work[-1]) - before},
            seconds_total=clock() - began,
            info={
                "sampler": spec.kind,
                "loss_dtype": posterior.loss_dtype,
                "algo": spec.algo,
                "batch_size": spec.batch_size,
                "h_max": float(spectrum.h_max),
                **ended(draws, spec),
            },
            failure=failure or draws.failure,
            iid=True,
            observed=observed(draws.observed, monitor.observables),
            extras={**found.history, "cumulative_fge": np.tile(spent, (spec.n_chains, 1))},
            prior=posterior.prior_precision,
        )
        if made.failure is not None:
            return made
        if tether is None:
            tether = 0.5 * made.gamma * made.dist2
        return _certified(
            made,
            spec,
            log_p=-made.llc - tether,
            log_q=log_q,
            control=control,
            control_means=control_means,
        )

    rule = None
    if spec.until is not None:
        rule = stop_rule(spec.until, trace, chunk=CHUNK, shares=(0.0,), is_late=is_late)
    kept = checkpoint.beside("draws")
    _, parts, ends = kept.resume(())
    draws = run_draws(
        lambda states, indices: (states, drawn.draws(indices)),
        (),
        parts,
        ends,
        chunk=chunk_length(spec.n_draws) if rule is None else rule.chunk,
        n_draws=spec.n_draws,
        n_burn=0,
        llc_of=lambda loss: nbeta * (loss - loss0),
        is_certified=is_certified,
        setup_work=before,
        setup_seconds=clock() - began,
        progress=progress,
        save=kept.save,
        clock=clock,
        rule=rule,
        one="restart",
    )
    return trace(draws)


def _certified(
    trace: Trace,
    spec: Vi,
    *,
    log_p: Float[np.ndarray, "chain draw"],
    log_q: Float[np.ndarray, "chain draw"],
    control: Float[np.ndarray, "chain draw"],
    control_means: Float[np.ndarray, " chain"],
) -> Trace:
    """Add k-hat, the estimate with control variate and the importance-weighted estimate."""
    log_ratios = log_p - log_q
    weights, khat = smooth(log_ratios)
    extras = {
        **trace.extras,
        "khat": khat,
        "elbo_final": log_ratios.mean(axis=1),
        "llc_importance": np.sum(weights * trace.llc, axis=1),
    }
    if spec.hvp_control_variate:
        means, ses = controlled_means(trace.loss, control, control_means)
        extras["restart_loss"], extras["restart_loss_se"] = means, ses
    info = {
        **trace.info,
        "elbo": float(extras["elbo_final"].mean()),
        "llc_importance": float(extras["llc_importance"].mean()),
    }
    stats = {"log_ratio": log_ratios, "weight": weights}
    return trace._replace(extras=extras, stats=stats, info=info)
