"""Where replicas are, what they tell together, and when they are not to be relied on."""

import math

import numpy as np
import pytest

from tests.core import polynomials, traces


@pytest.mark.parametrize("llc", [0.5, 2.0, 20.0])
def test_the_barrier_is_that_of_gamma_distributed_losses(llc):
    """The rejection of two neighbours at a small distance s in log nbeta, from random losses."""
    from lambda_hat_core.samplers.ladder import barrier_density

    rng, s = np.random.default_rng(0), 0.05
    cold, hot = rng.gamma(llc, size=(2, 400_000))
    hot = hot * math.exp(s)
    rejected = 1 - np.exp(np.minimum(0, (1 - math.exp(-s)) * (cold - hot)))
    error = rejected.std() / math.sqrt(rejected.size)
    assert abs(rejected.mean() / s - barrier_density(llc)) < 4 * error / s + 0.03


def test_equal_rejections_leave_a_ladder_as_it_is():
    from lambda_hat_core.samplers.ladder import equalised, first

    ladder = first(1e4, 0.0, 2.0, 0.5, 7)
    assert ladder[0] == 1e4 and ladder[-1] == 0 and ladder[-2] == pytest.approx(2.0)
    np.testing.assert_allclose(equalised(ladder, np.full(6, 0.3), 2.0, 7), ladder)


def test_replicas_move_to_where_neighbours_reject():
    from lambda_hat_core.samplers.ladder import equalised, first

    ladder = first(1e4, 1.0, 1.0, 0.5, 5)
    moved = equalised(ladder, np.array([0.8, 0.1, 0.05, 0.05]), 1.0, 5)
    assert moved[0] == 1e4 and moved[-1] == 1.0 and np.all(np.diff(moved) < 0)
    assert np.sum(moved > ladder[1]) == 4, "four fifths of the barrier are in the first gap"


def test_the_number_of_replicas_follows_from_the_barrier():
    from lambda_hat_core.samplers import ladder

    count = len(ladder.first(1e4, 1.0, 1.0, 8.0, None))
    barrier = ladder.barrier_density(8.0) * math.log(1e4)
    assert (count - 2) * ladder.REJECTION < barrier < (count - 1) * ladder.REJECTION
    assert ladder.wanted(np.full(11, ladder.REJECTION)) == 12
    assert ladder.wanted(np.full(11, 0.9)) == 21
    assert ladder.wanted(np.full(200, 0.9)) == ladder.MOST


def test_profile_and_evidence_of_a_quadratic():
    from lambda_hat_core.analysis.tempering import tempering

    trace, llc, evidence = traces.quadratic_at_several_nbeta()
    found = tempering(trace)
    assert found.reference_nbeta == 0 and found.round_trips == 8000
    assert found.round_trips_by_chain == [2000] * 4 and found.exchange_rate_min == pytest.approx(
        0.4
    )
    for index, replica in enumerate(found.replicas[:-1]):
        assert replica.llc_se < 0.025 * llc[index]
        assert abs(replica.llc - llc[index]) < 4 * replica.llc_se
        assert 0 < replica.log_evidence_se < 0.04
        assert abs(replica.log_evidence - evidence[index]) < 4 * replica.log_evidence_se
    assert found.replicas[-1].llc is None and found.replicas[-1].log_evidence == 0
    assert found.replicas[-1].exchange_rate is None
    assert found.plain()["replicas"][0]["nbeta"] == 1000.0


def test_losses_that_overflow_far_from_the_minimum_leave_the_evidence():
    from lambda_hat_core.analysis.tempering import tempering

    trace, _, evidence = traces.quadratic_at_several_nbeta()
    losses = trace.stats["replica_loss"].copy()
    losses[:, ::200, -1], losses[:, 1::200, -1] = np.nan, np.inf
    found = tempering(trace._replace(stats={**trace.stats, "replica_loss": losses}))
    assert abs(found.log_evidence - evidence[0]) < 4 * found.log_evidence_se + 0.01


def test_replicas_without_overlap_leave_no_evidence():
    """Of a loss without a lower bound the colder replica has fallen out of sight of the other."""
    from lambda_hat_core.analysis.tempering import tempering

    trace, _, _ = traces.quadratic_at_several_nbeta()
    losses = trace.stats["replica_loss"].copy()
    losses[:, :, 0] -= 1e6
    found = tempering(trace._replace(stats={**trace.stats, "replica_loss": losses}))
    assert found.log_evidence is None and found.log_evidence_se is None
    assert found.replicas[1].log_evidence is not None


def test_the_error_of_the_evidence_is_the_scatter_over_runs():
    from lambda_hat_core.analysis.tempering import tempering

    whole, _, evidence = traces.quadratic_at_several_nbeta(n_draws=8000)
    parts = []
    for k in range(40):
        kept = slice(200 * k, 200 * (k + 1))
        stats = {name: values[:, kept] for name, values in whole.stats.items()}
        found = tempering(whole._replace(loss=whole.loss[:, kept], stats=stats))
        parts.append((found.log_evidence - evidence[0], found.log_evidence_se))
    errors, ses = np.array(parts).T
    assert 0.7 < errors.std() / ses.mean() < 1.35


