"""MCLMC (Robnik et al. 2023, arXiv:2212.08549): motion at unit speed, with a direction that decays.

The sampler has no Metropolis correction: the energy error per step is kept so small that its bias
is small too. The adaptation of blackjax finds, in every chain, the step size for a given variance
of that error, and the values of the chains are pooled. The decoherence length L comes from the
autocorrelation of a few directions over all chains. A tuning is accepted only when the steps after
it confirm it (`StationaryCheck`). Until then tuning continues, and if no tuning is confirmed the
run has failed: an MCLMC that was tuned before it reached equilibrium looks healthy and is biased.
"""

import math
from typing import Any

import blackjax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from blackjax.adaptation.mclmc_adaptation import MCLMCAdaptationState
from blackjax.mcmc import integrators
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from lambda_hat_core.config.samplers.exact import Mclmc
from lambda_hat_core.linalg.spectrum import Spectrum
from lambda_hat_core.posterior import Posterior
from lambda_hat_core.programs import compiled
from lambda_hat_core.samplers import coordinates
from lambda_hat_core.samplers.coordinates import Coordinates
from lambda_hat_core.samplers.equilibrium import StationaryCheck
from lambda_hat_core.samplers.kernel import Kernel, Stats, Tuned, positions
from lambda_hat_core.types import Weights, constant

GRADIENTS = {"isokinetic_mclachlan": 2, "isokinetic_velocity_verlet": 1}
"""Gradients per step of each integrator."""
_ROUNDS = 12
"""Number of tunings of n_tune steps each after which the run counts as failed."""
_DIRECTIONS = 16
_L_FACTOR = 0.4
"""L in units of the distance between independent points, as in blackjax."""


class MclmcKernel(Kernel):
    """One step is one step of the integrator."""

    posterior: Posterior
    coordinates: Coordinates
    step_size: Scalar
    length: Scalar
    integrator: str = eqx.field(static=True)

    def log_density(self, u: Weights) -> Scalar:
        """Log p(w0 + A u) up to a constant."""
        return self.posterior.log_density(self.coordinates.to_w(u))

    def blackjax_step(self) -> Any:
        """Return blackjax's kernel for the integrator."""
        return blackjax.mclmc.build_kernel(integrator=getattr(integrators, self.integrator))

    def init(self, key: PRNGKeyArray, w: Weights) -> Any:
        """Return the state at w with a random direction."""
        return blackjax.mclmc.init(self.coordinates.to_u(w), self.log_density, key)

    def advance(self, key: PRNGKeyArray, state: Any) -> tuple[Any, Any]:
        """Take one blackjax step and return the state and its info."""
        return self.blackjax_step()(
            rng_key=key,
            state=state,
            logdensity_fn=self.log_density,
            inverse_mass_matrix=1.0,
            L=self.length,
            step_size=self.step_size,
        )

    def step(self, key: PRNGKeyArray, state: Any) -> tuple[Any, Stats]:
        """Refresh the direction partially, integrate, and refresh again; undo a non-finite step."""
        state, info = self.advance(key, state)
        dtype = self.posterior.w0.dtype
        return state, {
            "work": jnp.asarray(GRADIENTS[self.integrator], dtype),
            "diverging": 1 - jnp.asarray(info.nonans, dtype),
            "energy_error": info.energy_change**2 / self.posterior.w0.size,
        }

    def position(self, state: Any) -> Weights:
        """Return w."""
        return self.coordinates.to_w(state.position)

    def gradient(self, key: PRNGKeyArray, state: Any) -> tuple[Weights, float]:
        """Return grad U at the position, which the state already holds, so it costs no work."""
        del key
        return -self.coordinates.gradient_to_w(state.logdensity_grad), 0.0


