r"""The Gaussian noise that Langevin samplers inject.

xi = sqrt(2) erfinv(x) with x uniform on (-1, 1), from the bits of the generator `threefry` (the
same bits as jax.random) or `philox`. In float32 erfinv is the pair of polynomials in
w = -log(1 - x^2) of Giles 2010 (GPU Computing Gems 2, ch. 10). The random bits give 1 - |x|, so
that the 31 bits reach 6.2 standard deviations; jax.random.normal reaches 5.4. XLA fuses this log
with the operations around it, which it does not do with lax.erf_inv.
"""

from typing import Literal, assert_never

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32, Float64, PRNGKeyArray, UInt32, UInt64

from lambda_hat_core import counters
from lambda_hat_core.types import Weights

Generator = Literal["threefry", "philox"]

_ROW, _LANES = 1024, 16

# Giles 2010, table 5: erfinv(x) / x as a polynomial in w - 2.5 for w < 5, else in sqrt(w) - 3.
_CENTRE = (
    2.81022636e-08,
    3.43273939e-07,
    -3.5233877e-06,
    -4.39150654e-06,
    0.00021858087,
    -0.00125372503,
    -0.00417768164,
    0.246640727,
    1.50140941,
)
_TAIL = (
    -0.000200214257,
    0.000100950558,
    0.00134934322,
    -0.00367342844,
    0.00573950773,
    -0.0076224613,
    0.00943887047,
    1.00167406,
    2.83297682,
)


def standard_normal(key: PRNGKeyArray, like: Weights, generator: Generator) -> Weights:
    """Return N(0, I) noise of the shape and dtype of `like`.

    The optimization barrier prevents XLA from computing the noise again wherever it is used.
    """
    long = like.dtype == jnp.float64
    match generator:
        case "threefry":
            draw = counters.long_bits if long else counters.bits
        case "philox":
            draw = counters.philox_long_bits if long else counters.philox_bits
        case _:
            assert_never(generator)
    values = draw(key, _grid(like.size))
    noise = jax.lax.optimization_barrier(_double(values) if long else _single(values))
    return noise.reshape(-1)[: like.size]


def _grid(size: int) -> tuple[int, int]:
    """Return the shape of a matrix with at least `size` entries.

    With several threads XLA divides a long loop along the first axis of the array. If the array is
    a vector, the parts are compiled without vector instructions, which is ten times slower at
    d = 1e4.
    """
    rows = -(-size // _ROW)
    return rows, -(-size // (rows * _LANES)) * _LANES


def _horner(coefficients: tuple[float, ...], x: Float32[Array, "..."]) -> Float32[Array, "..."]:
    total = jnp.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        total = total * x + coefficient
    return total


def _single(bits: UInt32[Array, "..."]) -> Float32[Array, "..."]:
    """Return normal numbers; the lowest bit of each word is the sign, the others give 1 - |x|."""
    rest = ((bits >> 1).astype(jnp.int32).astype(jnp.float32) + 0.5) * 2.0**-31
    w = -jnp.log(rest * (2 - rest))
    slope = jnp.where(w < 5, _horner(_CENTRE, w - 2.5), _horner(_TAIL, jnp.sqrt(w) - 3))
    size = 2**0.5 * slope * (1 - rest)
    return jnp.where(bits & 1, -size, size)


def _double(bits: UInt64[Array, "..."]) -> Float64[Array, "..."]:
    """Return normal numbers; the first 53 bits of each word give x."""
    x = ((bits >> 11).astype(jnp.float64) + 0.5) * 2.0**-52 - 1
    return 2**0.5 * jax.lax.erf_inv(x)
