"""The MALA cases of devinterp's test suite: acceptance probabilities and acceptance rates."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

NBETA = 1000 / math.log(1000)


@dataclasses.dataclass(frozen=True)
class Powers:
    """sum_i w_i^p_i; the exponents are data, so that all cases share one compilation."""

    has_per_example: bool = False

    def mean(self, w, batch):
        (p,) = batch
        return jnp.sum(jnp.where(p == 2, w**2, jnp.where(p == 4, w**4, (p == 8) * w**8)))

    def per_example(self, w, batch):
        raise ValueError


def well(exponents, *, gamma, nbeta=NBETA):
    from lambda_hat_core.posterior import Posterior

    constants = jnp.asarray(nbeta), jnp.asarray(gamma)
    return Posterior(jnp.zeros(2), (jnp.asarray(exponents),), *constants, Powers(), 1000)


def acceptance(here, there, eps):
    """Return MALA's acceptance probability for U = |w|^2 / 2, from its definition."""
    here, there = np.asarray(here), np.asarray(there)

    def log_move(a, b):
        return -np.sum((b - a + eps / 2 * a) ** 2) / (2 * eps)

    log = 0.5 * (here @ here - there @ there) + log_move(there, here) - log_move(here, there)
    return min(1.0, math.exp(log))


@pytest.mark.parametrize(
    ("here", "there", "eps", "published"),
    [
        ((0.0, 0.0), (1.5, 5.5), 0.1, 0.6661436),
        ((1.0, 1.0), (1.5, 0.5), 0.5, 0.9692332),
        ((0.0, 0.0), (10.5, 5.5), 0.1, 0.17268492),
        ((0.0, 0.0), (10.5, 5.5), 0.5, 0.00015359),
    ],
)
def test_the_probability_is_the_published_one(here, there, eps, published):
    assert acceptance(here, there, eps) == pytest.approx(published, abs=1e-5)


def test_mala_accepts_with_that_probability(x64):
    from lambda_hat_core.samplers import coordinates, mala

    post = well([2, 2], gamma=0.0, nbeta=0.5)
    eps = 0.5
    kernel = mala.MalaKernel(post, coordinates.identity(post), jnp.asarray(eps**0.5))

    @jax.jit
    def moves(key, w):
        state = kernel.init(key, w)
        return jax.vmap(lambda key: kernel.step(key, state))(jr.split(key, 40))

    after, stats = moves(jr.key(1), np.array([1.5, -2.0]))
    moved = np.flatnonzero(np.asarray(after.position[:, 0]) != 1.5)
    assert moved.size > 20
    for i in moved:
        expected = acceptance((1.5, -2.0), after.position[i], eps)
        assert float(stats["acceptance_rate"][i]) == pytest.approx(expected, rel=1e-9)


# Exponents, eps, gamma, published acceptance at n = 1000.
RATES = (
    ((2,), 1e-2, 100.0, 0.59),
    ((2,), 1e-2, 0.1, 0.73),
    ((2,), 1e-3, 100.0, 0.98),
    ((4,), 1.5e-2, 100.0, 0.85),
    ((4,), 1.5e-2, 1.0, 0.935),
    ((4,), 1.5e-5, 100.0, 0.999),
    ((8,), 1.5e-2, 100.0, 0.87),
    ((8,), 1e-2, 0.1, 0.97),
    ((8,), 1e-5, 100.0, 0.999),
    ((2, 2), 1e-3, 100.0, 0.971),
    ((2, 2), 1e-2, 100.0, 0.54),
    ((2, 2), 3e-3, 0.01, 0.91),
    ((0, 2), 2e-3, 100.0, 0.95),
    ((4, 0), 1e-3, 100.0, 0.995),
    ((4, 4), 1e-2, 100.0, 0.87),
)


def test_acceptance_rates(x64):
    """The published rates are those of SGLD's proposals along its own path, as they are here.

    A path may escape where the wall is steep (w^8), so the median over chains is compared.
    """
    from lambda_hat_core.samplers import coordinates, mala

    def rate(key, exponents, widths, eps, gamma):
        post = well(exponents, gamma=gamma)
        kernel = mala.MalaKernel(post, coordinates.diagonal(post, widths), jnp.sqrt(eps))
        grad = jax.grad(kernel.log_density)

        def advance(u, key):
            move_key, key = jr.split(key)
            _, stats = kernel.step(key, kernel.init(key, kernel.coordinates.to_w(u)))
            u = u + eps / 2 * grad(u) + jnp.sqrt(eps) * jr.normal(move_key, (2,))
            return u, stats["acceptance_rate"]

        return jnp.mean(jax.lax.scan(advance, jnp.zeros(2), jr.split(key, 5000))[1])

    # For one-dimensional cases the second coordinate has almost no width.
    widths = [(1.0, 1.0 if len(p) == 2 else 1e-9) for p, *_ in RATES]
    columns = (
        np.array([(*p, 0)[:2] for p, *_ in RATES]),
        np.array(widths),
        np.array([eps for _, eps, _, _ in RATES]),
        np.array([gamma for _, _, gamma, _ in RATES]),
    )
    keys = jr.split(jr.key(0), (len(RATES), 8))
    chains = jax.vmap(rate, in_axes=(0, None, None, None, None))
    measured = np.median(jax.jit(jax.vmap(chains))(keys, *columns), axis=1)
    published = np.array([value for *_, value in RATES])
    np.testing.assert_allclose(measured, published, atol=0.012)