@compiled
def _find_step(
    key: PRNGKeyArray,
    kernel: MclmcKernel,
    states: Any,
    n_steps: int,
    energy_var: Scalar,
    scale: bool,
) -> tuple[Any, Scalar, Scalar, Weights]:
    """Return states, pooled step size, pooled L, and pooled variances of u if `scale` is true."""
    d = kernel.posterior.w0.size
    # After rescaling, blackjax spends a third more steps on adapting again.
    share = 3 / 7 if scale else 1 / 2

    find: Any = blackjax.mclmc_find_L_and_step_size
    begun: Any = (kernel.length, kernel.step_size, jnp.ones((d,), states.position.dtype))

    def chain(key: PRNGKeyArray, state: Any) -> Any:
        state, params, _ = find(
            mclmc_kernel=kernel.blackjax_step(),
            num_steps=n_steps,
            state=state,
            rng_key=key,
            logdensity_fn=kernel.log_density,
            frac_tune1=share,
            frac_tune2=share,
            frac_tune3=0.0,
            desired_energy_var=energy_var,
            diagonal_preconditioning=scale,
            params=MCLMCAdaptationState(*begun),
        )
        return state, params

    states, params = jax.vmap(chain)(jr.split(key, states.logdensity.shape[0]), states)
    step_size = jnp.exp(jnp.mean(jnp.log(params.step_size)))
    length = jnp.sqrt(jnp.mean(params.L**2))
    return states, step_size, length, jnp.mean(params.inverse_mass_matrix, axis=0)


@compiled
def _watch(
    key: PRNGKeyArray, kernel: MclmcKernel, states: Any, n_steps: int
) -> tuple[Any, Scalar, StationaryCheck]:
    """Take further steps; return states, steps per independent point, and the check's series."""
    d = kernel.posterior.w0.size
    dtype = kernel.posterior.w0.dtype
    key, look_key = jr.split(key)
    look = jr.normal(look_key, (min(d, _DIRECTIONS), d), dtype) / math.sqrt(d)

    def advance(state: Any, key: PRNGKeyArray) -> tuple[Any, tuple]:
        state, info = kernel.advance(key, state)
        virial = -jnp.sum(state.position * state.logdensity_grad) / d
        seen = (-state.logdensity, virial, info.energy_change**2 / d, info.nonans)
        return state, (look @ state.position, seen)

    def chain(key: PRNGKeyArray, state: Any) -> tuple[Any, tuple]:
        return jax.lax.scan(advance, state, jr.split(key, n_steps))

    n_chains = states.logdensity.shape[0]
    states, (looks, seen) = jax.vmap(chain)(jr.split(key, n_chains), states)
    # Pooled over chains: (chain, step, direction).
    apart = n_chains * n_steps / blackjax.ess(looks)
    return states, jnp.nanmean(apart), StationaryCheck(*seen)


def build(
    key: PRNGKeyArray,
    posterior: Posterior,
    spec: Mclmc,
    *,
    start: Float[Array, "chain d"],
    spectrum: Spectrum,
) -> Tuned:
    """Tune until a check confirms the tuning, then return the fixed kernel.

    Raises:
        ValueError: if d is 1, because the dynamics do not exist in one dimension.
    """
    d = posterior.w0.size
    if d < 2:
        raise ValueError(
            f"mclmc moves at unit speed on a sphere of directions, but d is {d}; choose nuts or hmc"
        )
    stiffness = float(posterior.nbeta) * spectrum.h_max + float(posterior.gamma)
    narrowest = constant(1 / math.sqrt(stiffness or 1.0), posterior.w0)
    width = constant(math.sqrt(d), start)
    if spec.metric == "lanczos":
        chosen = coordinates.laplace(posterior, spectrum)
    elif spec.metric == "identity":
        chosen, width = coordinates.identity(posterior), width * narrowest
    else:
        chosen = coordinates.diagonal(posterior, narrowest)
    kernel = MclmcKernel(posterior, chosen, 0.25 * width, width, spec.integrator)
    work, n_steps, failure = 0.0, 0, None
    if spec.metric == "diagonal":
        scale_key, key = jr.split(key)
        kernel, start, work = _rescale(scale_key, kernel, start, spec)
    if spec.L == "auto" or spec.step_size == "auto":
        kernel, start, n_steps, failure = _tune(key, kernel, start, spec)
        work += start.shape[0] * (1 + GRADIENTS[spec.integrator] * n_steps)
    if spec.L != "auto":
        kernel = eqx.tree_at(lambda k: k.length, kernel, constant(spec.L, start))
    if spec.step_size != "auto":
        kernel = eqx.tree_at(lambda k: k.step_size, kernel, constant(spec.step_size, start))
    info = {
        "step_size": float(kernel.step_size),
        "L": float(kernel.length),
        "turns_per_draw": float(spec.thin * kernel.step_size / kernel.length),
        "metric": spec.metric,
        "n_tuned": n_steps,
    }
    return Tuned(kernel, start, float(work), info, failure)


