"""Potentials: loss functions without examples, whose posterior is known."""

from dataclasses import dataclass
from functools import cache, reduce
from operator import mul

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Scalar

from lambda_hat_core.streams import stream
from lambda_hat_core.types import Batch, Weights

REFLECTIONS = 4
"""Householder reflections per rotation: 4 d numbers couple all coordinates."""


@dataclass(frozen=True)
class Potential:
    """A loss without per-example values."""

    @property
    def has_per_example(self) -> bool:
        """Return False: there are no examples."""
        return False

    def per_example(self, w: Weights, batch: Batch) -> Float[Array, " n"]:
        """Raise an error, because there are no examples.

        Raises:
            TypeError: always.
        """
        del w, batch
        raise TypeError(f"{type(self).__name__} has no examples; check has_per_example first")


@dataclass(frozen=True)
class QuadraticPotential(Potential):
    """L(w) = 1/2 sum_i h_i (Q^T w)_i^2, Q a product of random reflections, O(d) memory.

    Attributes:
        d: number of dimensions.
        condition: h_max divided by the smallest positive h_i.
        h_max: the largest h_i.
        rank: number of positive h_i; None: d.
        spectrum: h_i, or None for `rank` log-spaced values from h_max down to h_max / condition,
            then zeros.
        seed: seed of Q; None: Q = I.
    """

    d: int
    condition: float = 1.0
    h_max: float = 1.0
    rank: int | None = None
    spectrum: tuple[float, ...] | None = None
    seed: int | None = None

    def eigenvalues(self) -> Float[np.ndarray, " d"]:
        """Return the h_i."""
        if self.spectrum is not None:
            return np.asarray(self.spectrum, np.float64)
        rank = self.d if self.rank is None else self.rank
        exponents = np.linspace(0.0, 1.0, rank) if rank > 1 else np.zeros(rank)
        values = np.zeros(self.d)
        values[:rank] = self.h_max * self.condition**-exponents
        return values

    def mean(self, w: Weights, batch: Batch) -> Scalar:
        """Return L(w); `batch` is ignored."""
        del batch
        if self.seed is not None:
            for vector in jnp.asarray(_reflections(self.seed, self.d), w.dtype):
                w = w - 2 * vector * jnp.sum(vector * w)
        return 0.5 * jnp.sum(jnp.asarray(self.eigenvalues(), w.dtype) * w**2)


@cache
def _reflections(seed: int, d: int) -> Float[np.ndarray, "reflection d"]:
    """Return unit vectors, which do not depend on the process's dtype or on tracing."""
    with jax.ensure_compile_time_eval():
        bits = np.asarray(jr.bits(stream(seed, "rotation"), (REFLECTIONS, d), "uint32"))
    vectors = (bits.astype(np.float64) + 0.5) / 2.0**32 - 0.5
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@dataclass(frozen=True)
class NormalCrossingPotential(Potential):
    """L(w) = prod_i w_i^(2 k_i), where `powers` are the k_i."""

    powers: tuple[int, ...]

    def mean(self, w: Weights, batch: Batch) -> Scalar:
        """Return L(w); `batch` is ignored."""
        del batch
        factors: list[Array] = [(w[i] ** 2) ** k for i, k in enumerate(self.powers) if k > 0]
        return reduce(mul, factors)
