"""The warm-up on a posterior whose centre is not w* and whose widths are known."""

import math

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from tests.core.surfaces import DiagonalQuadratic

H = np.array([4.0, 1.0, 0.2])
W0 = np.array([1.0, -2.0, 3.0])
NBETA, GAMMA = 5.0, 2.0
CHAINS, STEPS, TARGET = 16, 600, 0.9


def of_widths():
    """Return the posterior with curvatures H."""
    from lambda_hat_core.posterior import Posterior

    return Posterior(
        w0=jnp.asarray(W0),
        data=None,
        nbeta=jnp.asarray(NBETA),
        gamma=jnp.asarray(GAMMA),
        loss=DiagonalQuadratic(tuple(H)),
        n=100,
    )


def test_the_warm_up_reaches_its_acceptance_and_measures_the_posterior(x64):
    """At least a third of the 4,800 points are independent: the error of a variance is 0.04.

    The averaged step size has a slightly higher acceptance than the step sizes that it averages.
    """
    from lambda_hat_core.samplers import coordinates, hmc
    from lambda_hat_core.samplers.averaging import dual_averaging, with_step

    posterior = of_widths()
    kernel = hmc.HmcKernel(posterior, coordinates.identity(posterior), jnp.asarray(0.01), 4)
    start = jnp.asarray(np.tile(W0, (CHAINS, 1)))
    found = dual_averaging(jr.key(0), kernel, start, STEPS, TARGET)

    mu = NBETA * H + GAMMA
    assert found.n_points == CHAINS * STEPS / 2
    np.testing.assert_allclose(found.variance, 1 / mu, rtol=4 * 0.04)

    @jax.jit
    def rates(keys, positions):
        fixed = with_step(kernel, found.step_size)

        def one(key, w):
            return fixed.step(key, fixed.init(key, w))[1]["acceptance_rate"]

        return jax.vmap(jax.vmap(one, (0, None)), (None, 0))(keys, positions)

    rate = np.asarray(rates(jr.split(jr.key(1), 200), found.positions)).mean(axis=1)
    se = rate.std(ddof=1) / np.sqrt(CHAINS)
    assert se < 0.03
    assert abs(rate.mean() - TARGET) < 4 * se + 0.05


def test_a_warm_up_goes_on_with_a_higher_target_while_steps_diverge(x64):
    """At a crossing, where the curvature grows along the ridges; on a quadratic nothing changes."""
    from lambda_hat_core.posterior import Posterior
    from lambda_hat_core.samplers import adapt, averaging, coordinates, hmc
    from tests.core import polynomials

    def settled(w0, data, loss, nbeta, first=0.1):
        w0 = jnp.asarray(w0)
        gamma, nbeta = jnp.asarray(1.0), jnp.asarray(nbeta)
        posterior = Posterior(w0=w0, data=data, nbeta=nbeta, gamma=gamma, loss=loss, n=10)
        kernel = hmc.HmcKernel(posterior, coordinates.identity(posterior), jnp.asarray(first), 8)
        start = jnp.tile(w0, (CHAINS, 1))
        plain = averaging.dual_averaging(jr.key(0), kernel, start, 100, 0.8)
        heard = []
        found, target = adapt._settled(
            jr.key(0), kernel, start, 100, 0.8, heard.append, math.inf, ends_early=False
        )
        return plain, found, target, [line for line in heard if "diverged" in line]

    crossing = tuple(map(jnp.asarray, polynomials.data((2, 2))))
    plain, found, target, heard = settled([1.0, 0.0], crossing, polynomials.Polynomial(), 1e4)
    assert float(plain.diverging) > adapt.DIVERGING_MAX
    assert target == pytest.approx(0.9 if len(heard) == 1 else 0.95) and 1 <= len(heard) <= 2
    assert "target_acceptance 0.9" in heard[0]
    assert float(found.diverging) < float(plain.diverging)
    assert float(found.step_size) < float(plain.step_size)
    assert float(found.work) > float(plain.work)

    plain, found, target, heard = settled(W0, None, DiagonalQuadratic(tuple(H)), NBETA, 0.02)
    assert target == 0.8 and not heard
    assert float(found.step_size) == float(plain.step_size)
    np.testing.assert_array_equal(found.positions, plain.positions)


def test_a_warm_up_ends_with_its_share_of_the_budget(x64):
    """The draws that the run then has time for are made with what was found by then."""
    from lambda_hat_core.samplers import adapt, averaging, coordinates, hmc

    posterior = of_widths()
    kernel = hmc.HmcKernel(posterior, coordinates.identity(posterior), jnp.asarray(0.01), 8)
    start, goal = jnp.asarray(np.tile(W0, (CHAINS, 1))), 0.8
    whole = averaging.dual_averaging(jr.key(0), kernel, start, 100, goal)
    said = []
    found = averaging.dual_averaging(jr.key(0), kernel, start, 100, goal, said.append, most=1000.0)
    assert 1000 <= float(found.work) < 1000 + 15 * 10 * CHAINS < float(whole.work)
    assert said[-1].startswith("the warm-up ends after") and float(found.step_size) > 0.01
    assert 0 < found.n_points < whole.n_points and np.isfinite(found.variance).all()
    half = averaging.dual_averaging(
        jr.key(0), kernel, start, 100, goal, most=float(whole.work) * 0.75
    )
    assert found.n_points < half.n_points < whole.n_points

    seen, target = adapt._settled(
        jr.key(0), kernel, start, 100, 0.8, said.append, 500.0, ends_early=False
    )
    assert float(seen.work) < 500 + 15 * 10 * CHAINS and target == 0.8


def test_a_warm_up_ends_once_its_step_size_is_known(x64):
    """On a quadratic in its own coordinates that is soon, and as long as steps diverge never."""
    from lambda_hat_core.samplers import averaging, coordinates, hmc

    posterior = of_widths()
    start = jnp.asarray(np.tile(W0, (CHAINS, 1)))

    def ended(first, target=0.8, **how):
        kernel = hmc.HmcKernel(posterior, coordinates.identity(posterior), jnp.asarray(first), 8)
        return averaging.dual_averaging(jr.key(0), kernel, start, 300, target, **how)

    whole, early = ended(0.1), ended(0.1, ends_early=True)
    assert 30 <= early.n_steps < 100 and whole.n_steps == 300
    assert early.work < whole.work / 2
    assert float(early.step_size) == pytest.approx(float(whole.step_size), rel=0.25)


@pytest.mark.parametrize(
    ("chunks", "rate", "diverged", "moved", "settled"),
    [
        (3, 0.8, 0.0, 0.0, True),
        (3, 0.75, 0.0, 0.05, True),
        (2, 0.8, 0.0, 0.0, False),
        (3, 0.6, 0.0, 0.0, False),
        (3, 0.8, 1.0, 0.0, False),
        (3, 0.8, 0.0, 0.2, False),
    ],
)
def test_what_is_known_of_a_step_size(chunks, rate, diverged, moved, settled):
    """At chunks of ten steps: the rate, the divergences and the change of the second half."""
    from lambda_hat_core.samplers.averaging import _is_settled, _Seen, _Sums

    def seen(chunk):
        late = max(chunk - chunks // 2, 0)
        accepted = 40 * (0.1 * (chunk - late) + rate * late)
        totals = map(jnp.asarray, (10.0 * chunk, 0.0, accepted, diverged * late))
        sums = _Sums(*totals, values=jnp.zeros(1), squares=jnp.zeros(1))
        return _Seen(moved * late, sums)

    assert _is_settled([seen(chunk) for chunk in range(chunks + 1)], 0.8, 4) is settled
