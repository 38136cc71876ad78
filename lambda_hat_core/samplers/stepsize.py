"""Set-up of every minibatch sampler: measure the modes, choose a step size, compute the ledger.

A sampler states its rule by two numbers: the power p for which eps^p has the unit of 1 / mu, and
`heat`, the relative inflation of the variance of a direction by minibatch noise, per eps^p and per
unit of noise. eps^p is then the smaller of
    step_fraction / (lag x mu_max)   (curvature; the lag is 1 unless the sampler uses old gradients)
    budget / (heat x mean noise of the directions that make the llc)   (minibatch noise),
where the budget is larger if less noise is injected to make up for a batch's.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from lambda_hat_core.config.samplers.base import AUTO_BATCH
from lambda_hat_core.config.samplers.stochastic import Sghmc, Sgld, Sgnht
from lambda_hat_core.counters import split
from lambda_hat_core.linalg.spectrum import Spectrum
from lambda_hat_core.posterior import Posterior
from lambda_hat_core.samplers.coordinates import Coordinates
from lambda_hat_core.samplers.gradients import GradientEstimate
from lambda_hat_core.samplers.ledger import (
    WARN_AT,
    Dynamics,
    account,
    burn_in_needed,
    is_stable,
)
from lambda_hat_core.samplers.modes import Modes, measure, whitened
from lambda_hat_core.samplers.peaks import peak_curvature
from lambda_hat_core.samplers.subset import Subset
from lambda_hat_core.types import Weights

NOISE_BUDGET = 0.05
"""Largest relative inflation of the llc of a quadratic loss by minibatch noise, as large as the
curvature rule allows. On a singular loss the llc is smaller, so the same step inflates it by a
larger fraction, which the ledger reports."""


MADE_UP_FOR = 0.2
"""Largest share of what is injected that a batch's own noise may replace, in the mean over the
directions that make the llc. The noise varies from point to point, its compensation does not."""

HEATING_BUDGET = 0.1
"""Largest predicted rise of the llc by noise that no compensation reaches, relative to it."""

_PROBE, _LEAST_BATCH = 64, 128
"""Examples in the batches whose noise is measured for `batch_size: auto`, and the smallest one."""


def _mean_noise(modes: Modes) -> float:
    """Return the noise of the directions that make the llc."""
    weight = modes.size * modes.share
    return float(weight @ modes.noise / weight.sum()) if weight.sum() > 0 else 0.0


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
    noise = _mean_noise(modes)
    by_curvature = fraction / (lag * peak) if peak > 0 else np.inf
    by_noise = budget / (heat * noise) if noise > 0 else np.inf
    step = min(by_curvature, by_noise)
    if step == np.inf:
        raise ValueError(
            "step_size: auto found neither curvature nor a localiser at w* (nbeta h_max + gamma "
            "is 0); give step_size a number or choose gamma > 0"
        )
    return step ** (1 / power), "curvature" if by_curvature <= by_noise else "minibatch noise"


def heating(modes: Modes, rule: dict[str, Any], step: float) -> float:
    """Predict how far noise on the metric's complement raises the llc, at most.

    Less injected noise makes up for a batch's in every direction of the metric, and on average on
    their complement. But there the noise is not spread evenly: it lies in the directions that are
    stiff at the very point, which differ from point to point and carry the llc, half a unit each.
    So what it adds to their variances counts as if nothing made up for it.

    Args:
        modes: in the metric; last their complement.
        rule: as `automatic` takes it.
        step: eps^p.
    """
    last = modes.size[-1] * modes.noise[-1] if modes.size[-1] > 1 else 0.0
    return 0.5 * rule["heat"] * step * float(last)


def _default_batch(posterior: Posterior) -> int | None:
    """Return the batch where nothing has been measured."""
    return AUTO_BATCH if posterior.data is not None and posterior.n > AUTO_BATCH else None


def _batch_for(
    posterior: Posterior,
    modes: Modes,
    probe: int,
    spec: Sgld | Sghmc | Sgnht,
    rule: dict[str, Any],
    llc: float | None,
) -> int | None:
    """Return the smallest batch whose noise allows the step that the curvature allows.

    A power of two, so that runs share programs; the full batch where that is not much larger. The
    budget of what is not made up for counts only roughly, as the llc is known roughly.

    Args:
        posterior: with n examples.
        modes: their noise is that of batches of `probe` examples.
        probe: that was measured with.
        spec: of the sampler.
        rule: as `automatic` takes it.
        llc: a rough estimate.
    """
    if posterior.data is None:
        return None
    if spec.step_size != "auto":
        step = spec.step_size ** rule["power"]
    elif rule["peak"] > 0:
        step = rule["fraction"] / (rule["lag"] * rule["peak"])
    else:
        return _default_batch(posterior)
    needed = probe * rule["heat"] * _mean_noise(modes) * step / rule["budget"]
    size = max(_LEAST_BATCH, 2 ** math.ceil(math.log2(max(needed, 1.0))))
    if llc is not None and llc > 0:
        roughly = probe * heating(modes, rule, step) / (HEATING_BUDGET * llc)
        size = max(size, 2 ** round(math.log2(max(roughly, 1.0))))
    return size if size <= posterior.n / 2 else None


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
    metric: Coordinates | None = None,
    lag: float = 1.0,
) -> tuple[float, float, dict[str, Any], Modes]:
    """Return the step size, the work to find it, the facts that the run records, and the modes."""
    posterior = estimate.posterior
    measure_key, peak_key = split(key)
    rule: dict[str, Any] = {"power": power, "heat": heat, "lag": lag}
    rule["fraction"] = spec.step_fraction
    is_made_up_for = metric is not None and not isinstance(spec, Sgnht)
    rule["budget"] = MADE_UP_FOR if is_made_up_for else NOISE_BUDGET
    size = spec.batch_size
    if metric is None:
        size = _default_batch(posterior) if size == "auto" else size
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
        probe = min(_PROBE, posterior.n) if size == "auto" else size
        modes, work = whitened(
            measure_key,
            estimate.on(probe),
            metric,
            start=start,
            spectrum=spectrum,
        )
        rule["peak"], spent = peak_curvature(peak_key, few.posterior, metric, start)
        work += few.cost * spent
        if size == "auto":
            assert probe is not None
            size = _batch_for(posterior, modes, probe, spec, rule, llc)
            modes = modes._replace(noise=modes.noise * (0.0 if size is None else probe / size))
    if spec.step_size == "auto":
        step, limit = automatic(modes, **rule)
    else:
        step, limit = float(spec.step_size), "the config"
    info = {
        "step_size": step,
        "step_limited_by": limit,
        "mu_max": rule["peak"],
        "batch_size": size,
    }
    if metric is not None:
        info["heating"] = heating(modes, rule, step ** rule["power"])
    moving = modes.mu > 1e-12 * modes.mu.max()
    if not moving.any():
        return step, work, info, modes
    known = Modes(*(values[moving] for values in modes))
    advised, _ = automatic(known, **rule)
    info["ledger"] = _ledger(known, spec, step, advised, dynamics, llc)
    return step, work, info, modes


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
    lengths = {"n_draws": n_draws, "n_burn": n_burn, "thin": spec.thin}
    ledger = account(modes, lambda modes: dynamics(modes, step), llc=llc, **lengths)
    n_kept = n_draws - n_burn
    better = dynamics(modes, advised)
    burn = burn_in_needed(modes, better, n_kept=n_kept, thin=spec.thin) if is_stable(better) else 0
    ledger["recommended"] = {"step_size": advised, "n_burn": burn, "thin": spec.thin}
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
    measured = ("discretisation", "minibatch") if spec.extrapolates else ()
    texts = {
        "discretisation": f"lower step_size from {step:.3g} to {smaller:.3g}",
        "minibatch": f"lower step_size from {step:.3g} to {smaller:.3g}, or raise "
        f"batch_size from {spec.batch_size}",
        "burn_in": _longer(better, spec, step),
    }
    return [
        f"{name} is predicted to move llc by {ledger[name]['relative']:+.0%}: {advice}"
        for name, advice in texts.items()
        if name not in measured and abs(ledger[name]["relative"]) > WARN_AT
    ]


def _longer(better: dict[str, Any], spec: Sgld | Sghmc | Sgnht, step: float) -> str:
    if better["n_burn"] <= spec.lengths[1]:
        return f"raise step_size from {step:.3g} to {better['step_size']:.3g}, or set it to auto"
    return (
        f"raise n_burn from {spec.lengths[1]} to {better['n_burn']} (with step_size "
        f"{better['step_size']:.3g} and thin {spec.thin}), or raise thin, or choose nuts"
    )


def report(ledger: dict[str, Any]) -> list[str]:
    """Return the ledger as lines of text."""
    better = ledger["recommended"]
    lines = [
        f"quadratic answer at this nbeta and gamma {ledger['oracle']:.4g}, without gamma "
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