def _rescale(
    key: PRNGKeyArray, kernel: MclmcKernel, start: Float[Array, "chain d"], spec: Mclmc
) -> tuple[MclmcKernel, Float[Array, "chain d"], float]:
    """Return the kernel in coordinates scaled by pooled variances, positions, and the work."""
    init_key, find_key = jr.split(key)
    states = _start(init_key, kernel, start)
    goal = constant(spec.desired_energy_var, start)
    states, *_, variance = _find_step(find_key, kernel, states, spec.n_tune, goal, True)
    scale = kernel.coordinates.scale * jnp.sqrt(variance)
    width = constant(math.sqrt(start.shape[1]), start)
    wide = coordinates.diagonal(kernel.posterior, scale)
    work = start.shape[0] * (1 + GRADIENTS[spec.integrator] * spec.n_tune)
    rescaled = MclmcKernel(kernel.posterior, wide, 0.25 * width, width, spec.integrator)
    return rescaled, positions(kernel, states), float(work)


def _tune(
    key: PRNGKeyArray, kernel: MclmcKernel, start: Float[Array, "chain d"], spec: Mclmc
) -> tuple[MclmcKernel, Float[Array, "chain d"], int, str | None]:
    """Find L and the step size in rounds of `n_tune` steps, until the later half confirms them.

    Returns the kernel, the positions of the chains, the number of tuning steps per chain, and a
    description of what is still wrong, or None.
    """
    goal = constant(spec.desired_energy_var, start)
    init_key, key = jr.split(key)
    states = _start(init_key, kernel, start)
    n_watch = spec.n_tune // 3
    seen: list[StationaryCheck] = []
    complaint = None
    while len(seen) < _ROUNDS:
        find_key, watch_key = jr.split(jr.fold_in(key, len(seen)))
        n_find = spec.n_tune - n_watch
        states, *lengths, _ = _find_step(find_key, kernel, states, n_find, goal, False)
        kernel = eqx.tree_at(lambda k: (k.step_size, k.length), kernel, tuple(lengths))
        states, apart, check = _watch(watch_key, kernel, states, n_watch)
        length = _L_FACTOR * kernel.step_size * apart
        kernel = eqx.tree_at(lambda k: k.length, kernel, length)
        seen.append(StationaryCheck(*map(np.asarray, check)))
        later = seen[len(seen) // 2 :]
        joined = (np.concatenate(series, axis=1) for series in zip(*later, strict=True))
        complaint = StationaryCheck(*joined).complaint(spec.desired_energy_var)
        if complaint is None:
            break
    n_steps = len(seen) * spec.n_tune
    failure = complaint and (
        f"mclmc: after {n_steps} tuning steps per chain the check still found {complaint}; "
        f"raise n_tune (now {spec.n_tune}), or choose nuts"
    )
    return kernel, positions(kernel, states), n_steps, failure


@compiled
def _start(key: PRNGKeyArray, kernel: MclmcKernel, start: Float[Array, "chain d"]) -> Any:
    return jax.vmap(kernel.init)(jr.split(key, start.shape[0]), start)
