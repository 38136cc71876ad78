"""Diagonal whitening from minibatch gradients at w*, and the chart that uses it.

v is a moving average of the squared gradient of the mean loss; S = v^(-1/4), because preconditioned
Langevin dynamics with P = v^(-1/2) injects noise of width P^(1/2). `rmsprop` starts v at 1; `adam`
starts it at 0 and corrects the bias.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from lambda_hat_core.config.samplers.vi import Vi
from lambda_hat_core.linalg.hessian import MeanHessian
from lambda_hat_core.linalg.host import generator, hosted
from lambda_hat_core.linalg.lanczos import Vector
from lambda_hat_core.linalg.spectrum import (
    RANK,
    Spectrum,
    hessian_spectrum,
    operator_spectrum,
    spectrum_work,
)
from lambda_hat_core.posterior import Posterior
from lambda_hat_core.programs import compiled
from lambda_hat_core.samplers.coordinates import laplace
from lambda_hat_core.types import Weights, constant
from lambda_hat_core.vi.chart import Chart

_MEMORIES = 4
"""Number of gradients in units of 1 / (1 - decay), so that the start has weight e^-4."""
_FLOOR = 1e-6
"""Smallest v relative to the largest, so that widths differ by a factor of at most 32."""


@compiled
def _second_moment(
    key: PRNGKeyArray, posterior: Posterior, decay: Array, size: int | None, steps: int
) -> Weights:
    w0 = posterior.w0

    def advance(v: Weights, key: PRNGKeyArray) -> tuple[Weights, None]:
        g = posterior.loss_grad(w0, posterior.minibatch(key, size))
        return decay * v + (1 - decay) * g**2, None

    return jax.lax.scan(advance, jnp.zeros_like(w0), jr.split(key, steps))[0]


def _scale(key: PRNGKeyArray, posterior: Posterior, spec: Vi) -> tuple[Weights, float]:
    """Return the diagonal of S, and the work spent on it."""
    if spec.whitening == "none":
        return jnp.ones_like(posterior.w0), 0.0
    steps = math.ceil(_MEMORIES / (1 - spec.whitening_decay))
    decay = jnp.asarray(spec.whitening_decay, posterior.w0.dtype)
    v = _second_moment(key, posterior, decay, spec.batch_size, steps)
    left = spec.whitening_decay**steps
    v = v + left if spec.whitening == "rmsprop" else v / (1 - left)
    largest = jnp.max(v)
    v = jnp.where(largest > 0, jnp.maximum(v, _FLOOR * largest), 1.0)
    return v**-0.25, steps * posterior.batch_work(spec.batch_size)


def _whitened_spectrum(
    key: PRNGKeyArray, posterior: Posterior, points: Float[Array, "point d"], scale: Weights, k: int
) -> tuple[Spectrum, float]:
    """Return the spectrum of K, clipped at 0 so that K >= gamma S^2, and the work."""
    rng, like, d = generator(key), posterior.w0, posterior.w0.size
    hessian, passes = MeanHessian(rng, posterior, len(points)).at(points)
    nbeta, wide = float(posterior.nbeta), hosted(scale)
    floor = float(posterior.gamma) * wide**2

    def product(v: Vector) -> Vector:
        return nbeta * wide * hessian(wide * v) + floor * v

    found = operator_spectrum(rng, product, k, like=like)
    inside = np.asarray((hosted(found.vectors) ** 2 * floor).sum(axis=1), np.float64)
    outside = (float(floor.sum()) - inside.sum()) / max(d - k, 1)
    theta = np.maximum(np.asarray(found.theta, np.float64), inside)
    rest = max(float(found.rest), outside) if k < d else 0.0
    clipped = Spectrum(constant(theta, like), found.vectors, constant(rest, like))
    return clipped, passes * spectrum_work(d, k)


def build_chart(
    key: PRNGKeyArray,
    posterior: Posterior,
    spectrum: Spectrum,
    points: Float[Array, "point d"],
    spec: Vi,
) -> tuple[Chart, dict[str, float]]:
    """Return the chart, and the work spent on it.

    Args:
        key: random key for the minibatches and for Lanczos.
        posterior: the posterior around w*.
        spectrum: the spectrum of H, which is used if there is no whitening and it has at least
            `d_latent` vectors.
        points: the points over which H is averaged.
        spec: the settings of the run.
    """
    moment_key, spectrum_key = jr.split(key)
    scale, work = _scale(moment_key, posterior, spec)
    d = posterior.w0.size
    k = min(d, max(RANK, spec.d_latent if spec.algo == "flow" else 0))
    curvature, products = posterior, 0.0
    if spec.whitening != "none":
        spectrum, products = _whitened_spectrum(spectrum_key, posterior, points, scale, k)
        one, zero = jnp.ones_like(posterior.nbeta), jnp.zeros_like(posterior.gamma)
        curvature = eqx.tree_at(lambda p: (p.nbeta, p.gamma), posterior, (one, zero))
    elif k > spectrum.theta.size:
        spectrum, products = hessian_spectrum(spectrum_key, posterior, at=points, rank=k)
    inner = laplace(curvature, spectrum)
    inner = eqx.tree_at(lambda c: c.origin, inner, jnp.zeros_like(posterior.w0))
    return Chart(inner, scale, posterior.w0), {"whitening": work + products}
