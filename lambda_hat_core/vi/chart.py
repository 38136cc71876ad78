"""The coordinates of a variational family: w = w* + S A u.

S is the diagonal whitening and A = K^(-1/2), K = S (nbeta H + gamma) S, low rank plus a constant
from Lanczos. In these coordinates the Laplace Gaussian N(w*, (nbeta H + gamma)^-1) is N(0, I). The
target and its localiser |w - w*|^2 are not changed.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Scalar

from lambda_hat_core.samplers.coordinates import Coordinates
from lambda_hat_core.types import Weights


class Chart(eqx.Module):
    """The map from u to w.

    Attributes:
        coordinates: A around the origin 0, with its vectors in ascending order of curvature.
        scale: the diagonal of S.
        origin: w*.
    """

    coordinates: Coordinates
    scale: Weights
    origin: Weights

    def displacement(self, u: Weights) -> Weights:
        """Return w - w*."""
        return self.scale * self.coordinates.to_w(u)

    def to_w(self, u: Weights) -> Weights:
        """Return the point w."""
        return self.origin + self.displacement(u)

    @property
    def log_det(self) -> Scalar:
        """The log of the Jacobian determinant, log |dw/du|."""
        common = self.coordinates.scale
        widths = 1 + self.coordinates.extra / common[0]
        return jnp.sum(jnp.log(self.scale * common)) + jnp.sum(jnp.log(widths))

    def flattest(self, count: int) -> Float[Array, "k d"]:
        """Return the `count` known directions of least curvature as orthonormal rows."""
        return self.coordinates.vectors[:count]

    def pull_back(self, v: Weights, latent: int) -> Weights:
        """Return P A S v, where P projects out the first `latent` vectors of the chart."""
        pulled = self.coordinates.to_w(self.scale * v)
        vectors = self.coordinates.vectors[:latent]
        return pulled - (vectors @ pulled) @ vectors

    def column_norms(self, latent: int) -> Weights:
        """Return |S A P e_j|^2 for every axis j, with P as in `pull_back`."""
        vectors, common = self.coordinates.vectors, self.coordinates.scale[0]
        extra = self.coordinates.extra.at[:latent].set(-common)
        gram = (vectors * self.scale**2) @ vectors.T
        weighted = extra[:, None] * vectors
        square = jnp.sum(weighted * (gram @ weighted), axis=0)
        cross = 2 * common * jnp.sum(weighted * vectors, axis=0)
        return self.scale**2 * (common**2 + cross) + square
