"""The bias ledger against exact formulas, and against the steps that it claims to describe."""

import json

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from tests.core import mixed
from tests.core.surfaces import DiagonalQuadratic

H = np.array([1.0, 0.1, 1e-3])
NBETA, GAMMA = 1000.0, 2.0
MU = NBETA * H + GAMMA


def modes(noise=0.0, start=0.0):
    from lambda_hat_core.samplers.modes import Modes

    one = np.ones(3)
    return Modes(one, MU, NBETA * H / MU, noise * one, start * one)


def sgld_law(eps, precond="none", **fields):
    """In a constant metric, which the modes are in, or with moments; by Euler's integrator."""
    from lambda_hat_core.config.samplers.stochastic import Sgld
    from lambda_hat_core.samplers import overdamped, sgld

    if precond == "none":
        return lambda given: overdamped.dynamics(given, eps, "euler")
    return lambda given: sgld.dynamics(given, eps, Sgld(precond=precond, **fields))


@pytest.mark.parametrize("precond", ["none", "adam"])
def test_sgld_from_the_minimum_is_the_closed_form(precond):
    """Adam without memory of gradients is SGLD."""
    from lambda_hat_core.samplers.ledger import account
    from lambda_hat_core.truth import oracles

    eps, variance = 0.3 / MU[0], 0.02
    exact = oracles.sgld_biases(
        H, NBETA, GAMMA, step_size=eps, gradient_variance=variance, n_burn=7, n_steps=500
    )
    law = sgld_law(eps, precond, beta1=0.0)
    ledger = account(modes(NBETA**2 * variance), law, n_draws=500, n_burn=7, thin=1)
    for name, value in exact._asdict().items():
        assert ledger[name]["absolute"] == pytest.approx(value, rel=1e-9), name
    assert ledger["predicted"] == pytest.approx(1.5 + sum(exact), rel=1e-12)


def test_biases_are_parts_of_the_llc_that_is_given():
    """The sizes come from the quadratic, what they are parts of does not."""
    from lambda_hat_core.samplers.ledger import account

    law, lengths = sgld_law(0.3 / MU[0]), {"n_draws": 500, "n_burn": 7, "thin": 1}
    whole, part = (account(modes(5.0), law, llc=llc, **lengths) for llc in (None, 0.5))
    assert whole["llc"] == whole["oracle"] and part["llc"] == 0.5
    for name in ("discretisation", "minibatch", "burn_in", "error"):
        assert part[name]["absolute"] == whole[name]["absolute"]
        assert part[name]["relative"] == pytest.approx(2 * part[name]["absolute"])


def test_what_counts_as_flat_does_not_depend_on_the_metric():
    """The third curvature is 1e-6 of the first, in float32 a rounding error."""
    from lambda_hat_core.samplers.ledger import account
    from lambda_hat_core.samplers.modes import Modes
    from lambda_hat_core.samplers.overdamped import dynamics

    stiff = NBETA * np.array([1.0, 0.1, 1e-6])
    for width2 in (np.ones(3), 1 / (stiff + 6 * GAMMA)):
        mu = (stiff + GAMMA) * width2
        found = Modes(np.ones(3), mu, stiff / (stiff + GAMMA), 0 * mu, 0 * mu)
        eps = 0.3 / mu.max()
        ledger = account(
            found, lambda given, eps=eps: dynamics(given, eps, "euler"), n_draws=9, n_burn=1, thin=1
        )
        assert ledger["asymptotic"] == 1.0


@pytest.mark.parametrize(("rest", "curved"), [(1e-8, 0.5), (1e-5, 50.0)])
def test_a_complement_is_curved_if_its_mean_is_more_than_rounding(rest, curved):
    from lambda_hat_core.samplers.ledger import account
    from lambda_hat_core.samplers.modes import Modes
    from lambda_hat_core.samplers.overdamped import dynamics

    mu = NBETA * np.array([1.0, rest]) + GAMMA
    found = Modes(np.array([1.0, 99.0]), mu, 1 - GAMMA / mu, 0 * mu, 0 * mu)
    law = {"n_draws": 9, "n_burn": 1, "thin": 1}
    ledger = account(found, lambda given: dynamics(given, 0.3 / mu.max(), "euler"), **law)
    assert ledger["asymptotic"] == curved


def test_thinning_and_starts():
    """Draws of 3 steps are every third state; a stationary start leaves no burn-in bias."""
    from lambda_hat_core.samplers.ledger import account, mean_of_draws

    law = sgld_law(0.3 / MU[0])
    one = [mean_of_draws(law(modes()), n_draws=t, n_burn=t - 1, thin=1)[:, 0] for t in (9, 12, 15)]
    thinned = mean_of_draws(law(modes()), n_draws=5, n_burn=2, thin=3)[:, 0]
    np.testing.assert_allclose(thinned, np.mean(one, axis=0), rtol=1e-10)
    widened = modes(start=1 / (1 - 0.3 / 4 * MU / MU[0]))
    ledger = account(widened, law, n_draws=10, n_burn=0, thin=1)
    assert abs(ledger["burn_in"]["relative"]) < 1e-12


