"""Set-up of every minibatch sampler: measure the modes, choose a step size, compute the ledger.

A sampler states its rule by two numbers: the power p for which eps^p has the unit of 1 / mu, and
`heat`, the relative inflation of the variance of a direction by minibatch noise, per eps^p and per
unit of noise. eps^p is then the smaller of
    step_fraction / (lag x mu_max)   (curvature; the lag is 1 unless the sampler uses old gradients)
    budget / (heat x mean noise of the directions that make the llc)   (minibatch noise).
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from lambda_hat_core.config.samplers.stochastic import Sghmc, Sgld, Sgnht
from lambda_hat_core.linalg.spectrum import Spectrum
from lambda_hat_core.posterior import Posterior
from lambda_hat_core.samplers.kernel import Kernel, Tuned
from lambda_hat_core.samplers.ledger import (
    WARN_AT,
    Dynamics,
    account,
    burn_in_needed,
    is_stable,
)
from lambda_hat_core.samplers.modes import Modes, measure
from lambda_hat_core.samplers.noise import Generator
from lambda_hat_core.types import Weights

NOISE_BUDGET = 0.05
"""Largest relative inflation of the llc of a quadratic loss by minibatch noise, as large as the
curvature rule allows. On a singular loss the llc is smaller, so the same step inflates it by a
larger fraction, which the ledger reports."""


def automatic(
    modes: Modes, *, power: int, heat: float, fraction: float, lag: float = 1.0
) -> tuple[float, str]:
    """Return the step size and the name of the rule that limited it.

    Raises:
        ValueError: if neither curvature nor noise sets a scale for the step size.
    """
    largest = float(modes.mu.max())
    weight = modes.size * modes.share
    noise = float(weight @ modes.noise / weight.sum()) if weight.sum() > 0 else 0.0
    by_curvature = fraction / (lag * largest) if largest > 0 else np.inf
    by_noise = NOISE_BUDGET / (heat * noise) if noise > 0 else np.inf
    step = min(by_curvature, by_noise)
    if step == np.inf:
        raise ValueError(
            "step_size: auto found neither curvature nor a localiser at w* (nbeta h_max + gamma "
            "is 0); give step_size a number or choose gamma > 0"
        )
    return step ** (1 / power), "curvature" if by_curvature <= by_noise else "minibatch noise"


def tune(
    key: PRNGKeyArray,
    posterior: Posterior,
    spec: Sgld | Sghmc | Sgnht,
    *,
    start: Float[Array, "chain d"],
    spectrum: Spectrum,
    llc: float | None,
    power: int,
    heat: float,
    dynamics: Callable[[Modes, float], Dynamics],
    preconditioner: Callable[[Weights], Weights] | None = None,
    lag: float = 1.0,
) -> tuple[float, float, dict[str, Any]]:
    """Return the step size, the work of finding it, and the facts that the run records about it."""
    modes, work = measure(
        key,
        posterior,
        start=start,
        spectrum=spectrum,
        batch_size=spec.batch_size,
        preconditioner=preconditioner,
    )
    rule = {"power": power, "heat": heat, "fraction": spec.step_fraction, "lag": lag}
    if spec.step_size == "auto":
        step, limit = automatic(modes, **rule)
    else:
        step, limit = float(spec.step_size), "the config"
    info = {
        "step_size": step,
        "step_limited_by": limit,
        "mu_max": float(modes.mu.max()),
    }
    moving = modes.mu > 1e-12 * modes.mu.max()
    if not moving.any():
        return step, work, info
    modes = Modes(*(values[moving] for values in modes))
    advised, _ = automatic(modes, **rule)
    info["ledger"] = _ledger(modes, spec, step, advised, dynamics, llc)
    return step, work, info


def tuned_momentum(
    key: PRNGKeyArray,
    posterior: Posterior,
    spec: Sghmc | Sgnht,
    kernel: Callable[[Posterior, Scalar, float, int | None, Generator], Kernel],
    *,
    start: Float[Array, "chain d"],
    spectrum: Spectrum,
    llc: float | None,
    heat: float,
    dynamics: Callable[[Modes, float], Dynamics],
) -> Tuned:
    """Apply `tune` to a sampler with momentum, whose eps^2 has the unit of 1 / mu."""
    step_size, work, info = tune(
        key,
        posterior,
        spec,
        start=start,
        spectrum=spectrum,
        llc=llc,
        power=2,
        heat=heat,
        dynamics=dynamics,
    )
    step = jnp.asarray(step_size, start.dtype)
    built = kernel(posterior, step, spec.alpha, spec.batch_size, spec.noise)
    return Tuned(built, start, work, info)


def _ledger(
    modes: Modes,
    spec: Sgld | Sghmc | Sgnht,
    step: float,
    advised: float,
    dynamics: Callable[[Modes, float], Dynamics],
    llc: float | None,
) -> dict[str, Any]:
    """Return the ledger of this run with recommended settings and warnings about biases > 10 %."""
    lengths = {"n_draws": spec.n_draws, "n_burn": spec.n_burn, "thin": spec.thin}
    ledger = account(modes, lambda modes: dynamics(modes, step), llc=llc, **lengths)
    n_kept = spec.n_draws - spec.n_burn
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
    texts = {
        "discretisation": f"lower step_size from {step:.3g} to {smaller:.3g}",
        "minibatch": f"lower step_size from {step:.3g} to {smaller:.3g}, or raise "
        f"batch_size from {spec.batch_size}",
        "burn_in": f"raise n_burn from {spec.n_burn} to {better['n_burn']} (with step_size "
        f"{better['step_size']:.3g} and thin {spec.thin}), or raise thin, or choose nuts",
        "localisation": "gamma holds directions back that the loss curves: lower gamma or raise "
        "nbeta, or read the answer as the coefficient at this gamma",
    }
    return [
        f"{name} is predicted to move llc by {ledger[name]['relative']:+.0%}: {advice}"
        for name, advice in texts.items()
        if abs(ledger[name]["relative"]) > WARN_AT
    ]


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
