"""Counter-based generators (Salmon et al. 2011, SC11, doi:10.1145/2063384.2063405).

`fold_in`, `split` and `bits` return bit for bit what jax.random returns for a threefry key. They
are implemented here because on CPUs jax.random compiles the rounds into loops over arrays, whereas
unrolled rounds fuse into one pass, which generates bits 2 to 3 times faster. In programs `fold_in`
and `split` are jitted, so that unrolled rounds, which take long to trace, are traced once. Outside
of programs NumPy computes them: a program would take a fifth of a second to trace and compile.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Int, Int32, PRNGKeyArray, UInt32, UInt64

from lambda_hat_core.types import AnyArray

Words = tuple[UInt32[Array, "..."], UInt32[Array, "..."]]
HostWords = tuple[UInt32[np.ndarray, " 1"], UInt32[np.ndarray, " 1"]]

# Salmon et al. 2011, section 3: rotations and parity of Threefry2x32; multipliers of Philox4x32 and
# the Weyl increments of its keys, from the golden ratio and sqrt(3) - 1.
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_PHILOX_ROUNDS = 10
_LOW = 0xFFFFFFFF


def threefry2x32(key: tuple[Any, Any], counter: tuple[Any, Any]) -> tuple[Any, Any]:
    """Return the two output words of Threefry2x32-20 for two key and two counter words.

    They are arrays of JAX or of NumPy, whose integers must not be promoted to others.
    """
    keys = (*key, key[0] ^ key[1] ^ np.uint32(_PARITY))
    x, y = counter[0] + keys[0], counter[1] + keys[1]
    for group in range(5):
        for rotation in _ROTATIONS[group % 2]:
            x = x + y
            y = x ^ (y << np.uint32(rotation) | y >> np.uint32(32 - rotation))
        x = x + keys[(group + 1) % 3]
        y = y + keys[(group + 2) % 3] + np.uint32(group + 1)
    return x, y


def philox4x32(
    key: tuple[UInt64[Array, "..."], ...],
    counter: tuple[UInt64[Array, "..."], ...],
    rounds: int = _PHILOX_ROUNDS,
) -> tuple[UInt64[Array, "..."], ...]:
    """Return the four output words of Philox4x32 for two key and four counter words.

    Each 32-bit word is stored in 64 bits, so 64-bit types must be enabled.
    """
    low = jnp.uint64(_LOW)
    k0, k1 = key
    a, b, c, d = counter
    for _ in range(rounds):
        p, q = a * jnp.uint64(_MULTIPLIERS[0]), c * jnp.uint64(_MULTIPLIERS[1])
        a, b, c, d = (q >> 32) ^ b ^ k0, q & low, (p >> 32) ^ d ^ k1, p & low
        k0, k1 = (k0 + jnp.uint64(_WEYL[0])) & low, (k1 + jnp.uint64(_WEYL[1])) & low
    return a, b, c, d


def _words(key: PRNGKeyArray) -> Words:
    high, low = jr.key_data(key)
    return high, low


def _key(words: Words) -> PRNGKeyArray:
    return _wrapped(jnp.stack(words, axis=-1))


def _wrapped(words: UInt32[Array, "... 2"]) -> PRNGKeyArray:
    return jr.wrap_key_data(words, impl="threefry2x32")


def _hosted(key: HostWords, counters: UInt32[np.ndarray, " count"]) -> list[PRNGKeyArray]:
    """Return as many keys, computed by NumPy."""
    counter = np.zeros_like(counters), counters
    words = threefry2x32(key, counter)
    return [_wrapped(jax.device_put(pair)) for pair in np.stack(words, axis=-1)]


def _host_words(key: PRNGKeyArray) -> HostWords:
    words = np.asarray(jr.key_data(key))
    return words[:1], words[1:]


def key_of(seed: int, name: int) -> PRNGKeyArray:
    """Return what fold_in(jax.random.key(seed), name) returns, for numbers of 32 bits."""
    words = np.array([0, seed], np.uint32)
    return _hosted((words[:1], words[1:]), np.array([name], np.uint32))[0]


def _below(shape: tuple[int, ...]) -> Words:
    """Return counters 0, 1, ... in the order of a flattened array of this shape."""
    index, stride = jnp.zeros(shape, jnp.uint32), 1
    for axis in reversed(range(len(shape))):
        index = index + jax.lax.broadcasted_iota(jnp.uint32, shape, axis) * jnp.uint32(stride)
        stride *= shape[axis]
    return jnp.zeros_like(index), index


def fold_in(key: PRNGKeyArray, data: Int[AnyArray, ""] | int) -> PRNGKeyArray:
    """Return key number `data` derived from `key`, as jax.random.fold_in does."""
    if isinstance(key, Tracer) or isinstance(data, Tracer):
        return _folded(key, data)
    return _hosted(_host_words(key), np.asarray(data).astype(np.uint32).reshape(1))[0]


@partial(jax.jit, inline=True)
def _folded(key: PRNGKeyArray, data: Int[AnyArray, ""] | int) -> PRNGKeyArray:
    low = jnp.asarray(data).astype(jnp.uint32)
    return _key(threefry2x32(_words(key), (jnp.zeros_like(low), low)))


def split(key: PRNGKeyArray) -> tuple[PRNGKeyArray, PRNGKeyArray]:
    """Return two keys derived from `key`, as jax.random.split does."""
    if isinstance(key, Tracer):
        return _halves(key)
    first, second = _hosted(_host_words(key), np.arange(2, dtype=np.uint32))
    return first, second


@partial(jax.jit, inline=True)
def _halves(key: PRNGKeyArray) -> tuple[PRNGKeyArray, PRNGKeyArray]:
    words = threefry2x32(_words(key), _below((2,)))
    first, second = jax.lax.optimization_barrier(jnp.stack(words, axis=-1))
    return _wrapped(first), _wrapped(second)


def bits(key: PRNGKeyArray, shape: tuple[int, ...]) -> UInt32[Array, "..."]:
    """Return an array of 32 random bits each, as jax.random.bits does."""
    high, low = threefry2x32(_words(key), _below(shape))
    return high ^ low


def long_bits(key: PRNGKeyArray, shape: tuple[int, ...]) -> UInt64[Array, "..."]:
    """Return an array of 64 random bits each, as jax.random.bits does with 64-bit types on."""
    high, low = threefry2x32(_words(key), _below(shape))
    with jax.enable_x64(True):
        return high.astype(jnp.uint64) << 32 | low.astype(jnp.uint64)


def philox_bits(key: PRNGKeyArray, shape: tuple[int, ...]) -> UInt32[Array, "..."]:
    """Return an array of 32 random bits each, four per block of Philox4x32-10 on the last axis.

    Only the first counter word counts blocks, so one key yields 2^34 numbers. The barriers prevent
    XLA from computing a block again for each of its words.
    """
    *rows, columns = shape
    _, block = _below((*rows, -(-columns // 4)))
    with jax.enable_x64(True):
        block = block.astype(jnp.uint64)
        zero = jnp.zeros_like(block)
        key_words = tuple(word.astype(jnp.uint64) for word in _words(key))
        a, b, c, d = philox4x32(key_words, (block, zero, zero, zero))
        pairs = jax.lax.optimization_barrier((a | b << 32, c | d << 32))
        words = jax.lax.bitcast_convert_type(jnp.concatenate(pairs, axis=-1), jnp.uint32)
    return jax.lax.optimization_barrier(words.reshape(*rows, -1))[..., :columns]


def philox_long_bits(key: PRNGKeyArray, shape: tuple[int, ...]) -> UInt64[Array, "..."]:
    """Return an array of 64 random bits each, two per block of Philox4x32-10."""
    *rows, columns = shape
    words = philox_bits(key, (*rows, 2 * columns)).reshape(*shape, 2)
    with jax.enable_x64(True):
        return jax.lax.bitcast_convert_type(words, jnp.uint64)


def indices(key: PRNGKeyArray, size: int, n: int) -> Int32[Array, " size"]:
    """Draw `size` integers from 0 .. n - 1, each with a probability within n / 2^64 of 1 / n.

    The barrier prevents XLA from drawing them, and compiling that, anew for every array that is
    indexed.
    """
    high, low = threefry2x32(_words(key), _below((size,)))
    with jax.enable_x64(True):
        carry = (low.astype(jnp.uint64) * jnp.uint64(n)) >> 32
        drawn = ((high.astype(jnp.uint64) * jnp.uint64(n) + carry) >> 32).astype(jnp.int32)
    return jax.lax.optimization_barrier(drawn)