def test_the_map_of_the_ledger_is_the_step():
    """The derivative of one sghmc step in (w, v) is the ledger's A, direction by direction."""
    from lambda_hat_core.posterior import Posterior
    from lambda_hat_core.samplers import coordinates, sghmc
    from lambda_hat_core.samplers.alternating import alternation
    from lambda_hat_core.samplers.gradients import plain

    eps, alpha = 0.9 / MU[0] ** 0.5, 0.2
    expected = sghmc.dynamics(modes(), eps, alpha).A
    with jax.enable_x64(True):
        posterior = Posterior(
            w0=jnp.zeros(3),
            data=None,
            nbeta=jnp.asarray(NBETA),
            gamma=jnp.asarray(GAMMA),
            loss=DiagonalQuadratic(tuple(H)),
            n=100,
        )
        estimate = plain(posterior, None)
        steps = alternation(eps, 1, posterior.w0, extrapolate=False)
        parts = posterior, estimate, coordinates.identity(posterior), steps
        kernel = sghmc.SghmcKernel(*parts, jnp.asarray(alpha), jnp.zeros(1), "threefry")

        def step(w, v):
            # The first kick is a half of one; the ledger has those that follow.
            begun = sghmc.SghmcState(w, v, estimate(jr.key(0), w), jnp.ones(()))
            return tuple(kernel.step(jr.key(1), begun)[0])[:2]

        blocks = jax.jit(jax.jacobian(step, argnums=(0, 1)))(np.zeros(3), np.zeros(3))
        for i in range(2):
            for j in range(2):
                block = np.asarray(blocks[i][j])
                np.testing.assert_allclose(block, np.diag(expected[:, i, j]), atol=1e-12)


def test_leimkuhler_matthews_is_exact_without_noise_up_to_the_stability_limit():
    from lambda_hat_core.samplers.ledger import account
    from lambda_hat_core.samplers.overdamped import dynamics

    def ledger(share):
        lengths = {"n_draws": 100, "n_burn": 50, "thin": 5}
        eps = share / MU[0]
        return account(
            modes(), lambda given: dynamics(given, eps, "leimkuhler_matthews"), **lengths
        )

    for share in (0.1, 1.0, 3.9):
        assert abs(ledger(share)["discretisation"]["relative"]) < 1e-9
    assert not ledger(4.1)["stable"]


def test_noise_that_is_known_is_made_up_for():
    """Wholly by Leimkuhler & Matthews, by Euler up to its own bias, by sghmc up to h^2 mu / 4."""
    from lambda_hat_core.samplers import overdamped, sghmc
    from lambda_hat_core.samplers.ledger import stationary

    eps, h = 0.3 / MU[0], (0.1 / MU[0]) ** 0.5

    def heat(law, size, **known):
        return MU * (stationary(law(modes(noise=size), **known)) - stationary(law(modes())))[:, 0]

    def sgld(integrator):
        return lambda given, **known: overdamped.dynamics(given, eps, integrator, **known)

    for integrator in ("euler", "leimkuhler_matthews"):
        assert heat(sgld(integrator), MU[0]).max() > 0.02
        np.testing.assert_allclose(heat(sgld(integrator), MU[0], compensated=True), 0, atol=1e-12)

    def momentum(given, **known):
        return sghmc.dynamics(given, h, 0.1, **known)

    left, all_of_it = heat(momentum, MU[0], compensated=True), heat(momentum, MU[0])
    assert all_of_it.min() > 0.3
    np.testing.assert_allclose(left, h**2 * MU / 4 * all_of_it, rtol=1e-8)


def test_underdamped_dynamics_are_exact_without_noise_up_to_the_stability_limit():
    from lambda_hat_core.samplers import sghmc, sgnht
    from lambda_hat_core.samplers.ledger import account

    lengths = {"n_draws": 100, "n_burn": 50, "thin": 5}
    for law in (sghmc.dynamics, sgnht.dynamics):
        for share in (0.1, 1.0, 3.9):
            eps = (share / MU[0]) ** 0.5
            ledger = account(
                modes(), lambda given, eps=eps, law=law: law(given, eps, 0.1), **lengths
            )
            assert abs(ledger["discretisation"]["relative"]) < 1e-9
    beyond = (4.1 / MU[0]) ** 0.5
    ledger = account(modes(), lambda given: sghmc.dynamics(given, beyond, 0.1), **lengths)
    assert not ledger["stable"]
    assert ledger["predicted"] is None


def test_a_thermostat_removes_noise_that_all_directions_share():
    from lambda_hat_core.samplers import sghmc, sgnht
    from lambda_hat_core.samplers.ledger import account

    eps = (0.2 / MU[0]) ** 0.5
    lengths = {"n_draws": 100, "n_burn": 50, "thin": 5}
    noisy = modes(noise=0.1 / eps**2)
    heated = account(noisy, lambda given: sghmc.dynamics(given, eps, 0.1), **lengths)
    cooled = account(noisy, lambda given: sgnht.dynamics(given, eps, 0.1), **lengths)
    assert heated["minibatch"]["relative"] > 0.4
    assert abs(cooled["minibatch"]["relative"]) < 0.02


