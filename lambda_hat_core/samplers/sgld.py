"""SGLD (Welling & Teh 2011), preconditioned by moments of the gradient (Li et al. 2016).

w <- w - (eps/2) P (gamma (w - w*) + nbeta g) + sqrt(eps P) xi

with g the gradient of the mean loss on a minibatch. P = 1 / (sqrt(v_hat) + eps_P) from the second
moment of the LOSS gradient alone, v_{-1} = 1, m_{-1} = 0, bias-corrected (Hitchcock & Hoogland
2025, arXiv:2507.21449, appendix D.3); `adam` also drifts along the first moment. There is no
Gamma(w) term, so P stays fixed after burn-in: from there on this is pSGLD with a constant P.

With `precond: none` or `lanczos` P is constant throughout, and the kernel is that of `overdamped`.
"""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from lambda_hat_core.config.samplers.stochastic import Sgld
from lambda_hat_core.counters import split
from lambda_hat_core.linalg.spectrum import Spectrum
from lambda_hat_core.posterior import Posterior
from lambda_hat_core.samplers import overdamped
from lambda_hat_core.samplers.gradients import plain
from lambda_hat_core.samplers.kernel import Kernel, Stats, Tuned
from lambda_hat_core.samplers.ledger import Dynamics, outer
from lambda_hat_core.samplers.modes import Modes
from lambda_hat_core.samplers.noise import standard_normal
from lambda_hat_core.samplers.stepsize import tune
from lambda_hat_core.samplers.subset import Subset
from lambda_hat_core.samplers.whitened import whiten
from lambda_hat_core.types import Weights

_RULE = {
    "precond",
    "beta1",
    "beta2",
    "eps",
    "bias_correction",
    "freeze_preconditioner",
    "noise",
}
"""The fields that the compiled step depends on; runs that differ elsewhere share it."""


class SgldState(NamedTuple):
    """Point, second and first moment of the loss gradient, steps taken."""

    w: Weights
    v: Weights
    m: Weights
    t: Scalar


class SgldKernel(Kernel):
    """One step is one minibatch gradient."""

    posterior: Posterior
    step_size: Scalar
    burn_steps: Scalar
    spec: Sgld = eqx.field(static=True)
    batch_size: int | None = eqx.field(static=True)

    @property
    def has_noise(self) -> bool:
        """Whether gradients are those of batches."""
        return self.batch_size is not None and self.posterior.data is not None

    def init(self, key: PRNGKeyArray, w: Weights) -> SgldState:
        """Start with unit second moment and no momentum."""
        del key
        m = jnp.zeros_like(w) if self.spec.precond == "adam" else jnp.zeros((0,), w.dtype)
        return SgldState(w, jnp.ones_like(w), m, jnp.zeros((), w.dtype))

    def step(self, key: PRNGKeyArray, state: SgldState) -> tuple[SgldState, Stats]:
        """Move along one minibatch gradient and add noise."""
        posterior, spec = self.posterior, self.spec
        batch_key, noise_key = split(key)
        w, v, m, t = state
        g = posterior.loss_grad(w, posterior.minibatch(batch_key, self.batch_size))
        t = t + 1
        moving = (t <= self.burn_steps) | (not spec.freeze_preconditioner)
        v = jnp.where(moving, spec.beta2 * v + (1 - spec.beta2) * g**2, v)
        counted = t if not spec.freeze_preconditioner else jnp.minimum(t, self.burn_steps)
        preconditioner = preconditioner_of(v, jnp.maximum(counted, 1), spec)
        drift = g
        if spec.precond == "adam":
            m = spec.beta1 * m + (1 - spec.beta1) * g
            drift = m / (1 - spec.beta1**t) if spec.bias_correction else m
        noise = standard_normal(noise_key, w, spec.noise)
        force = posterior.tether_grad(w - posterior.w0) + posterior.nbeta * drift
        step = self.step_size * preconditioner
        w = w - 0.5 * step * force + jnp.sqrt(step) * noise
        return SgldState(w, v, m, t), {
            "work": jnp.asarray(posterior.batch_work(self.batch_size), w.dtype)
        }

    def position(self, state: SgldState) -> Weights:
        """Return w."""
        return state.w

    def gradient(self, key: PRNGKeyArray, state: SgldState) -> tuple[Weights, float]:
        """Return grad U on a FRESH minibatch: the one that moved w is correlated with w."""
        size = self.batch_size
        batch = self.posterior.minibatch(key, size)
        return self.posterior.potential_grad(state.w, batch), self.posterior.batch_work(size)


