"""Every step against its equation in numpy, and whether Metropolis tests accept correctly."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from lambda_hat_core.posterior import Posterior
from tests.core.surfaces import DiagonalQuadratic

H = np.array([4.0, 2.0, 1.0, 0.1])
W0 = np.array([1.0, -2.0, 0.5, 3.0])
NBETA, GAMMA = 10.0, 2.0
STEPS, BURN = 7, 4
SHORT = 0.01
BETA1, BETA2, EPS = 0.8, 0.9, 1e-3


def posterior():
    """With examples that the loss does not depend on: a batch of them changes nothing."""
    return Posterior(
        w0=jnp.asarray(W0),
        data=jnp.zeros(100),
        nbeta=jnp.asarray(NBETA),
        gamma=jnp.asarray(GAMMA),
        loss=DiagonalQuadratic(tuple(H)),
        n=100,
    )


def slope(w):
    """Return the gradient of U, computed by hand."""
    return NBETA * H * w + GAMMA * (w - W0)


NOISE = np.array([0.7, -1.2, 0.3, 1.9])


@pytest.fixture
def stepped(x64, monkeypatch):
    """A function from a kernel and a state to the states after each step, with known noise."""

    def run(module, kernel, state):
        fixed = jnp.asarray(NOISE)
        monkeypatch.setattr(module, "standard_normal", lambda key, like, generator: fixed)
        step = jax.jit(lambda key, state: kernel.step(key, state)[0])
        for key in jr.split(jr.key(0), STEPS):
            state = step(key, state)
            yield jax.tree.map(np.asarray, state)

    return run


@pytest.mark.parametrize(
    ("precond", "freeze", "bias_correction"),
    [
        ("rmsprop", True, True),
        ("rmsprop", True, False),
        ("rmsprop", False, True),
        ("adam", True, True),
        ("adam", False, False),
    ],
)
def test_sgld_is_its_equation(stepped, precond, freeze, bias_correction):
    """Before and after the end of burn-in, when the preconditioner is frozen."""
    from lambda_hat_core.config.samplers.stochastic import Sgld
    from lambda_hat_core.samplers import sgld

    moments = {"beta2": BETA2, "eps": EPS, "bias_correction": bias_correction}
    moments |= {"beta1": BETA1} if precond == "adam" else {}
    spec = Sgld(batch_size=None, precond=precond, freeze_preconditioner=freeze, **moments)
    kernel = sgld.SgldKernel(posterior(), jnp.asarray(SHORT), jnp.asarray(1.0 * BURN), spec, None)
    found = stepped(sgld, kernel, kernel.init(jr.key(0), jnp.asarray(W0 + 1)))

    w, v, m = W0 + 1, np.ones_like(W0), np.zeros_like(W0)
    for t, state in enumerate(found, start=1):
        g = H * w
        seen = min(t, BURN) if freeze else t
        if t == seen:
            v = BETA2 * v + (1 - BETA2) * g**2
        m = BETA1 * m + (1 - BETA1) * g
        v_hat, m_hat = v, m
        if bias_correction:
            v_hat, m_hat = v / (1 - BETA2**seen), m / (1 - BETA1**t)
        p = 1 / (np.sqrt(v_hat) + EPS)
        drift = m_hat if precond == "adam" else g
        force = GAMMA * (w - W0) + NBETA * drift
        w = w - SHORT / 2 * p * force + np.sqrt(SHORT * p) * NOISE
        np.testing.assert_allclose(state.w, w, rtol=1e-12, err_msg=f"step {t}")


STEP = 0.1
SIZES = [1.0, 0.5, 1.0, 0.5, 1.0, 0.5, 1.0]
"""Every other step is half as long."""
BEFORE = [0.0, *SIZES[:-1]]
"""Of the step before, of which there is none at first."""
HEAT, MU = np.array([0.3, 2.0, 4.0, 1.0]), np.array([0.5, 0.8, 0.9, 0.4])
"""Of three vectors of the metric and of what they leave out."""


def in_metric(precond, batch_size):
    """Return the parts of a kernel, the rows of a basis, the metric's width along each, and B."""
    from lambda_hat_core.linalg.spectrum import Spectrum
    from lambda_hat_core.samplers import coordinates
    from lambda_hat_core.samplers.alternating import Alternation
    from lambda_hat_core.samplers.gradients import plain

    at = posterior()
    parts = at, plain(at, batch_size)
    alternation = Alternation(jnp.asarray(STEP), jnp.asarray(1.0))
    if precond == "none":
        space = coordinates.identity(at)
        return (*parts, space, alternation), np.eye(4), np.ones(4), np.zeros(1), np.ones(1)
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    theta = np.array([0.5, 1.0, 4.0])
    known = Spectrum(jnp.asarray(theta), jnp.asarray(basis[:3]), jnp.asarray(0.3))
    # The complement counts as being as stiff as the flattest pair.
    widths = 1 / np.sqrt(NBETA * theta[[0, 1, 2, 0]] + 6 * GAMMA)
    return (*parts, coordinates.damped(at, known, 5.0), alternation), basis, widths, HEAT, MU


