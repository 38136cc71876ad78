"""The known-answer cases of devinterp's test suite, with tolerances against exact finite values.

That suite accepts 3.5 standard deviations between chains, or 40 % of the estimate. Here the exact
posterior mean is known by quadrature, and the tolerance is 4 standard errors.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.signal import fftconvolve

from tests.core import loops
from tests.core.test_peer_mala import well

NBETA = 1000 / math.log(1000)
D = 10
XX, XY = 4.0352, 0.0107
"""Moments of the published sample of x ~ N(0, 4), y ~ N(0, 1/16), which reproduce all 9 values."""


@dataclasses.dataclass(frozen=True)
class Monomial:
    """Mean of (x f(w) - y)^2 minus that of y^2, for f = prod w_i^k_i or f = (w_0 - 1) |w|^4.

    The data select the case, so that all cases share one compilation. They are the powers k, the
    moments of x^2 and x y, and the coordinates of the second f (none for the first), equal in
    every row.
    """

    has_per_example: bool = False

    def mean(self, w, batch):
        k, xx, xy, used = (rows[0] for rows in batch)
        square = w**2
        power = jnp.where(k == 1, w, jnp.where(k == 2, square, jnp.where(k == 3, square * w, 1.0)))
        f = jnp.where(used[0] > 0, (w[0] - 1) * jnp.sum(used * square) ** 2, jnp.prod(power))
        return xx * f**2 - 2 * xy * f

    def per_example(self, w, batch):
        raise ValueError


def setting(w0, *, powers=(), used=0, xy=0.0, gamma=1.0):
    """Return a posterior of `Monomial`."""
    data = (
        jnp.asarray(np.array([*powers, *[0] * (D - len(powers))])),
        jnp.asarray(XX),
        jnp.asarray(xy),
        jnp.asarray(np.array([1.0] * used + [0.0] * (D - used))),
    )
    point = jnp.asarray(np.array([*w0, *[0.0] * (D - len(w0))]))
    return posterior(Monomial(), point, data, gamma=gamma)


def sampled(w0, **fields):
    """Return mean and standard error of NUTS, with steps small enough for walls of a crossing."""
    return nuts(setting(w0, **fields), n_draws=2000, target_acceptance=0.99)


def posterior(loss, w0, data, *, gamma, nbeta=NBETA, n=1000):
    from lambda_hat_core.posterior import Posterior

    rows = tuple(jnp.broadcast_to(values, (n, *values.shape)) for values in data)
    return Posterior(w0, rows, jnp.asarray(nbeta), jnp.asarray(gamma), loss, n)


def nuts(post, **fields):
    from lambda_hat_core.analysis.diagnostics import mcmc_mean
    from lambda_hat_core.config.posterior import PosteriorSpec
    from lambda_hat_core.config.spec import RunSpec
    from lambda_hat_core.sample import sample

    sampler = {"kind": "nuts", "n_chains": 8, "n_warmup": 200, "n_burn": 50, **fields}
    spec = RunSpec(
        target="tgt_000000000000", sampler=sampler, posterior=PosteriorSpec(), dtype="float64"
    )
    with loops.optimised("averaging", "drive"):
        trace = sample(post, spec)
    assert trace.failure is None
    return mcmc_mean(trace.llc)


# Powers, and the published exact value for that sample.
CROSSINGS = (
    ((0, 1), 0.4955),
    ((1, 1), 0.3802),
    ((0, 2), 0.2237),
    ((1, 2), 0.2194),
    ((2, 2), 0.1440),
    ((0, 3), 0.1591),
    ((1, 3), 0.1474),
    ((2, 3), 0.1191),
    ((3, 3), 0.0948),
)


@pytest.mark.parametrize(("powers", "published"), CROSSINGS)
def test_normal_crossings(x64, powers, published):
    """The labels have noise, which moves the minimum away from the origin."""
    from lambda_hat_core.truth import quadrature

    def potential(w):
        f = w[:, 0] ** powers[0] * w[:, 1] ** powers[1]
        return XX * f**2 - 2 * XY * f

    answer = quadrature.potential(potential, np.zeros(2), NBETA, 1.0)
    assert answer == pytest.approx(published, abs=1e-4)
    mean, se, _ = sampled((0.0, 0.0), powers=powers, xy=XY)
    assert se < 0.05 * answer
    assert abs(mean - answer) < 4 * se


def product_answer(point, gamma):
    """Return nbeta E[XX prod w_i^4], by convolving the densities of log |w_i|."""
    step, logs, mass = 2e-3, np.arange(-30.0, 3.0, 2e-3), np.ones(1)
    for centre in point:
        w = np.exp(logs)
        density = w * sum(np.exp(-gamma / 2 * (sign * w - centre) ** 2) for sign in (1, -1))
        mass = fftconvolve(mass, density / density.sum())
    total = len(point) * logs[0] + step * np.arange(mass.size)
    potential = NBETA * XX * np.exp(np.minimum(4 * total, 50.0))
    p = np.maximum(mass, 0.0) * np.exp(-potential)
    return float(np.sum(p * potential) / np.sum(p))


def quintic_answer(first, dim, gamma):
    """Return nbeta E[XX (w_0 - 1)^2 |w|^8], by integrating over w_0 and the length of the rest."""
    length = np.linspace(0, 3, 1201)[1:]
    w0, r = np.meshgrid(np.linspace(-3, 4, 1401), length, indexing="ij")
    potential = NBETA * XX * (w0 - 1) ** 2 * (w0**2 + r**2) ** 4
    log_p = (dim - 2) * np.log(r) - potential - gamma / 2 * ((w0 - first) ** 2 + r**2)
    p = np.exp(log_p - log_p.max())
    return float(np.sum(p * potential) / np.sum(p))


def test_ordinality_of_a_product(x64):
    """w_0^2 w_1^2: the origin is more singular than (1, 0)."""
    means = []
    for point in ((0.0, 0.0), (1.0, 0.0)):
        answer = product_answer(point, 10.0)
        mean, se, _ = sampled(point, powers=(2, 2), gamma=10.0)
        assert se < 0.1 * answer
        assert abs(mean - answer) < 4 * se
        means.append(mean)
    assert means[0] < means[1]


@pytest.mark.parametrize(("dim", "gamma"), [(2, 10.0), (10, 100.0)])
def test_ordinality_of_a_point_and_a_hyperplane(x64, dim, gamma):
    """(w_0 - 1) |w|^4: the origin is more singular than (1, 0, .., 0)."""
    means = []
    for first in (0.0, 1.0):
        answer = quintic_answer(first, dim, gamma)
        mean, se, _ = sampled([first], used=dim, gamma=gamma)
        assert se < 0.05 * answer
        assert abs(mean - answer) < 4 * se
        means.append(mean)
    assert means[0] < means[1]


@dataclasses.dataclass(frozen=True)
class Product:
    """|B A|^2 / outputs, with A and B masked by every row, so all shapes share one compilation."""

    has_per_example: bool = False

    def mean(self, w, batch):
        first, second, outputs = (rows[0] for rows in batch)
        a, b = w.reshape(2, 8, 8) * jnp.stack([first, second])
        return jnp.sum((b @ a) ** 2) / outputs

    def per_example(self, w, batch):
        raise ValueError


def reduced_rank_at_the_origin(inputs, hidden, outputs, nbeta, gamma):
    """Return nbeta E[|B A|^2 / outputs], by integration over the nonzero eigenvalues s of A A^T.

    Given A, B is Gaussian: its integral leaves prod (1 + t s)^(-outputs / 2), t = 2 nbeta /
    (outputs gamma), and the loss is outputs / 2 sum t s / (1 + t s). Under the localiser alone s
    has the density prod s^((|inputs - hidden| - 1) / 2) exp(-gamma s / 2) prod |s_i - s_j|, whose
    integrals are Pfaffians (de Bruijn 1955).
    """
    count = min(inputs, hidden)
    s = np.exp(np.linspace(math.log(1e-12), math.log(120 / gamma), 4000))
    ts = 2 * nbeta / (outputs * gamma) * s
    density = s ** ((abs(inputs - hidden) + 1) / 2) * np.exp(-gamma * s / 2)
    density = density * (1 + ts) ** (-outputs / 2)
    value = outputs / 2 * ts / (1 + ts)

    def log_integral(tilt):
        rows = (gamma * s) ** np.arange(count)[:, None] * density * np.exp(tilt * value)
        rows /= density.sum()
        below = np.cumsum(rows, axis=1) - rows / 2
        pairs = below @ rows.T
        matrix = pairs - pairs.T
        if count % 2:
            edge = rows.sum(axis=1, keepdims=True)
            matrix = np.block([[matrix, edge], [-edge.T, np.zeros((1, 1))]])
        return 0.5 * np.linalg.slogdet(matrix)[1]

    return (log_integral(1e-3) - log_integral(-1e-3)) / 2e-3


# Inputs, hidden, outputs; lambda and m of the published formula at rank 0.
SHAPES = (
    (5, 3, 5, 6.5, 2),
    (5, 4, 5, 8.0, 1),
    (4, 3, 8, 6.0, 1),
    (8, 3, 4, 6.0, 1),
    (3, 8, 4, 6.0, 1),
)


@pytest.mark.parametrize(("inputs", "hidden", "outputs", "llc", "m"), SHAPES)
def test_reduced_rank_on_pure_noise(x64, inputs, hidden, outputs, llc, m):
    """At the origin, whose rank 0 determines lambda."""
    from lambda_hat_core.truth import coefficients

    assert coefficients.reduced_rank(inputs, hidden, outputs, 0) == (llc, m)
    shape = inputs, hidden, outputs
    gamma = 10.0
    cold = reduced_rank_at_the_origin(*shape, 1e9, 1.0)
    assert cold == pytest.approx(llc - (m - 1) / math.log(1e9), rel=0.02)
    answer = reduced_rank_at_the_origin(*shape, NBETA, gamma)
    a = np.zeros((8, 8))
    b = np.zeros((8, 8))
    a[:hidden, :inputs] = b[:outputs, :hidden] = 1.0
    data = jnp.asarray(a), jnp.asarray(b), jnp.asarray(float(outputs))
    mean, se, _ = nuts(posterior(Product(), jnp.zeros(128), data, gamma=gamma), n_draws=500)
    assert se < 0.02 * answer
    assert abs(mean - answer) < 4 * se


def test_sgld_without_noise_is_gradient_descent(x64, monkeypatch):
    from lambda_hat_core.samplers import overdamped
    from lambda_hat_core.samplers.alternating import alternation
    from lambda_hat_core.samplers.coordinates import identity
    from lambda_hat_core.samplers.gradients import plain

    def none(key, like, generator):
        return jnp.zeros_like(like)

    monkeypatch.setattr(overdamped, "standard_normal", none)
    post = well([4, 2], gamma=0.0, nbeta=1.0)
    rate = 0.01
    kernel = overdamped.OverdampedKernel(
        post,
        plain(post, None),
        identity(post),
        alternation(2 * rate, 1, post.w0, extrapolate=False),
        jnp.zeros(1),
        jnp.ones(1),
        "euler",
        "threefry",
    )

    @jax.jit
    def both(key, w):
        state = kernel.init(key, w)
        for _ in range(10):
            state, _ = kernel.step(key, state)
            w = w - rate * jax.grad(post.loss_mean)(w)
        return state.w, w

    moved, expected = both(jr.key(0), np.array([1.0, -2.0]))
    np.testing.assert_allclose(moved, expected, atol=1e-12)