def prepared(**fields):
    """The set-up of one run, without the run."""
    from lambda_hat_core.config.samplers.stochastic import Sgld
    from lambda_hat_core.linalg.spectrum import hessian_spectrum
    from lambda_hat_core.samplers import sgld
    from lambda_hat_core.samplers.subset import subset

    posterior = mixed.posterior(mixed.quadratic(1e6, noise=0.02))
    spectrum, _ = hessian_spectrum(jr.key(0), posterior)
    start = posterior.w0 + jnp.zeros((8, 1))
    few = subset(jr.key(2), posterior, None)
    spec = Sgld(**{"n_chains": 8, "batch_size": 24, **fields}).settled(mixed.N, in_product=False)
    return sgld.build(jr.key(1), posterior, spec, few=few, start=start, spectrum=spectrum).info


@pytest.mark.parametrize("in_metric", [False, True])
def test_modes_are_those_of_a_quadratic_with_label_noise(x64, in_metric):
    """Precision, share and starts to the last digit; of the noise, 120 differences a direction."""
    from lambda_hat_core.linalg.spectrum import hessian_spectrum
    from lambda_hat_core.samplers.coordinates import damped
    from lambda_hat_core.samplers.gradients import plain
    from lambda_hat_core.samplers.modes import measure, whitened
    from lambda_hat_core.samplers.subset import subset

    case, size = mixed.quadratic(100.0, gamma=30.0, noise=0.02), 24
    posterior = mixed.posterior(case)
    spectrum, _ = hessian_spectrum(jr.key(0), posterior)
    start = 1e-4 * jr.normal(jr.key(1), (8, mixed.D))
    estimate, few = plain(posterior, size), subset(jr.key(3), posterior, None)
    metric = damped(posterior, spectrum, 5.0)
    if in_metric:
        felt = whitened(jr.key(2), estimate, metric, start=start, spectrum=spectrum)
        found, work = felt.modes, felt.work
    else:
        found, work = measure(jr.key(2), estimate, few, start=start, spectrum=spectrum)
    x, y = case.data[0][:, : mixed.D], case.data[1]
    h, vectors = np.linalg.eigh(x.T @ x / mixed.N)
    mu = mixed.NBETA * h + 30.0
    along = np.asarray(start) @ vectors
    width2 = 1 / (mixed.NBETA * h + 6 * 30.0) if in_metric else 1.0
    np.testing.assert_allclose(found.mu, mu * width2, rtol=1e-9)
    np.testing.assert_allclose(found.share, mixed.NBETA * h / mu, rtol=1e-9)
    np.testing.assert_allclose(found.start, mu * np.mean(along**2, axis=0), rtol=1e-7)
    np.testing.assert_array_equal(found.size, 1.0)
    exact = width2 * mixed.NBETA**2 * np.var(-y[:, None] * (x @ vectors), axis=0) / size
    ratio = found.noise / exact
    se = np.sqrt(2 / 120 / mixed.D)
    assert abs(np.mean(ratio) - 1) < 4 * se + 0.02
    assert work == 8 * 16 * size / mixed.N


PLAIN = {"precond": "none", "integrator": "euler", "extrapolate": False}


@pytest.mark.parametrize("form", [{}, PLAIN])
def test_a_run_that_will_be_wrong_is_told_so_before_it_starts(form):
    """In its metric any stable step is right, and the fewest draws are enough burn-in."""
    from lambda_hat_core.samplers.stepsize import report

    auto = prepared(**form)
    eps = auto["step_size"]
    assert auto["ledger"]["recommended"]["step_size"] == eps
    large = prepared(**form, step_size=10 * eps)["ledger"]
    too_large = [text for text in large["warnings"] if "lower step_size" in text]
    assert [f"{eps:.3g}" in text for text in too_large] == ([True] if form else [])
    unstable = prepared(**form, step_size=1000 * eps)["ledger"]
    assert "unstable" in unstable["warnings"][0]
    short = prepared(**form, step_size=eps / 100, n_burn=1, n_draws=50)["ledger"]
    assert short["burn_in"]["relative"] < -0.1
    way_out = "raise n_burn from 1 to" if form else f"raise step_size from {eps / 100:.3g} to"
    assert any(way_out in text for text in short["warnings"])
    for ledger in (auto["ledger"], large, unstable, short):
        json.dumps(ledger, allow_nan=False)
        lines = report(ledger)
        assert "at most" not in lines[0]
        assert "gamma at most" in report(ledger, precond="kronecker")[0]
        assert sum(line.startswith("warning: ") for line in lines) == len(ledger["warnings"])


def test_the_advised_burn_in_is_enough_and_hardly_more():
    from lambda_hat_core.samplers.ledger import account, burn_in_needed

    law = sgld_law(0.3 / MU[0])
    need = burn_in_needed(modes(), law(modes()), n_kept=200, thin=5)
    bias = [
        account(modes(), law, n_draws=burn + 200, n_burn=burn, thin=5)["burn_in"]["relative"]
        for burn in (need, int(0.9 * need) - 1)
    ]
    assert -0.01 <= bias[0] < 0
    assert bias[1] < -0.01
