"""Linear coordinates in which the posterior is rounder: w = w0 + A u.

Only coordinates change; the target and its localiser stay what they are. `lanczos` takes
A = (nbeta H + gamma)^(-1/2) from the Ritz pairs at w*, O(k d) an application.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Scalar

from lambda_hat_core.linalg.spectrum import Spectrum
from lambda_hat_core.posterior import Posterior
from lambda_hat_core.types import AnyArray, Weights, constant


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

    def apply(self, v: Float[AnyArray, " d"]) -> Any:
        """A v: a momentum as a velocity of w, or grad_u f from grad_w f."""
        with jax.default_matmul_precision("highest"):
            return self.scale * v + (self.extra * (self.vectors @ v)) @ self.vectors

    def kick(
        self, gradient: Weights, xi: Weights, sizes: Float[Array, " mode"]
    ) -> tuple[Weights, Weights]:
        """Return A^2 g and A M xi, reading the basis only once for both.

        M is diagonal in the basis of A, as `sizes` says: its values along `vectors`, and last its
        value on their complement. Not for a metric with different scales.
        """
        widths = jnp.append(self.scale[0] + self.extra, self.scale[0])
        each = jnp.stack([widths**2 * jnp.ones_like(sizes), widths * sizes])
        vs, along, rest = jnp.stack([gradient, xi]), each[:, :-1], each[:, -1:]
        with jax.default_matmul_precision("highest"):
            # `vs @ vectors.T` is the same product, but takes twice as long on a CPU.
            inside = (self.vectors @ vs.T).T
            force, noise = rest * vs + ((along - rest) * inside) @ self.vectors
        return force, noise

    def powered(self, vs: Float[AnyArray, "m d"], power: int) -> Any:
        """A^power v for each of several vectors. Not for a metric with different scales."""
        common = self.scale[0]
        along = (common + self.extra) ** power - common**power
        with jax.default_matmul_precision("highest"):
            return common**power * vs + ((vs @ self.vectors.T) * along) @ self.vectors

    def inverse(self, v: Weights) -> Weights:
        """A^(-1) v."""
        with jax.default_matmul_precision("highest"):
            return v / self.scale + (self.inverse_extra * (self.vectors @ v)) @ self.vectors


def diagonal(posterior: Posterior, scale: Weights | Scalar | float) -> Coordinates:
    """A = diag(scale), where a single number stands for all of them."""
    w0 = posterior.w0
    empty = np.zeros(0)
    if isinstance(scale, float):
        scale = constant(np.full(w0.shape, scale), w0)
    return Coordinates(
        w0,
        jnp.broadcast_to(scale, w0.shape),
        constant(np.zeros((0, w0.size)), w0),
        constant(empty, w0),
        constant(empty, w0),
    )


def identity(posterior: Posterior) -> Coordinates:
    """A = I."""
    return diagonal(posterior, 1.0)


def laplace(posterior: Posterior, spectrum: Spectrum) -> Coordinates:
    """A = (nbeta H + gamma)^(-1/2), low rank plus a constant.

    Negative curvature counts by its size; flat directions without localisation are held at 1e-8
    of the stiffest.
    """
    nbeta, gamma = float(posterior.nbeta), float(posterior.gamma)
    precision = nbeta * np.abs(np.asarray(spectrum.theta, np.float64)) + gamma
    rest = nbeta * float(spectrum.rest) + gamma
    stiffest = max(precision.max(), rest)
    floor = 1e-8 * stiffest if stiffest > 0 else 1.0
    return _from_widths(
        posterior,
        spectrum,
        1 / np.sqrt(np.maximum(precision, floor)),
        1 / np.sqrt(max(rest, floor)),
    )


def damped(posterior: Posterior, spectrum: Spectrum, damping: float) -> Coordinates:
    """A = (nbeta |H| + (1 + damping) gamma)^(-1/2), low rank plus a constant.

    Curvature turns with w: a direction that is flat on average is curved at single points, where a
    step as long as the localiser is wide leaves the basin. Damping shortens the flat directions, to
    1 / sqrt(1 + damping) of the localiser's width. The complement of the Ritz pairs counts as being
    as stiff as the flattest of them.
    """
    stiff = float(posterior.nbeta) * np.abs(np.asarray(spectrum.theta, np.float64))
    largest = stiff.max()
    soft = (1 + damping) * float(posterior.gamma)
    soft = max(soft, 1e-6 * largest if largest > 0 else 1.0)
    k, d = spectrum.vectors.shape
    everywhere = stiff.min() if k < d else 0.0
    return _from_widths(
        posterior, spectrum, 1 / np.sqrt(stiff + soft), 1 / np.sqrt(everywhere + soft)
    )


def _from_widths(
    posterior: Posterior, spectrum: Spectrum, width: Float[np.ndarray, " k"], common: float
) -> Coordinates:
    """A has these widths along the vectors of the spectrum, and one on their complement."""
    w0 = posterior.w0
    return Coordinates(
        w0,
        constant(np.full(w0.shape, common), w0),
        spectrum.vectors,
        constant(width - common, w0),
        constant(1 / width - 1 / common, w0),
    )