METRICS = pytest.mark.parametrize(
    ("precond", "batch_size"), [("none", None), ("none", 5), ("lanczos", None), ("lanczos", 5)]
)


@METRICS
def test_sghmc_is_its_equation(stepped, precond, batch_size):
    """With less noise where that of minibatches is known, and half steps of the same friction."""
    from lambda_hat_core.samplers import sghmc

    parts, basis, widths, heat, _ = in_metric(precond, batch_size)
    kernel = sghmc.SghmcKernel(*parts, jnp.asarray(0.3), jnp.asarray(heat), "threefry")
    w, v = W0 + 1, np.array([0.1, 0.2, 0.3, 0.4])
    begun = sghmc.SghmcState(*map(jnp.asarray, (w, v, slope(w), 0.0)))
    for state, size, before in zip(stepped(sghmc, kernel, begun), SIZES, BEFORE, strict=True):
        eps, keep = size * STEP, 0.7**size
        known = 0.0 if batch_size is None else (1 + keep) ** 2 / 4 * eps**2 * heat
        noise = basis.T @ (widths * np.sqrt(1 - keep**2 - known) * (basis @ NOISE))
        force = basis.T @ (widths**2 * (basis @ slope(w)))
        v = v - (before + size) / 2 * STEP * force
        if before:
            w = w - keep**2 * (size**2 - before**2) / 8 * STEP**2 * force
        w = w + eps / 2 * v
        v = keep * v + noise
        w = w + eps / 2 * v
        np.testing.assert_allclose(state.w, w, rtol=1e-12)
        np.testing.assert_allclose(state.v, v, rtol=1e-12)
        np.testing.assert_allclose(state.gradient, slope(w), rtol=1e-12)


@METRICS
@pytest.mark.parametrize("integrator", ["euler", "leimkuhler_matthews"])
def test_sgld_in_a_constant_metric_is_its_equation(stepped, precond, batch_size, integrator):
    from lambda_hat_core.samplers import overdamped

    parts, basis, widths, heat, mu = in_metric(precond, batch_size)
    kernel = overdamped.OverdampedKernel(
        *parts, jnp.asarray(heat), jnp.asarray(mu), integrator, "threefry"
    )
    w, last = W0 + 1, NOISE[::-1]
    begun = overdamped.OverdampedState(*map(jnp.asarray, (w, last, slope(w), 0.0)))
    for state, size, before in zip(stepped(overdamped, kernel, begun), SIZES, BEFORE, strict=True):
        eps = drift = size * STEP
        xi = NOISE if integrator == "euler" else (last + NOISE) / 2
        known = 0.0 if batch_size is None else eps * heat / 4
        if integrator == "leimkuhler_matthews":
            known, last = known / (1 - eps * mu / 4), NOISE
            drift = (eps + np.sqrt(eps * before * STEP)) / 2
        noise = basis.T @ (widths * np.sqrt(1 - known) * (basis @ xi))
        w = w - drift / 2 * basis.T @ (widths**2 * (basis @ slope(w))) + np.sqrt(eps) * noise
        np.testing.assert_allclose(state.w, w, rtol=1e-12)
        np.testing.assert_allclose(state.gradient, slope(w), rtol=1e-12)


