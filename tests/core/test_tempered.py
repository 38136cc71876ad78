"""Replica exchange where one temperature does not mix: its draws, its ladder, its kernel."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from tests.core import polynomials

NBETA = 1e4
MANY = {"n_chains": 64, "n_draws": 4000, "n_burn": 200, "n_warmup": 480}
"""Many chains, because a step of few numbers costs as much as one of many."""

CASES = {
    "w0^2 w1^2": ((2, 2),),
    "w0^2 w1^4": ((2, 4),),
    "w0^4 w1^6": ((4, 6),),
    "w0^2 w1^2 + w0^4": ((2, 2), (4, 0)),
    "w0^4 w1^2 + w1^6": ((4, 2), (0, 6)),
}
PRODUCT = ((2, 2, 2, 2),)

_found = {}


def found(name):
    """Return the estimate of a run with eight replicas, computed once for all tests."""
    from lambda_hat_core.analysis.estimate import estimate

    if name not in _found:
        terms = PRODUCT if name == "product" else CASES[name]
        longer = {"n_draws": 5600} if name == "w0^4 w1^6" else {}
        trace = polynomials.run(terms, NBETA, {**MANY, "n_replicas": 8, **longer})
        _found[name] = estimate(trace)
    return _found[name]


def exact(name, nbeta):
    if name == "product":
        return polynomials.exact_product(4, nbeta)
    return polynomials.exact(CASES[name], nbeta)


@pytest.mark.parametrize("name", [*CASES, "product"])
def test_every_replica_meets_quadrature_and_so_does_the_evidence(name):
    estimate = found(name)
    replicas = estimate.tempered.replicas
    assert len(replicas) == 8 and replicas[0].nbeta == NBETA and replicas[-1].nbeta == 0
    assert estimate.verdict == "ok", estimate.reasons
    assert estimate.llc == pytest.approx(replicas[0].llc, rel=1e-9)
    for replica in replicas[:-1]:
        llc, evidence = exact(name, replica.nbeta)
        assert replica.llc_se < 0.01 * llc, replica
        assert abs(replica.llc - llc) < 4 * replica.llc_se, (replica, llc)
        assert replica.log_evidence_se < 0.0125
        assert abs(replica.log_evidence - evidence) < 4 * replica.log_evidence_se, replica


def test_lambda_and_m_of_a_crossing_whose_poles_are_close():
    """The poles 1/6 and 1/4 of w0^4 w1^6 look like a double one unless nbeta is very large."""
    from lambda_hat_core.analysis.estimate import estimate

    sampler = {**MANY, "n_replicas": 20, "n_draws": 2600}
    known = estimate(polynomials.run(CASES["w0^4 w1^6"], 1e24, sampler))
    fit = known.tempered.fit
    assert fit.multiplicity == 1 and fit.weight > 0.9
    assert fit.llc_se < 0.015 / 6
    assert abs(fit.llc - 1 / 6) < 4 * fit.llc_se
    llc, _ = polynomials.exact(CASES["w0^4 w1^6"], 1e24)
    assert abs(known.llc - llc) < 4 * known.llc_se


def kernel(*, has_reference=True, move="hmc"):
    """Return a kernel on a quadratic that hardly moves, but where it draws from the localiser."""
    from lambda_hat_core.posterior import Posterior
    from lambda_hat_core.samplers.exchange import Rungs, TemperedKernel
    from tests.core.surfaces import DiagonalQuadratic

    posterior = Posterior(
        jnp.zeros(2), None, jnp.asarray(9.0), jnp.asarray(4.0), DiagonalQuadratic((1.0, 3.0)), 10
    )
    nbeta = jnp.asarray([9.0, 3.0, 1.0, 0.0] if has_reference else [9.0, 3.0, 1.0, 0.5])
    rungs = Rungs(nbeta, jnp.ones((4, 2)), jnp.ones(4), jnp.full(4, 1e-7))
    return TemperedKernel(posterior, rungs, jnp.eye(2), move, 2, has_reference)


COUNT = 4000


@pytest.mark.parametrize("parity", [0, 1])
def test_neighbours_exchange_as_often_as_the_densities_say(x64, parity):
    """A pair that is not due stays, and one that is due has exchanged or has not."""
    tried = kernel(has_reference=False)
    w = jnp.asarray([[0.5, 0.2], [0.3, 0.1], [0.2, 0.6], [0.6, 0.5]])
    loss = 0.5 * np.sum(np.array([1.0, 3.0]) * np.asarray(w) ** 2, axis=1)

    @jax.jit
    def exchanged(key):
        state = tried.init(key, w)._replace(t=jnp.asarray(float(parity)))
        after, stats = jax.vmap(lambda key: tried.step(key, state))(jr.split(key, COUNT))
        near = jnp.abs(after.w[:, :, None] - w).max(-1) < 1e-3
        return jnp.argmax(near, axis=2), stats["exchange_rate"].mean(0)

    places, rates = map(np.asarray, exchanged(jr.key(1)))
    nbeta = np.asarray(tried.rungs.nbeta)
    expected = np.minimum(1, np.exp(np.diff(nbeta) * np.diff(loss)))
    np.testing.assert_allclose(rates, expected, atol=1e-5)
    assert 0.3 < expected.min() < 0.9
    for pair in range(3):
        moved = np.mean((places[:, pair] == pair + 1) & (places[:, pair + 1] == pair))
        share = expected[pair] if pair % 2 == parity else 0.0
        assert abs(moved - share) <= 4 * np.sqrt(share * (1 - share) / COUNT)


@pytest.mark.parametrize("move", ["hmc", "mala", "nuts"])
def test_losses_and_gradients_of_the_state_are_those_of_its_positions(x64, move):
    """After steps of every kernel, whose own state has them times nbeta and with the localiser."""
    import equinox as eqx

    tried = kernel(move=move)
    tried = eqx.tree_at(lambda k: k.rungs.step_size, tried, jnp.full(4, 0.3))

    @jax.jit
    def stepped(key):
        state = tried.init(key, jnp.asarray([0.3, 0.2]))
        state, stats = jax.lax.scan(lambda s, k: tried.step(k, s), state, jr.split(key, 20))
        return state, stats["work"], stats["round_trips"]

    state, work, trips = stepped(jr.key(0))
    w, h = np.asarray(state.w), np.array([1.0, 3.0])
    np.testing.assert_allclose(state.loss, 0.5 * np.sum(h * w**2, axis=1), rtol=1e-10)
    np.testing.assert_allclose(state.slope, h * w, rtol=1e-9, atol=1e-12)
    assert len({tuple(row) for row in w.round(9)}) == 4
    assert (np.asarray(work) >= 4).all()
    if move == "mala":
        assert (np.asarray(work) == 4).all()
    assert set(np.asarray(trips)) <= {0.0, 1.0} and np.sum(trips) > 0


def test_a_round_trip_ends_at_the_coldest_replica_after_the_hottest(x64):
    tried = kernel(has_reference=False)
    state = tried.init(jr.key(0), jnp.zeros(2))
    state = state._replace(returning=jnp.zeros(4))
    # All losses are nearly equal, so that every pair that is due exchanges.
    step = jax.jit(lambda key, state: tried.step(key, state))
    seen, expected, came = [], [], [0, 0, 0, 0]
    for turn, key in enumerate(jr.split(jr.key(1), 13)):
        state, stats = step(key, state)
        seen.append(int(stats["round_trips"]))
        for pair in range(turn % 2, 3, 2):
            came[pair], came[pair + 1] = came[pair + 1], came[pair]
        expected.append(came[0])
        came[0], came[3] = 0, 1
    assert seen == expected and sum(seen) > 3