def preconditioner_of(v: Weights, t: Scalar, spec: Sgld) -> Weights:
    """P from the second moment after t steps."""
    v_hat = v / (1 - spec.beta2**t) if spec.bias_correction else v
    return 1 / (jnp.sqrt(v_hat) + spec.eps)


def dynamics(modes: Modes, eps: float, spec: Sgld) -> Dynamics:
    """The update on a quadratic in u = P^(-1/2) (w - w*); `adam` carries m as well."""
    stiff, soft = modes.share * modes.mu, (1 - modes.share) * modes.mu
    zero, one = np.zeros_like(stiff), np.ones_like(stiff)
    start = modes.start / modes.mu
    if spec.precond != "adam":
        kick = np.stack([one], 1)
        return Dynamics(
            outer(kick, 1 - eps * modes.mu / 2),
            outer(kick, eps + (eps / 2) ** 2 * modes.noise),
            outer(kick, start),
        )
    new = 1 - spec.beta1
    A = np.stack(
        [
            np.stack([1 - eps / 2 * (soft + new * stiff), -eps / 2 * spec.beta1 * one], 1),
            np.stack([new * stiff, spec.beta1 * one], 1),
        ],
        1,
    )
    kick = np.stack([-eps / 2 * new * one, new * one], 1)
    place = np.stack([one, zero], 1)
    return Dynamics(A, outer(place, eps * one) + outer(kick, modes.noise), outer(place, start))


def build(
    key: PRNGKeyArray,
    posterior: Posterior,
    spec: Sgld,
    *,
    few: Subset,
    start: Float[Array, "chain d"],
    spectrum: Spectrum,
    llc: float | None = None,
) -> Tuned:
    """Choose the step size if it is `auto`, and predict the biases; nothing else is adapted."""
    if spec.is_constant:
        return _constant(key, posterior, spec, few=few, start=start, spectrum=spectrum, llc=llc)
    burn = spec.n_burn * spec.steps
    last = burn if spec.freeze_preconditioner else spec.n_draws * spec.steps
    remembered = spec.beta2**last

    def preconditioner(second_moment: Weights) -> Weights:
        v = remembered + (1 - remembered) * second_moment
        return preconditioner_of(v, jnp.asarray(max(last, 1), v.dtype), spec)

    estimate, step_size, work, info, _ = tune(
        key,
        plain(posterior, None),
        spec,
        few=few,
        start=start,
        spectrum=spectrum,
        llc=llc,
        power=1,
        heat=0.25,
        # The first moment is old by beta1 / (1 - beta1) steps, and a delayed force heats.
        lag=1 + 2 * spec.beta1 / (1 - spec.beta1) if spec.precond == "adam" else 1.0,
        dynamics=lambda modes, eps: dynamics(modes, eps, spec),
        preconditioner=preconditioner,
    )
    kernel = SgldKernel(
        posterior,
        jnp.asarray(step_size, start.dtype),
        jnp.asarray(burn, start.dtype),
        Sgld.model_validate(spec.model_dump(include=_RULE)),
        estimate.batch_size,
    )
    return Tuned(kernel, start, work, info)


def _constant(
    key: PRNGKeyArray,
    posterior: Posterior,
    spec: Sgld,
    *,
    few: Subset,
    start: Float[Array, "chain d"],
    spectrum: Spectrum,
    llc: float | None,
) -> Tuned:

    def law(modes: Modes, eps: float) -> Dynamics:
        return overdamped.dynamics(modes, eps, spec.integrator, compensated=spec.whitens)

    made = whiten(
        key,
        posterior,
        spec,
        few=few,
        start=start,
        spectrum=spectrum,
        llc=llc,
        power=1,
        heat=overdamped.HEAT,
        dynamics=law,
    )
    kernel = overdamped.OverdampedKernel(
        posterior,
        made.estimate,
        made.coordinates,
        made.alternation,
        made.heat,
        made.mu,
        spec.integrator,
        spec.noise,
    )
    return Tuned(kernel, start, made.work, made.info)
