"""Linear coordinates in which the posterior is rounder: w = w0 + A u.

Only coordinates change; the target and its localiser stay what they are. `lanczos` takes
A = (nbeta H + gamma)^(-1/2) from the Ritz pairs at w*, O(k d) an application.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Scalar

from lambda_hat_core.linalg.spectrum import Spectrum
from lambda_hat_core.posterior import Posterior
from lambda_hat_core.programs import quickly
from lambda_hat_core.types import Weights, constant


class Coordinates(eqx.Module):
    """A = diag(scale) + V^T diag(extra) V, symmetric; V is empty for a diagonal metric.

    `vectors` and a scale that is not constant are never combined. Products with `vectors` are in
    full precision: a stiff direction is what is left of a difference, which a GPU's TF32 would not
    resolve.
    """

    origin: Weights
    scale: Weights
    vectors: Float[Array, "k d"]
    extra: Float[Array, " k"]
    inverse_extra: Float[Array, " k"]

    def to_w(self, u: Weights) -> Weights:
        """w = w0 + A u."""
        return self.origin + self.apply(u)

    def to_u(self, w: Weights) -> Weights:
        """u = A^(-1) (w - w0)."""
        return self.inverse(w - self.origin)

    def gradient_to_w(self, gradient: Weights) -> Weights:
        """grad_w f from grad_u f."""
        return self.inverse(gradient)

    def apply(self, v: Weights) -> Weights:
        """A v: a momentum as a velocity of w, or grad_u f from grad_w f."""
        with jax.default_matmul_precision("highest"):
            return self.scale * v + (self.extra * (self.vectors @ v)) @ self.vectors

    def scaled(
        self, vs: Float[Array, "m d"], power: tuple[int, ...], more: Float[Array, "m mode"]
    ) -> Float[Array, "m d"]:
        """A^power M v for each of several vectors, reading the basis only once for all of them.

        Each M is diagonal in the basis of A, as `more` says: its values along `vectors`, and last
        its value on their complement. Not for a metric with different scales.
        """
        widths = jnp.append(self.scale[0] + self.extra, self.scale[0])
        sizes = jnp.stack([widths**p for p in power]) * more
        along, rest = sizes[:, :-1], sizes[:, -1:]
        with jax.default_matmul_precision("highest"):
            # `vs @ vectors.T` is the same product, but takes twice as long on a CPU.
            inside = (self.vectors @ vs.T).T
            return rest * vs + ((along - rest) * inside) @ self.vectors

    def inverse(self, v: Weights) -> Weights:
        """A^(-1) v."""
        with jax.default_matmul_precision("highest"):
            return v / self.scale + (self.inverse_extra * (self.vectors @ v)) @ self.vectors


@quickly
def diagonal(posterior: Posterior, scale: Weights | Scalar) -> Coordinates:
    """A = diag(scale), where a single number stands for all of them."""
    scale = jnp.broadcast_to(scale, posterior.w0.shape)
    w0 = posterior.w0
    empty = jnp.zeros((0,), w0.dtype)
    return Coordinates(w0, scale, jnp.zeros((0, w0.size), w0.dtype), empty, empty)


def identity(posterior: Posterior) -> Coordinates:
    """A = I."""
    return diagonal(posterior, constant(1.0, posterior.w0))


@quickly
def laplace(posterior: Posterior, spectrum: Spectrum) -> Coordinates:
    """A = (nbeta H + gamma)^(-1/2), low rank plus a constant.

    Negative curvature counts by its size; flat directions without localisation are held at 1e-8
    of the stiffest.
    """
    precision = posterior.nbeta * jnp.abs(spectrum.theta) + posterior.gamma
    rest = posterior.nbeta * spectrum.rest + posterior.gamma
    stiffest = jnp.maximum(jnp.max(precision), rest)
    floor = jnp.where(stiffest > 0, 1e-8 * stiffest, 1.0)
    width = 1 / jnp.sqrt(jnp.maximum(precision, floor))
    common = 1 / jnp.sqrt(jnp.maximum(rest, floor))
    return Coordinates(
        posterior.w0,
        jnp.full_like(posterior.w0, common),
        spectrum.vectors,
        width - common,
        1 / width - 1 / common,
    )


def damped(posterior: Posterior, spectrum: Spectrum, damping: float) -> Coordinates:
    """A = (nbeta |H| + (1 + damping) gamma)^(-1/2), low rank plus a constant.

    Curvature turns with w: a direction that is flat on average is curved at single points, where a
    step as long as the localiser is wide leaves the basin. Damping shortens the flat directions, to
    1 / sqrt(1 + damping) of the localiser's width. The complement of the Ritz pairs counts as being
    as stiff as the flattest of them.
    """
    return _damped(posterior, spectrum, constant(damping, posterior.w0))


@quickly
def _damped(posterior: Posterior, spectrum: Spectrum, damping: Scalar) -> Coordinates:
    stiff = posterior.nbeta * jnp.abs(spectrum.theta)
    largest = jnp.max(stiff)
    soft = (1 + damping) * posterior.gamma
    soft = jnp.maximum(soft, jnp.where(largest > 0, 1e-6 * largest, 1.0))
    k, d = spectrum.vectors.shape
    everywhere = jnp.min(stiff) if k < d else jnp.zeros_like(largest)
    common = 1 / jnp.sqrt(everywhere + soft)
    width = 1 / jnp.sqrt(stiff + soft)
    return Coordinates(
        posterior.w0,
        jnp.full_like(posterior.w0, common),
        spectrum.vectors,
        width - common,
        1 / width - 1 / common,
    )
