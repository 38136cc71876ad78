"""What minibatch samplers in a constant metric share: the metric, the step, and the noise in it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from lambda_hat_core.config.samplers.constant import number
from lambda_hat_core.config.samplers.stochastic import Sghmc, Sgld, Sgnht
from lambda_hat_core.linalg.spectrum import Spectrum, stiffest
from lambda_hat_core.posterior import Posterior
from lambda_hat_core.samplers import coordinates
from lambda_hat_core.samplers.alternating import Alternation, alternation
from lambda_hat_core.samplers.gradients import GradientEstimate, control_variate, plain
from lambda_hat_core.samplers.ledger import Dynamics
from lambda_hat_core.samplers.modes import Modes
from lambda_hat_core.samplers.product_metric import Metric, product_metric
from lambda_hat_core.samplers.stepsize import tune
from lambda_hat_core.samplers.subset import Subset
from lambda_hat_core.types import constant


class Whitened(NamedTuple):
    """The parts of a kernel, and what is known of them.

    Attributes:
        heat: variance of A g from one batch along each direction of the metric's own, of which
            the last of `Coordinates` is any that its vectors leave out.
        mu: curvature of U in the metric's coordinates, likewise.
        work: full-gradient evaluations that it took to find out.
        info: for the trace.
    """

    estimate: GradientEstimate
    coordinates: Metric
    alternation: Alternation
    heat: Float[Array, " mode"]
    mu: Float[Array, " mode"]
    work: float
    info: dict[str, Any]


def whiten(
    key: PRNGKeyArray,
    posterior: Posterior,
    spec: Sgld | Sghmc | Sgnht,
    *,
    few: Subset,
    start: Float[Array, "chain d"],
    spectrum: Spectrum,
    llc: float | None,
    power: int,
    heat: float,
    dynamics: Callable[[Modes, float], Dynamics],
) -> Whitened:
    """Choose the metric, and the step size where it is `auto`; arguments as those of `tune`.

    Without a preconditioner the metric is the identity, and nothing of a batch's noise is known.
    """
    estimate, made = plain(posterior, None), 0.0
    if spec.gradient == "control_variate" and spec.batch_size is not None:
        estimate, made = control_variate(posterior, 1), 1.0
    at: Metric = coordinates.identity(posterior)
    if spec.precond == "kronecker":
        assert spectrum.factors is not None
        at = product_metric(posterior, spectrum.factors, number(spec.damping))
    elif spec.whitens:
        spectrum = stiffest(spectrum)
        at = coordinates.damped(posterior, spectrum, number(spec.damping))
    estimate, step_size, work, info, felt = tune(
        key,
        estimate,
        spec,
        few=few,
        start=start,
        spectrum=spectrum,
        llc=llc,
        power=power,
        heat=heat,
        dynamics=dynamics,
        metric=at if spec.whitens else None,
    )
    noise, mu = (np.zeros(1), np.ones(1)) if felt is None else (felt.noise, felt.mu)
    if spec.whitens:
        info |= {"precond": spec.precond, "damping": spec.damping}
    info["gradient"] = "control_variate" if estimate.varies else "plain"
    if spec.extrapolate:
        is_symmetric = not isinstance(spec, Sgld) or spec.integrator != "euler"
        info["step_order"] = 2 if estimate.is_exact and is_symmetric else 1
    return Whitened(
        estimate,
        at,
        alternation(step_size, spec.steps, start, extrapolate=spec.extrapolate),
        constant(noise, start),
        constant(mu, start),
        made + work,
        info,
    )
