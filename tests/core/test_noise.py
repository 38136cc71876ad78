"""Generators against published vectors and jax.random; normals against scipy and a battery."""

from collections.abc import Callable
from functools import cache, partial

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy import special, stats

from lambda_hat_core import counters
from lambda_hat_core.samplers.noise import _grid, _single, standard_normal

GENERATORS = ("threefry", "philox")
PI = "243f6a88 85a308d3 13198a2e 03707344 a4093822 299f31d0"
ONES = " ".join(["ffffffff"] * 6)
ZEROS = " ".join(["00000000"] * 6)
STEPS, CHAINS, D = 64, 4, 5003
Z_MAX = 5.0
"""Below 1e-3 by chance over a battery of under 1000 normal statistics."""


def hexadecimal(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


@partial(jax.jit, static_argnums=0)
def philox(rounds: int, key: tuple, counter: tuple) -> tuple:
    return counters.philox4x32(key, counter, rounds)


# Salmon et al. 2011, Random123 1.14: counter (4), key (2) and answer (4) of philox4x32.
PHILOX = [
    (7, ZEROS, "5f6fb709 0d893f64 4f121f81 4f730a48"),
    (7, ONES, "5207ddc2 45165e59 4d8ee751 8c52f662"),
    (7, PI, "4dfccaba 190a87f0 c47362ba b6b5242a"),
    (10, ZEROS, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    (10, ONES, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (10, PI, "d16cfe09 94fdcceb 5001e420 24126ea1"),
]

# The same for threefry2x32-20: counter (2), key (2), answer (2).
THREEFRY = [
    ("00000000 00000000", "00000000 00000000", "6b200159 99ba4efe"),
    ("ffffffff ffffffff", "ffffffff ffffffff", "1cb996fc bb002be7"),
    ("243f6a88 85a308d3", "13198a2e 03707344", "c4923a9c 483df7a0"),
]


@pytest.mark.parametrize(("rounds", "inputs", "answer"), PHILOX)
def test_philox_gives_the_published_answers(rounds, inputs, answer):
    words = np.array(hexadecimal(inputs), np.uint64)
    with jax.enable_x64(True):
        out = philox(rounds, tuple(words[4:]), tuple(words[:4]))
    assert [int(word) for word in out] == hexadecimal(answer)


@pytest.mark.parametrize("seed", [0, 1, 2**31, 2**32 - 1])
def test_the_key_of_a_stream_is_a_key_of_jax_random(seed):
    expected = jr.fold_in(jr.key(np.uint32(seed)), np.uint32(7))
    np.testing.assert_array_equal(jr.key_data(counters.key_of(seed, 7)), jr.key_data(expected))


@pytest.mark.parametrize(("counter", "key", "answer"), THREEFRY)
def test_threefry_gives_the_published_answers(counter, key, answer):
    words = (tuple(np.array(hexadecimal(text), np.uint32)) for text in (key, counter))
    out = jax.jit(counters.threefry2x32)(*words)
    assert [int(word) for word in out] == hexadecimal(answer)


def test_keys_and_bits_are_those_of_jax_random():
    @jax.jit
    def both(key):
        return [
            (jr.key_data(counters.fold_in(key, 5)), jr.key_data(jr.fold_in(key, 5))),
            (jr.key_data(jnp.stack(counters.split(key))), jr.key_data(jr.split(key))),
            *((counters.bits(key, shape), jr.bits(key, shape)) for shape in ((1001,), (3, 5, 7))),
        ]

    key = jr.key(11)
    outside = (
        (jr.key_data(counters.fold_in(key, 5)), jr.key_data(jr.fold_in(key, 5))),
        (jr.key_data(jnp.stack(counters.split(key))), jr.key_data(jr.split(key))),
    )
    for ours, theirs in (*both(key), *outside):
        np.testing.assert_array_equal(ours, theirs)
    with jax.enable_x64(True):
        expected = jax.jit(lambda key: jr.bits(key, (7, 11), jnp.uint64))(key)
    ours = jax.jit(lambda key: counters.long_bits(key, (7, 11)))(key)
    np.testing.assert_array_equal(ours, expected)


def test_philox_words_depend_on_the_key_and_the_block_number():
    key = jr.key(3)
    words = tuple(np.asarray(jr.key_data(key), np.uint64))
    zero = np.uint64(0)
    with jax.enable_x64(True):
        blocks = [philox(10, words, (np.uint64(i), zero, zero, zero)) for i in range(3)]
    first = sorted(int(word) for block in blocks for word in block)
    shapes = (12,), (3, 4), (2, 5)
    flat, matrix, odd = jax.jit(lambda key: [counters.philox_bits(key, s) for s in shapes])(key)
    assert sorted(flat.tolist()) == first
    assert sorted(np.ravel(matrix).tolist()) == first
    assert odd.shape == (2, 5)


@pytest.mark.parametrize("generator", GENERATORS)
@pytest.mark.parametrize("wide", [False, True])
def test_normals_are_the_inverse_cdf_of_their_bits(generator, wide):
    key, size = jr.key(5), 200_001
    draws = {
        ("threefry", False): counters.bits,
        ("philox", False): counters.philox_bits,
        ("threefry", True): counters.long_bits,
        ("philox", True): counters.philox_long_bits,
    }
    grid = _grid(size)
    bits = np.ravel(jax.jit(lambda key: draws[generator, wide](key, grid))(key))[:size]
    like = np.zeros(size, np.float64 if wide else np.float32)
    with jax.enable_x64(wide):
        normals = jax.jit(lambda key, like: standard_normal(key, like, generator))
        got = np.asarray(normals(key, like))
    assert got.dtype == like.dtype
    if wide:
        expected = 2**0.5 * special.erfinv(((bits >> 11) + 0.5) * 2.0**-52 - 1)
        assert np.max(np.abs(got - expected)) < 1e-10
    else:
        expected = 2**0.5 * special.erfcinv(((bits >> 1) + 0.5) * 2.0**-31)
        assert np.array_equal(np.signbit(got), (bits & 1) == 1)
        assert np.max(np.abs(np.abs(got) - expected) / np.maximum(expected, 0.1)) < 3e-6
    assert np.max(np.abs(got)) > 4.0


def test_single_precision_tails_reach_six_sigma():
    bits = np.concatenate([np.arange(4096), np.geomspace(4096, 2**32 - 1, 4096)]).astype(np.uint32)
    got = np.abs(np.asarray(jax.jit(_single)(jnp.asarray(bits))))
    expected = 2**0.5 * special.erfcinv(((bits >> 1) + 0.5) * 2.0**-31)
    near = expected < 5.4
    assert np.max(np.abs(got - expected)[near]) < 1e-5
    assert np.max(np.abs(got / expected - 1)[~near]) < 5e-4
    assert 6.2 < np.max(got) < 6.4


@pytest.mark.parametrize("size", [1, 3, 16, 1000, 1024, 1025, 10_213])
def test_the_grid_of_a_vector_is_not_much_larger_than_the_vector(size):
    rows, columns = _grid(size)
    assert size <= rows * columns < size + 16 * rows
    assert columns <= 1024


@cache
def sample(generator: str) -> np.ndarray:
    """Return normals of shape (step, chain, d), with keys derived as in the driver."""

    def one(chain, step):
        key = counters.fold_in(counters.fold_in(jr.key(17), chain), step)
        return standard_normal(counters.split(key)[1], jnp.zeros(D, jnp.float32), generator)

    draw = jax.jit(jax.vmap(jax.vmap(one, (0, None)), (None, 0)))
    return np.asarray(draw(jnp.arange(CHAINS), jnp.arange(STEPS)), np.float64)


def weak(rounds: int) -> np.ndarray:
    """Return the same from Philox with too few rounds, by the inverse CDF of scipy."""

    def one(chain, step):
        k0, k1 = jr.key_data(jr.fold_in(jr.fold_in(jr.key(17), chain), step))
        block = jax.lax.iota(jnp.uint64, -(-D // 4))
        key = (k0.astype(jnp.uint64), k1.astype(jnp.uint64))
        zero = jnp.zeros_like(block)
        return jnp.concatenate(counters.philox4x32(key, (block, zero, zero, zero), rounds))[:D]

    with jax.enable_x64(True):
        draw = jax.jit(jax.vmap(jax.vmap(one, (0, None)), (None, 0)))
        bits = np.asarray(draw(jnp.arange(CHAINS), jnp.arange(STEPS)))
    return special.ndtri((bits + 0.5) * 2.0**-32)


def moments(x: np.ndarray) -> dict[str, float]:
    """Return z-scores of the first four moments."""
    spread = {1: 1.0, 2: 2.0, 3: 15.0, 4: 96.0}
    mean = {1: 0.0, 2: 1.0, 3: 0.0, 4: 3.0}
    return {
        f"moment {k}": float((np.mean(x**k) - mean[k]) / (spread[k] / x.size) ** 0.5)
        for k in spread
    }


def correlations(x: np.ndarray) -> dict[str, float]:
    """Return z-scores of correlations along dimensions, steps and chains, also of the squares."""
    shifts: dict[str, Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]] = {}
    for lag in (*range(1, 17), 32, 64, 128, 1250, 1251, 2501, 2502, 3752, 3753):
        shifts[f"dimension lag {lag}"] = lambda a, k=lag: (a[..., k:], a[..., :-k])
    for lag in (*range(1, 9), 16, 32):
        shifts[f"step lag {lag}"] = lambda a, k=lag: (a[k:], a[:-k])
        shifts[f"step lag {lag}, dimension 1"] = lambda a, k=lag: (a[k:, :, 1:], a[:-k, :, :-1])
    for lag in (1, 2, 3):
        shifts[f"chain lag {lag}"] = lambda a, k=lag: (a[:, k:], a[:, :-k])
    scores = {}
    for what, values in {"values": x, "squares": (x**2 - 1) / 2**0.5}.items():
        for name, shift in shifts.items():
            a, b = shift(values)
            scores[f"{what}, {name}"] = float(np.sum(a * b) / a.size**0.5)
    return scores


def worst(x: np.ndarray) -> tuple[str, float]:
    """Return the most extreme statistic of the battery."""
    flat = x.reshape(-1)
    p = stats.kstest(flat, "norm").pvalue
    cells = np.floor(special.ndtr(x) * 32).astype(int)
    pairs = np.bincount((32 * cells[..., :-1] + cells[..., 1:]).reshape(-1), minlength=1024)
    chi2 = float(np.sum((pairs - pairs.mean()) ** 2) / pairs.mean())
    scores = {
        **moments(flat),
        **correlations(x),
        "kolmogorov-smirnov": float(special.ndtri(1 - max(p, 1e-300) / 2)),
        "pairs": (chi2 - 1023) / (2 * 1023) ** 0.5,
    }
    name = max(scores, key=lambda name: abs(scores[name]))
    return name, abs(scores[name])


@pytest.mark.parametrize("generator", GENERATORS)
def test_normals_pass_the_battery(generator):
    name, score = worst(sample(generator))
    assert score < Z_MAX, f"{name}: {score:.1f} standard errors"


def test_the_battery_rejects_two_rounds_of_philox():
    assert worst(weak(2))[1] > 2 * Z_MAX
    assert worst(weak(10))[1] < Z_MAX


def test_the_battery_rejects_a_shared_key():
    x = sample("threefry").copy()
    x[:, 1] = x[:, 0]
    assert correlations(x)["values, chain lag 1"] > 2 * Z_MAX


def test_the_generators_differ():
    a, b = sample("threefry"), sample("philox")
    assert abs(np.sum(a * b)) / a.size**0.5 < Z_MAX
    assert not np.array_equal(a, b)


@pytest.mark.parametrize("n", [1, 7, 1000])
def test_indices_are_uniform(n):
    draw = jax.jit(jax.vmap(lambda i: counters.indices(counters.fold_in(jr.key(2), i), 64, n)))
    drawn = np.asarray(draw(jnp.arange(4000)))
    assert drawn.dtype == np.int32
    counts = np.bincount(drawn.reshape(-1), minlength=n)
    assert counts.size == n
    if n > 1:
        assert stats.chisquare(counts).pvalue > 1e-4
        centred = (drawn - (n - 1) / 2) / ((n**2 - 1) / 12) ** 0.5
        assert abs(np.sum(centred[1:] * centred[:-1])) / centred[1:].size ** 0.5 < Z_MAX


def test_indices_do_not_follow_the_noise():
    def one(step):
        batch_key, noise_key = counters.split(counters.fold_in(jr.key(9), step))
        noise = standard_normal(noise_key, jnp.zeros(64, jnp.float32), "threefry")
        return counters.indices(batch_key, 64, 1000), noise

    drawn, noise = (np.asarray(x, np.float64) for x in jax.jit(jax.vmap(one))(jnp.arange(4000)))
    scaled = (drawn - 499.5) / ((1000**2 - 1) / 12) ** 0.5
    assert abs(np.sum(scaled * noise)) / noise.size**0.5 < Z_MAX