@pytest.mark.parametrize(
    ("rates", "trips", "spread", "words"),
    [
        (0.4, 1.0, 1.0, []),
        (0.04, 1.0, 1.0, ["below 0.05", "n_replicas: 10"]),
        (0.4, 0.0, 1.0, []),
        (0.4, 0.0, 200.0, ["only 0 round trips", "n_draws: "]),
        (0.4, 1.0, 200.0, []),
    ],
)
def test_replicas_that_do_not_exchange_make_a_run_suspect(rates, trips, spread, words):
    """Few round trips are no reason where V_M is known well, but its noise is none with many."""
    from lambda_hat_core.analysis.estimate import estimate
    from lambda_hat_core.config.samplers.tempered import Tempered

    trace = traces.quadratic_at_several_nbeta(rates=rates, trips=trips)[0]
    mean = trace.virial_m.mean()
    trace = trace._replace(virial_m=mean + spread * (trace.virial_m - mean))
    found = estimate(trace, sampler=Tempered(n_draws=1000, n_burn=0))
    assert (found.v_m_se > 0.1) == (spread > 1)
    assert found.verdict == ("suspect" if words else "ok"), found.reasons
    assert len(found.reasons) == bool(words)
    for word, said in zip(words, [*found.reasons, *found.advice], strict=True):
        assert word in said


@pytest.mark.parametrize(
    ("powers", "nbeta", "llc", "m"),
    [((2, 2), 1e8, 1 / 2, 2), ((2, 4), 1e8, 1 / 4, 1), ((4, 6), 1e16, 1 / 6, 1)],
)
def test_the_leading_pole_is_found_from_a_profile(powers, nbeta, llc, m):
    """Exact values with errors of 0.6 %."""
    from lambda_hat_core.analysis.poles import pole_fit

    ladder = np.geomspace(nbeta, 3.0, 16)
    exact = np.array([polynomials.exact((powers,), value)[0] for value in ladder])
    for seed in range(4):
        noise = 0.006 * exact * np.random.default_rng(seed).normal(size=16)
        fit = pole_fit(ladder, exact + noise, 0.006 * exact, 2)
        assert fit.multiplicity == m
        assert abs(fit.llc - llc) < 0.03 * llc
        assert abs(fit.llc - llc) < 3 * fit.llc_se


def test_poles_that_cannot_be_told_apart_are_in_the_error():
    """At nbeta 1e4 the poles 1/6 and 1/4 look like one of m = 2 with too large a lambda."""
    from lambda_hat_core.analysis.poles import pole_fit

    ladder = np.geomspace(1e4, 3.0, 14)
    exact = np.array([polynomials.exact(((4, 6),), value)[0] for value in ladder])
    fit = pole_fit(ladder, exact, 0.006 * exact, 2)
    assert fit.weight < 0.9
    assert 0.05 < fit.llc_se * 6 and abs(fit.llc - 1 / 6) < 3 * fit.llc_se


def test_a_profile_of_two_regimes_has_no_fit():
    """One that rises again where the data's own noise is resolved, as after training."""
    from lambda_hat_core.analysis.poles import pole_fit

    ladder = np.geomspace(1e4, 3.0, 14)
    rising = 7 + 3 / (1 + (1e3 / ladder) ** 2)
    assert pole_fit(ladder, rising, np.full(14, 0.02), 30).llc is None


def test_too_few_replicas_have_no_fit():
    from lambda_hat_core.analysis.poles import pole_fit

    few = np.array([1e4, 1e3, 1e2])
    fit = pole_fit(few, np.full(3, 0.5), np.full(3, 0.01), 2)
    assert fit.llc is None and fit.n_points == 3


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"ladder": [100.0, 100.0]}, "list every nbeta once"),
        ({"ladder": [100.0], "n_replicas": 4}, "remove n_replicas, or ladder"),
        ({"ladder": [100.0], "nbeta_min": 1.0}, "remove nbeta_min, or ladder"),
        ({"kernel": "mala", "n_leapfrog": 9}, "set kernel to hmc"),
        ({"n_replicas": 1}, "must be >= 2"),
    ],
)
def test_settings_that_contradict_each_other(settings, words):
    from lambda_hat_core import Tempered
    from lambda_hat_core.config.errors import ConfigError

    with pytest.raises(ConfigError, match=words):
        Tempered(**settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"ladder": (20_000.0, 10.0)}, "choose ladder below 10000"),
        ({"nbeta_min": 10_000.0}, "choose nbeta_min below 10000"),
    ],
)
def test_replicas_that_are_not_hotter_than_the_run(settings, words):
    with pytest.raises(ValueError, match=words):
        polynomials.run(((2, 2),), 1e4, settings)


def test_a_coldest_value_that_is_negative_by_noise_does_not_stop_the_fit():
    from lambda_hat_core.analysis.poles import pole_fit

    nbeta = np.geomspace(1e2, 1e9, 8)[::-1]
    llc, se = 0.25 - 1 / (np.log(nbeta) + 4), np.full(8, 0.004)
    llc[0], se[0] = -0.3, 0.4
    fit = pole_fit(nbeta, llc, se, 2)
    assert fit.llc is None or fit.llc >= 0
