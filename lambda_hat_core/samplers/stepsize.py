"""Set-up of every minibatch sampler: measure the modes, choose a step size, compute the ledger.

A sampler states its rule by two numbers: the power p for which eps^p has the unit of 1 / mu, and
`heat`, the relative inflation of the variance of a direction by minibatch noise, per eps^p and per
unit of noise. eps^p is then the smaller of
    step_fraction / (lag x mu_max)   (curvature; the lag is 1 unless the sampler uses old gradients)
    budget / (heat x mean noise of the directions that make the llc)   (minibatch noise),
where the budget is larger if less noise is injected to make up for a batch's.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from lambda_hat_core.config.samplers.stochastic import Sghmc, Sgld, Sgnht
from lambda_hat_core.counters import split
from lambda_hat_core.linalg.spectrum import Spectrum
from lambda_hat_core.samplers import product_metric
from lambda_hat_core.samplers.batches import batch_for, default_batch, heating
from lambda_hat_core.samplers.coordinates import Coordinates
from lambda_hat_core.samplers.gradients import GradientEstimate, control_variate
from lambda_hat_core.samplers.ledger import (
    WARN_AT,
    Dynamics,
    account,
    burn_in_needed,
    is_stable,
)
from lambda_hat_core.samplers.modes import PROBE, Felt, Modes, measure, whitened
from lambda_hat_core.samplers.peaks import peak_curvature
from lambda_hat_core.samplers.product_metric import Metric
from lambda_hat_core.samplers.subset import Subset
from lambda_hat_core.types import Weights

NOISE_BUDGET = 0.05
"""Largest relative inflation of the llc of a quadratic loss by minibatch noise, as large as the
curvature rule allows. On a singular loss the llc is smaller, so the same step inflates it by a
larger fraction, which the ledger reports."""


MADE_UP_FOR = 0.2
"""Largest share of what is injected that a batch's own noise may replace, in the mean over the
directions that make the llc. The noise varies from point to point, its compensation does not."""

_CHEAP = 1024
"""Examples per gradient up to which the noise of a control variate is not measured."""


def automatic(
    modes: Modes,
    *,
    peak: float,
    power: int,
    heat: float,
    fraction: float,
    budget: float = NOISE_BUDGET,
    lag: float = 1.0,
) -> tuple[float, str]:
    """Return the step size and the name of the rule that limited it.

    Raises:
        ValueError: if neither curvature nor noise sets a scale for the step size.
    """
    noise = modes.mean_noise
    by_curvature = fraction / (lag * peak) if peak > 0 else np.inf
    by_noise = budget / (heat * noise) if noise > 0 else np.inf
    step = min(by_curvature, by_noise)
    if step == np.inf:
        raise ValueError(
            "step_size: auto found neither curvature nor a localiser at w* (nbeta h_max + gamma "
            "is 0); give step_size a number or choose gamma > 0"
        )
    return step ** (1 / power), "curvature" if by_curvature <= by_noise else "minibatch noise"


def _is_dear(size: int | None, n: int) -> bool:
    """Return whether a plain gradient needs batches that a control variate may spare."""
    return n > 4 * _CHEAP and (size is None or size > _CHEAP)


class Tuning(NamedTuple):
    """What a sampler runs with.

    Attributes:
        estimate: of the gradient, from batches of the size that was chosen.
        step_size: of the sampler's kernel.
        work: full-gradient evaluations that it took to find out.
        info: for the trace.
        felt: what was measured in a metric, with the noise of such batches; None without one.
    """

    estimate: GradientEstimate
    step_size: float
    work: float
    info: dict[str, Any]
    felt: Felt | None


def _felt(
    key: PRNGKeyArray,
    estimate: GradientEstimate,
    metric: Metric,
    *,
    start: Float[Array, "chain d"],
    spectrum: Spectrum,
) -> Felt:
    """Return what a sampler feels in a metric that the spectrum made."""
    if isinstance(metric, Coordinates):
        return whitened(key, estimate, metric, start=start, spectrum=spectrum)
    assert spectrum.factors is not None
    return product_metric.felt(key, estimate, metric, spectrum.factors, start=start)


def tune(
    key: PRNGKeyArray,
    estimate: GradientEstimate,
    spec: Sgld | Sghmc | Sgnht,
    *,
    few: Subset,
    start: Float[Array, "chain d"],
    spectrum: Spectrum,
    llc: float | None,
    power: int,
    heat: float,
    dynamics: Callable[[Modes, float], Dynamics],
    preconditioner: Callable[[Weights], Weights] | None = None,
    metric: Metric | None = None,
    lag: float = 1.0,
) -> Tuning:
    """Choose what is `auto` of step size, batch size and gradient, and predict the biases."""
    posterior = estimate.posterior
    measure_key, peak_key = split(key)
    rule: dict[str, Any] = {"power": power, "heat": heat, "lag": lag}
    rule["fraction"] = spec.fraction
    rule["budget"] = MADE_UP_FOR if metric is not None and spec.makes_up else NOISE_BUDGET
    size = spec.batch_size
    felt = None
    if metric is None:
        size = default_batch(posterior) if size == "auto" else size
        modes, work = measure(
            measure_key,
            estimate.on(size),
            few,
            start=start,
            spectrum=spectrum,
            preconditioner=preconditioner,
        )
        rule["peak"] = float(modes.mu.max())
    else:
        probe = min(PROBE, posterior.n) if size == "auto" else size
        at = {"start": start, "spectrum": spectrum}
        felt = _felt(measure_key, estimate.on(probe), metric, **at)
        rule["peak"], spent = peak_curvature(peak_key, few.posterior, metric, start)
        work = felt.work + few.cost * spent
        if size == "auto":
            assert probe is not None
            size = batch_for(posterior, felt.modes, probe, spec, rule, llc)
            if spec.gradient == "auto" and _is_dear(size, posterior.n):
                varied = control_variate(posterior, probe)
                other = _felt(measure_key, varied, metric, **at)
                work += 1 + other.work
                fewer = batch_for(posterior, other.modes, probe, spec, rule, llc)
                if 2 * (fewer or posterior.n) < (size or posterior.n):
                    estimate, felt, size = varied, other, fewer
            felt = felt.scaled(0.0 if size is None else probe / size)
        modes = felt.modes
    if spec.step_size == "auto":
        step, limit = automatic(modes, **rule)
    else:
        step, limit = float(spec.step_size), "the config"
    info = {
        "step_size": step,
        "step_limited_by": limit,
        "step_fraction": rule["fraction"],
        "thin": spec.steps,
        "mu_max": rule["peak"],
        "batch_size": size,
    }
    if metric is not None:
        info["heating"] = heating(modes, rule, step ** rule["power"])
    moving = modes.mu > 1e-12 * modes.mu.max()
    tuning = Tuning(estimate.on(size), step, work, info, felt)
    if not moving.any():
        return tuning
    known = Modes(*(values[moving] for values in modes))
    advised, _ = automatic(known, **rule)
    info["ledger"] = _ledger(known, spec, step, advised, dynamics, llc)
    return tuning


def _ledger(
    modes: Modes,
    spec: Sgld | Sghmc | Sgnht,
    step: float,
    advised: float,
    dynamics: Callable[[Modes, float], Dynamics],
    llc: float | None,
) -> dict[str, Any]:
    """Return the ledger of this run with recommended settings and warnings about biases > 10 %."""
    n_draws, n_burn = spec.lengths
    lengths = {"n_draws": n_draws, "n_burn": n_burn, "thin": spec.steps}
    is_bound = spec.precond == "kronecker"
    ledger = account(
        modes, lambda modes: dynamics(modes, step), llc=llc, is_bound=is_bound, **lengths
    )
    n_kept = n_draws - n_burn
    better = dynamics(modes, advised)
    burn = burn_in_needed(modes, better, n_kept=n_kept, thin=spec.steps) if is_stable(better) else 0
    ledger["recommended"] = {"step_size": advised, "n_burn": burn, "thin": spec.steps}
    ledger["warnings"] = _warnings(ledger, spec, step)
    return ledger


def _warnings(ledger: dict[str, Any], spec: Sgld | Sghmc | Sgnht, step: float) -> list[str]:
    better = ledger["recommended"]
    if not ledger["stable"]:
        return [
            f"step_size {step:.3g} is unstable in the stiffest direction at w*: the chain will "
            f"leave; set step_size to {better['step_size']:.3g}, or to auto"
        ]
    smaller = min(better["step_size"], step / 2)
    quiet = ["discretisation", "minibatch"] if spec.extrapolates else []
    if spec.until is not None:
        # How long the run is, and so what is left of its way from the start, is not known yet.
        quiet.append("burn_in")
    texts = {
        "discretisation": f"lower step_size from {step:.3g} to {smaller:.3g}",
        "minibatch": f"lower step_size from {step:.3g} to {smaller:.3g}, or raise "
        f"batch_size from {spec.batch_size}",
        "burn_in": _longer(better, spec, step),
    }
    return [
        f"{name} is predicted to move llc by {ledger[name]['relative']:+.0%}: {advice}"
        for name, advice in texts.items()
        if name not in quiet and abs(ledger[name]["relative"]) > WARN_AT
    ]


def _longer(better: dict[str, Any], spec: Sgld | Sghmc | Sgnht, step: float) -> str:
    if better["n_burn"] <= spec.lengths[1]:
        return f"raise step_size from {step:.3g} to {better['step_size']:.3g}, or set it to auto"
    return (
        f"raise n_burn from {spec.lengths[1]} to {better['n_burn']} (with step_size "
        f"{better['step_size']:.3g} and thin {spec.steps}), or raise thin, or choose nuts"
    )


def report(ledger: dict[str, Any], *, precond: str | None = None) -> list[str]:
    """Return the ledger as lines of text.

    In a product basis the curvatures are a diagonal, and half the sum of their shrinkages is never
    below that of the eigenvalues' (Schur-Horn), often by a half.
    """
    better = ledger["recommended"]
    most = "at most " if precond == "kronecker" else ""
    lines = [
        f"quadratic answer at this nbeta and gamma {most}{ledger['oracle']:.4g}, without gamma "
        f"{ledger['asymptotic']:.4g} (localisation {ledger['localisation']['relative']:+.1%})"
    ]
    if ledger["stable"]:
        parts = ", ".join(
            f"{name.replace('_', '-')} {ledger[name]['relative']:+.1%}"
            for name in ("discretisation", "minibatch", "burn_in")
        )
        error = ledger["error"]["absolute"]
        lines.append(f"predicted error {error:+.3g} of about {ledger['llc']:.3g}: {parts}")
    lines.append(
        f"recommended: step_size {better['step_size']:.3g}, n_burn {better['n_burn']} draws of "
        f"{better['thin']} steps"
    )
    return lines + [f"warning: {text}" for text in ledger["warnings"]]
