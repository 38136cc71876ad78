"""The driver and its records, tested with kernels whose states are known exactly."""

from typing import NamedTuple

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from lambda_hat_core.linalg.kronecker import Block, ProductBasis
from lambda_hat_core.posterior import Posterior
from lambda_hat_core.samplers import drive
from lambda_hat_core.samplers.kernel import Kernel
from lambda_hat_core.samplers.monitor import Monitor
from tests.core.surfaces import DiagonalQuadratic

D, CHAINS, THIN = 4, 3, 3
H = (4.1, 2.0, 1 / 3, 0.0)
NBETA, GAMMA = 10.0, 0.5
W0 = np.array([1.0, -2.0, 0.5, 3.0])
WORK, COST = 0.75, 0.25


class At(NamedTuple):
    """The position of a chain, and the number of steps so far."""

    w: jnp.ndarray
    steps: jnp.ndarray


class Counter(Kernel):
    """A step adds 1 to every coordinate or, if a width is given, noise of that width.

    If a width is given, the gradient is noise too.
    """

    posterior: Posterior
    width: jnp.ndarray

    def init(self, key, w):
        return At(w, jnp.zeros(()))

    def step(self, key, state):
        noise = self.width * jr.normal(key, (D,))
        state = At(state.w + jnp.where(self.width > 0, noise, 1.0), state.steps + 1)
        told = {"energy": state.steps, "acceptance_rate": state.steps, "diverging": jnp.ones(())}
        return state, {"work": jnp.asarray(WORK), **told}

    def position(self, state):
        return state.w

    def gradient(self, key, state):
        exact = self.posterior.potential_grad(state.w, None)
        return jnp.where(self.width > 0, jr.normal(key, (D,)), exact), COST


class Noisy(Counter):
    """The same to a certificate that does not trust the gradient."""

    @property
    def has_noise(self):
        return True


def driven(width, *, n_draws, n_burn, along=None, noisy=False, **settings):
    """Return the draws of a counter, with the whole position among the recorded scalars."""
    posterior = Posterior(
        w0=jnp.asarray(W0),
        data=None,
        nbeta=jnp.asarray(NBETA),
        gamma=jnp.asarray(GAMMA),
        loss=DiagonalQuadratic(H),
        n=100,
    )
    weights = NBETA * np.array(H) / (NBETA * np.array(H) + GAMMA)
    watched = Monitor(jnp.eye(D), jnp.eye(D) if along is None else along, jnp.asarray(weights))
    kind = Noisy if noisy else Counter
    return drive.run_chains(
        jr.key(0),
        kind(posterior, jnp.asarray(width)),
        watched,
        jnp.asarray(np.tile(W0, (CHAINS, 1))),
        n_draws=n_draws,
        n_burn=n_burn,
        thin=THIN,
        llc_of=lambda loss: loss,
        setup_work=7.0,
        setup_seconds=0.0,
        progress=lambda at: None,
        **settings,
    )


def test_a_chain_that_is_higher_than_the_posterior_has_left(x64):
    """It need not have come to numbers that are not finite."""
    whole = driven(0.0, n_draws=43, n_burn=5)
    assert whole.failure is None and np.isfinite(whole.values["loss"]).all()
    highest = float(whole.values["loss"][0, 10])
    assert driven(0.0, n_draws=16, n_burn=5, highest=highest).failure is None
    left = driven(0.0, n_draws=43, n_burn=5, highest=highest)
    assert left.failure is not None and left.stopped_by == "failure"
    assert f"at draw 16 of chain {', '.join(map(str, range(CHAINS)))}, above" in left.failure


