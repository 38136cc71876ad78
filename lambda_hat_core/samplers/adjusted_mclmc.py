"""Metropolis-adjusted microcanonical Monte Carlo (Robnik et al. 2025, arXiv:2503.01707): exact.

A draw is an isokinetic trajectory with a fresh direction and a random number of steps, on average
L / step_size, which is accepted or rejected. L is a fixed multiple of the posterior's width
sqrt(tr Cov) in the coordinates of the metric, measured over all chains during the warm-up.
"""

import math
from collections.abc import Callable
from typing import Any

import blackjax.mcmc.adjusted_mclmc_dynamic as dynamic
import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from blackjax.mcmc.dynamic_hmc import DynamicHMCState
from blackjax.mcmc.hmc import HMCState
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from lambda_hat_core.config.samplers.exact import AdjustedMclmc
from lambda_hat_core.linalg.spectrum import Spectrum
from lambda_hat_core.posterior import Posterior
from lambda_hat_core.samplers.adapt import warm_up
from lambda_hat_core.samplers.averaging import dual_averaging, with_step
from lambda_hat_core.samplers.coordinates import Coordinates, identity
from lambda_hat_core.samplers.hamiltonian import HamiltonianKernel, stats_of
from lambda_hat_core.samplers.kernel import Stats, Tuned
from lambda_hat_core.samplers.telling import silent
from lambda_hat_core.types import constant

_WIDTHS = 1.3
"""L in units of sqrt(tr Cov): blackjax's tuning factor."""
_MOST_STEPS = 256
"""Largest mean number of steps per trajectory, reached only while the step size is adapted."""
_GRADIENTS = 2
"""Gradients per McLachlan step."""

_random_length: Any = dynamic.make_random_trajectory_length_fn(True)
_step: Any = dynamic.build_kernel(integration_steps_fn=_random_length)


class AdjustedMclmcKernel(HamiltonianKernel):
    """One step is one trajectory of random length."""

    posterior: Posterior
    coordinates: Coordinates
    step_size: Scalar
    length: Scalar

    def scaled(self, factor: Scalar) -> "AdjustedMclmcKernel":
        """Scale the trajectory with its steps."""
        lengths = (self.step_size * factor, self.length * factor)
        return eqx.tree_at(lambda k: (k.step_size, k.length), self, lengths)

    def step(self, key: PRNGKeyArray, state: Any) -> tuple[Any, Stats]:
        """Draw a length and a direction, integrate, accept or reject."""
        length_key, move_key = jr.split(key)
        mean_steps = jnp.clip(self.length / self.step_size, 1.0, _MOST_STEPS)
        state, info = _step(
            move_key,
            DynamicHMCState(state.position, state.logdensity, state.logdensity_grad, length_key),
            self.log_density,
            self.step_size,
            integration_steps_params=(mean_steps,),
        )
        stats = stats_of(info, self.posterior.w0.dtype)
        stats["work"] = _GRADIENTS * stats["work"]
        # The kinetic energy is constant, because the speed is 1, so the total energy means nothing.
        del stats["energy"]
        return HMCState(state.position, state.logdensity, state.logdensity_grad), stats


def build(
    key: PRNGKeyArray,
    posterior: Posterior,
    spec: AdjustedMclmc,
    *,
    start: Float[Array, "chain d"],
    spectrum: Spectrum,
    log: Callable[[str], None] = silent,
) -> Tuned:
    """Adapt from `start`, measure the width, and adapt the step size again at the resulting L.

    Raises:
        ValueError: if d is 1, because the dynamics do not exist in one dimension.
    """
    d = posterior.w0.size
    if d < 2:
        raise ValueError(
            f"adjusted_mclmc moves at unit speed on a sphere of directions, but d is {d}; "
            "choose nuts or hmc"
        )
    adapt_key, width_key, last_key = jr.split(key, 3)
    width = constant(math.sqrt(d), start)
    goal = spec.target_acceptance
    half, quarter = spec.n_tune // 2, spec.n_tune // 4
    kernel = AdjustedMclmcKernel(posterior, identity(posterior), 0.2 * width, width)
    begun = warm_up(
        adapt_key,
        kernel,
        start,
        n_warmup=half,
        target=spec.target_acceptance,
        metric=spec.metric,
        spectrum=spectrum,
        log=log,
        until=spec.until,
    )
    kernel: Any = begun.kernel
    seen = dual_averaging(width_key, kernel, begun.positions, quarter, goal, log)
    length = constant(_WIDTHS * math.sqrt(seen.variance.sum()), start)
    kernel = eqx.tree_at(lambda k: (k.step_size, k.length), kernel, (seen.step_size, length))
    last = dual_averaging(last_key, kernel, seen.positions, quarter, goal, log)
    return Tuned(
        with_step(kernel, last.step_size),
        last.positions,
        begun.work + seen.work + last.work,
        {**begun.info, "step_size": float(last.step_size), "L": float(length)},
    )
