"""Warm-up over all chains together: the metric, and the step size by pooled dual averaging."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.random as jr
import numpy as np
from jaxtyping import PRNGKeyArray, Scalar

from lambda_hat_core.config.samplers.base import Until
from lambda_hat_core.config.samplers.exact import Hmc, Mala, Nuts
from lambda_hat_core.linalg.spectrum import Spectrum
from lambda_hat_core.posterior import Posterior
from lambda_hat_core.samplers import coordinates
from lambda_hat_core.samplers.averaging import Adapted, Positions, dual_averaging, with_step
from lambda_hat_core.samplers.hamiltonian import HamiltonianKernel
from lambda_hat_core.samplers.kernel import Tuned
from lambda_hat_core.types import constant

_SHARE = 0.5
"""Of the budget of a run that ends by itself, what its warm-up may take."""
DIVERGING_MAX = 0.01
"""Share of diverging steps above which a step size is too large. A few leave no trace in the mean;
at a crossing it is a tenth of them, and the mean is up to 30 % off."""
_TURNS, _CLOSER = 3, 0.5
"""Number of adaptations, and by what each brings the target closer to 1 and its first step size
to 0. Beyond that the trees get longer than the chains need to mix."""


def adapted(
    key: PRNGKeyArray,
    posterior: Posterior,
    spec: Nuts | Hmc | Mala,
    kernel: Callable[[Posterior, coordinates.Coordinates, Scalar], HamiltonianKernel],
    *,
    start: Positions,
    spectrum: Spectrum,
    log: Callable[[str], None],
    scaling: float = -1 / 4,
    step_size: float | None = None,
) -> Tuned:
    """Adapt `kernel` from `start` as `spec` says; the first step size is d^scaling widths."""
    first = constant(posterior.w0.size**scaling, start)
    return warm_up(
        key,
        kernel(posterior, coordinates.identity(posterior), first),
        start,
        n_warmup=spec.n_warmup,
        target=spec.target_acceptance,
        metric=spec.metric,
        spectrum=spectrum,
        log=log,
        step_size=step_size,
        until=spec.until,
    )


def warm_up(
    key: PRNGKeyArray,
    kernel: HamiltonianKernel,
    positions: Positions,
    *,
    n_warmup: int,
    target: float,
    metric: str,
    spectrum: Spectrum,
    log: Callable[[str], None],
    step_size: float | None = None,
    until: Until | None = None,
) -> Tuned:
    """Adapt step size and metric, and return the kernel, which is fixed from then on.

    `lanczos` and `identity` adapt the step size only. `diagonal` spends half of the warm-up under a
    multiple of the identity, takes the pooled variances of the second half of these steps as the
    metric, and adapts the step size to this metric in the remaining steps. The step size of the
    kernel that is passed in refers to coordinates of unit width. A given `step_size` is kept. Where
    a rule ends the run, the warm-up may end before its `n_warmup` steps: once the step size is
    known, or half of the budget is spent.
    """
    posterior = kernel.posterior
    most = math.inf if until is None else _SHARE * until.max_fge
    work = 0.0
    stiffness = float(posterior.nbeta) * spectrum.h_max + float(posterior.gamma)
    narrowest = constant(1 / math.sqrt(stiffness or 1.0), posterior.w0)
    if metric == "lanczos":
        chosen = coordinates.laplace(posterior, spectrum)
    elif metric == "identity":
        chosen = coordinates.identity(posterior)
        kernel = kernel.scaled(narrowest)
    else:
        rough = coordinates.diagonal(posterior, narrowest)
        kernel = eqx.tree_at(lambda k: k.coordinates, kernel, rough)
        first = n_warmup // 2
        key, first_key = jr.split(key)
        seen = dual_averaging(first_key, kernel, positions, first, target, log, most=most / 2)
        work, positions = seen.work, seen.positions
        kernel, n_warmup = with_step(kernel, seen.step_size), n_warmup - first
        # Stan's regularisation towards a small multiple of the identity.
        shrunk = (seen.n_points * seen.variance + 5e-3) / (seen.n_points + 5)
        chosen = coordinates.diagonal(posterior, narrowest * constant(np.sqrt(shrunk), positions))
    kernel = eqx.tree_at(lambda k: k.coordinates, kernel, chosen)
    info: dict[str, Any] = {"metric": metric}
    if step_size is None:
        seen, aim = _settled(
            key, kernel, positions, n_warmup, target, log, most - work, ends_early=until is not None
        )
        step, positions, work = seen.step_size, seen.positions, work + seen.work
        info |= {"target_acceptance": aim, "diverging": seen.diverging, "n_warmup": seen.n_steps}
    else:
        step = constant(step_size, positions)
    return Tuned(with_step(kernel, step), positions, work, info | {"step_size": float(step)})


def _settled(
    key: PRNGKeyArray,
    kernel: HamiltonianKernel,
    positions: Positions,
    n_steps: int,
    target: float,
    log: Callable[[str], None],
    most: float,
    *,
    ends_early: bool,
) -> tuple[Adapted, float]:
    """Adapt again with a higher target while steps diverge; return that target too.

    The work is that of all turns, which take about `most` gradients together.
    """
    work = 0.0
    for turn in itertools.count():
        turn_key = jr.fold_in(key, turn) if turn else key
        seen = dual_averaging(
            turn_key,
            kernel,
            positions,
            n_steps,
            target,
            log,
            most=most - work,
            ends_early=ends_early,
        )
        work += seen.work
        share = seen.diverging
        if share <= DIVERGING_MAX or turn + 1 == _TURNS or work >= most:
            return seen._replace(work=work), target
        target = 1 - _CLOSER * (1 - target)
        log(f"{share:.1%} of the steps diverged: on with target_acceptance {target:.4g}")
        kernel, positions = with_step(kernel, _CLOSER * seen.step_size), seen.positions
    raise AssertionError("the last turn returns")