@pytest.mark.parametrize("n_burn", [0, 5])
def test_a_draw_records_the_state_after_thin_steps(x64, n_burn):
    """Neither the start nor the burn-in is recorded, and every scalar equals its formula."""
    n_draws = 43
    found = driven(0.0, n_draws=n_draws, n_burn=n_burn)
    steps = THIN * np.arange(n_burn + 1, n_draws + 1.0)
    values = {name: array[0] for name, array in found.values.items()}
    h = np.array(H)
    w = W0 + steps[:, None]
    delta, slope = w - W0, NBETA * h * w + GAMMA * (w - W0)
    s = NBETA * h / (NBETA * h + GAMMA)
    expected = {
        "projections": delta,
        "loss": 0.5 * w**2 @ h,
        "dist2": np.sum(delta**2, axis=1),
        "virial": np.sum(delta * slope, axis=1) / D,
        "virial_m": np.sum(s * delta * slope, axis=1) / np.sum(s),
        "energy": steps,
        "acceptance_rate": steps - (THIN - 1) / 2,
        "diverging": np.full_like(steps, THIN),
    }
    assert values.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(values[name], value, rtol=1e-12, err_msg=name)
    a_draw = CHAINS * (THIN * WORK + COST + 1 / 3)
    work = 7.0 + a_draw * np.arange(n_burn + 1, n_draws + 1)
    np.testing.assert_allclose(found.cumulative_work, work, rtol=1e-12)


@pytest.mark.parametrize("noisy", [False, True])
def test_a_certificate_in_a_product_basis_is_that_of_its_matrix(x64, noisy):
    """With the kernel's gradient, and with a derivative of the loss along M (w - w*)."""
    left, right = (np.array([[np.cos(t), -np.sin(t)], [np.sin(t), np.cos(t)]]) for t in (0.3, 0.8))
    basis = ProductBasis((Block(2, 2),), (jnp.asarray(left),), (jnp.asarray(right),))
    found = driven(0.0, n_draws=9, n_burn=2, along=basis, noisy=noisy).values["virial_m"][0]
    q, h = np.kron(left, right), np.array(H)
    s = NBETA * h / (NBETA * h + GAMMA)
    delta = THIN * np.arange(3, 10.0)[:, None] * np.ones(D)
    slope = NBETA * h * (W0 + delta) + GAMMA * delta
    np.testing.assert_allclose(found, ((delta @ q * s) * (slope @ q)).sum(axis=1) / s.sum())


def test_steps_draws_and_chains_have_different_random_numbers(x64):
    """A draw moves by a sum of `thin` normals, which differ between draws, chains and coordinates.

    The same holds for the certificate's gradient, which is observed along w - w*.
    """
    n_draws = 2000
    found = driven(0.2, n_draws=n_draws, n_burn=0).values
    walked = found["projections"] / 0.2
    moves = np.diff(np.concatenate([np.zeros((CHAINS, 1, D)), walked], axis=1), axis=1)
    columns = moves.transpose(0, 2, 1).reshape(CHAINS * D, n_draws) / np.sqrt(THIN)
    gradients = D * found["virial"] / np.sqrt(found["dist2"])
    columns = np.concatenate([columns, gradients])
    bound = 5 / np.sqrt(n_draws)
    np.testing.assert_allclose(np.var(columns, axis=1), 1, atol=bound * np.sqrt(2))
    between = np.corrcoef(columns) - np.eye(len(columns))
    assert np.abs(between).max() < bound
    following = np.corrcoef(columns[:, 1:], columns[:, :-1])[: len(columns), len(columns) :]
    assert np.abs(following).max() < bound


def test_a_loss_keeps_the_digits_of_float64_in_a_float32_run():
    found = driven(0.0, n_draws=5, n_burn=1).values["loss"][0]
    w = W0 + THIN * np.arange(2, 6.0)[:, None]
    exact = 0.5 * w**2 @ np.array(H)
    np.testing.assert_allclose(found, exact, rtol=1e-13)
    assert np.abs(exact.astype(np.float32) / exact - 1).max() > 1e-9


def test_a_loss_beyond_float32_is_not_finite_and_no_warning():
    from lambda_hat_core.samplers.loop import to_host

    halves = {"loss_high": np.float32([np.inf]), "loss_low": np.float32([-np.inf])}
    assert np.isnan(to_host({name: jnp.asarray(x) for name, x in halves.items()})["loss"]).all()