@METRICS
def test_sgnht_is_its_equation(stepped, precond, batch_size):
    """Half steps have the same friction, and nothing but the thermostat answers to batches."""
    from lambda_hat_core.samplers import sgnht

    parts, basis, widths, _, _ = in_metric(precond, batch_size)
    alpha, x = 0.3, 0.2
    kernel = sgnht.SgnhtKernel(*parts, jnp.asarray(alpha), "threefry")
    w, p = W0 + 1, np.array([0.1, 0.2, 0.3, 0.4])
    begun = sgnht.SgnhtState(*map(jnp.asarray, (w, p, x, slope(w), 0.0)))

    def root(v):
        return basis.T @ (widths * (basis @ v))

    for state, size, before in zip(stepped(sgnht, kernel, begun), SIZES, BEFORE, strict=True):
        eps, rate = size * STEP, size * alpha**2 / 4
        force, moved = root(slope(w)), 0.0
        p = p - (before + size) / 2 * STEP * force
        if before:
            moved = (size**2 - before**2) / 8 * STEP**2 * root(force)
        w = w + eps / 2 * root(p)
        x = x + rate * (np.mean(p**2) - 1)
        noise = np.sqrt(alpha * (1 - np.exp(-2 * x * size)) / x) * NOISE
        w = w - np.exp(-2 * x * size) * moved
        p = np.exp(-x * size) * p + noise
        x = x + rate * (np.mean(p**2) - 1)
        w = w + eps / 2 * root(p)
        np.testing.assert_allclose(state.w, w, rtol=1e-12)
        np.testing.assert_allclose(state.p, p, rtol=1e-12)
        np.testing.assert_allclose(state.friction, x, rtol=1e-12)
        np.testing.assert_allclose(state.gradient, slope(w), rtol=1e-12)


def metropolised(name):
    from lambda_hat_core.samplers import adjusted_mclmc, coordinates, hmc, mala

    at = posterior()
    plain = coordinates.identity(at)
    kernels = {
        "mala": lambda: mala.MalaKernel(at, plain, jnp.asarray(0.25)),
        "hmc": lambda: hmc.HmcKernel(at, plain, jnp.asarray(0.25), 4),
        "adjusted_mclmc": lambda: adjusted_mclmc.AdjustedMclmcKernel(
            at, plain, jnp.asarray(0.6), jnp.asarray(2.0)
        ),
    }
    return kernels[name]()


COUNT = 4000


@pytest.mark.parametrize("name", ["mala", "hmc", "adjusted_mclmc"])
def test_a_step_is_rejected_as_often_as_its_acceptance_rate_says(x64, name):
    """After a rejection the state is unchanged to the last bit."""
    kernel = metropolised(name)

    @jax.jit
    def moves(key, w):
        state = kernel.init(key, w)
        after, stats = jax.vmap(lambda key: kernel.step(key, state))(jr.split(key, COUNT))
        return jnp.any(after.position != state.position, axis=1), stats["acceptance_rate"]

    mode = GAMMA * W0 / (NBETA * H + GAMMA)
    moved, rate = map(np.asarray, moves(jr.key(1), jnp.asarray(mode)))
    noise = np.sqrt(np.sum(rate * (1 - rate))) / COUNT
    assert noise < 0.01
    assert 0.1 < np.mean(rate) < 0.96
    assert abs(np.mean(moved) - np.mean(rate)) < 4 * noise


@pytest.mark.parametrize("name", ["hmc", "adjusted_mclmc"])
def test_trajectories_have_every_length_up_to_the_largest(x64, name):
    """HMC: uniform on 1 .. 2 n - 1. MCLMC: a ceiling of a uniform number, with mean L / step."""
    kernel = metropolised(name)
    lengths = jax.jit(
        jax.vmap(lambda key, w: kernel.step(key, kernel.init(key, w))[1]["n_steps"], (0, None))
    )(jr.split(jr.key(2), COUNT), jnp.asarray(W0))
    lengths = np.asarray(lengths)
    mean, longest = {"hmc": (4.0, 7), "adjusted_mclmc": (2.0 / 0.6, 6)}[name]
    assert set(lengths) == set(range(1, longest + 1))
    noise = lengths.std() / np.sqrt(COUNT)
    assert noise < 0.04
    assert abs(lengths.mean() - mean) < 4 * noise
    if name == "hmc":
        shares = np.bincount(lengths.astype(int))[1:] / COUNT
        np.testing.assert_allclose(shares, 1 / 7, atol=4 * np.sqrt(1 / 7 * 6 / 7 / COUNT))
