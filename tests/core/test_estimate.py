"""Estimates and their errors for traces with known answers."""

import math

import numpy as np
import pytest

from tests.core import traces

D = 10
EXACT = D / 2


def measured(trace):
    from lambda_hat_core.analysis.measure import measure

    return measure(trace)


def replicates(rho, n_chains, n_draws, count, d=1):
    """Return the means of `count` runs whose LLC draws are half chi-squared(d)."""
    from lambda_hat_core.analysis.diagnostics import mcmc_mean

    rng = np.random.default_rng(11)
    points = traces.ar1(rng, count * n_chains * d, n_draws, rho)
    series = 0.5 * np.sum(points.reshape(count, n_chains, d, n_draws) ** 2, axis=2)
    return [mcmc_mean(one) for one in series]


@pytest.mark.parametrize(
    ("rho", "n_chains", "n_draws"),
    [(0.0, 4, 200), (0.5, 4, 500), (0.95, 4, 500), (0.5, 2, 500), (0.5, 8, 250), (0.5, 1, 1000)],
)
def test_intervals_have_their_nominal_coverage(rho, n_chains, n_draws):
    count, exact = 240, 0.5
    runs = replicates(rho, n_chains, n_draws, count)
    covered = np.mean([abs(run.mean - exact) < run.half_width for run in runs])
    noise = 2 * math.sqrt(0.9 * 0.1 / count)
    assert covered > (0.9 if n_chains > 1 else 0.86) - noise
    assert covered < 0.995


@pytest.mark.parametrize(("rho", "n_chains"), [(0.0, 4), (0.5, 4), (0.95, 4), (0.5, 1)])
def test_standard_errors_equal_the_scatter_of_the_means(rho, n_chains):
    runs = replicates(rho, n_chains, 1000, 200)
    scatter = np.std([run.mean for run in runs])
    claimed = np.mean([run.se for run in runs])
    assert 0.85 * scatter < claimed < 1.4 * scatter


def test_estimate_of_a_well_mixed_run():
    estimate = measured(traces.trace(d=D))
    assert abs(estimate.llc - EXACT) < 4 * estimate.llc_se < 0.5
    assert estimate.llc_lo < estimate.llc < estimate.llc_hi
    assert estimate.llc_hi - estimate.llc == pytest.approx(estimate.llc - estimate.llc_lo)
    assert 600 < estimate.ess_bulk < 2000
    assert estimate.r_hat < 1.01
    assert estimate.r_hat_projections < 1.01
    assert estimate.v_m == pytest.approx(2 * estimate.llc / D)
    assert estimate.v_m_se == pytest.approx(2 * estimate.llc_se / D)
    assert estimate.wnv == pytest.approx(estimate.llc_se**2 * estimate.work_fge)
    assert estimate.wnv_seconds == pytest.approx(estimate.llc_se**2 * 7.5)
    assert estimate.efficiency == pytest.approx(estimate.ess_bulk / estimate.work_fge)
    assert estimate.acceptance == pytest.approx(0.8)
    assert 0.5 < estimate.bfmi < 3
    assert (estimate.n_divergent, estimate.n_stuck, estimate.khat) == (0, 0, None)


def test_all_numbers_are_plain_python():
    import json

    for trace in (traces.trace(), traces.trace(n_draws=0), traces.trace(n_chains=1, n_draws=3)):
        values = measured(trace)._asdict()
        assert json.loads(json.dumps(values, allow_nan=False)) == values


def test_autocorrelation_reduces_the_ess():
    sticky = measured(traces.trace(rho=0.9))
    loose = measured(traces.trace(rho=0.0))
    expected = (1 - 0.9**2) / (1 + 0.9**2)
    assert sticky.ess_bulk / loose.ess_bulk == pytest.approx(expected, rel=0.4)
    assert sticky.llc_se > 2 * loose.llc_se


def test_a_chain_at_another_value_increases_the_error_and_r_hat():
    trace = traces.trace()
    loss = trace.loss.copy()
    loss[0] += 5 / trace.nbeta
    estimate = measured(trace._replace(loss=loss))
    assert estimate.r_hat > 1.1
    assert estimate.r_hat_of == "the loss"
    assert estimate.llc_lo < EXACT < estimate.llc_hi


def test_a_chain_that_does_not_move_is_counted_as_stuck():
    trace = traces.trace()
    loss = trace.loss.copy()
    loss[2] = loss[2, 0]
    estimate = measured(trace._replace(loss=loss))
    assert estimate.n_stuck == 1
    assert estimate.r_hat > 1.01


def test_unexplored_directions_show_only_in_r_hat_of_the_projections():
    trace = traces.trace()
    projections = trace.projections + np.arange(4.0)[:, None, None]
    estimate = measured(trace._replace(projections=projections))
    assert estimate.r_hat_projections > 1.1
    assert estimate.r_hat < 1.01 and estimate.r_hat_of in ("the loss", "|w - w*|^2")


def test_frozen_projections_give_the_largest_r_hat():
    from lambda_hat_core.analysis.diagnostics import R_HAT_CAP

    trace = traces.trace()
    frozen = np.broadcast_to(np.arange(4.0)[:, None, None], trace.projections.shape)
    assert measured(trace._replace(projections=frozen)).r_hat_projections == R_HAT_CAP


def test_tiny_losses_are_not_mistaken_for_constants():
    from lambda_hat_core.analysis.diagnostics import ess_bulk, mcmc_mean

    series = traces.trace().llc
    assert ess_bulk(1e-17 * series) == pytest.approx(ess_bulk(series))
    assert mcmc_mean(1e-17 * series).se == pytest.approx(1e-17 * mcmc_mean(series).se)


@pytest.mark.parametrize("where", ["loss", "dist2", "projections", "virial", "virial_m"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_one_non_finite_number_leaves_no_estimate(where, value):
    trace = traces.trace()
    values = getattr(trace, where).copy()
    values[1, 3] = value
    estimate = measured(trace._replace(**{where: values}))
    for name in ("llc", "llc_se", "llc_lo", "ess_bulk", "r_hat", "v_m", "wnv", "llc_min"):
        assert getattr(estimate, name) is None, name
    assert estimate.work_fge > 0


def test_a_run_that_stopped_early_has_no_estimate():
    estimate = measured(traces.trace(failure="the loss is not finite at draw 3"))
    assert estimate.llc is None
    assert estimate.n_draws == 500


def test_diagnostics_that_need_more_chains_or_draws_are_none():
    one = measured(traces.trace(n_chains=1))
    assert one.r_hat is None
    assert one.llc_se > 0
    three = measured(traces.trace(n_draws=3))
    assert (three.r_hat, three.ess_bulk) == (None, None)
    assert three.llc_se > 0
    least = measured(traces.trace(n_chains=1, n_draws=3))
    assert least.llc is not None
    assert (least.llc_se, least.llc_lo) == (None, None)


def test_the_error_of_independent_draws_follows_from_their_number():
    trace = traces.trace(rho=0.0, d=D, iid=True)
    estimate = measured(trace)
    assert estimate.llc_se == pytest.approx(math.sqrt(D / 2 / trace.loss.size), rel=0.4)
    assert estimate.ess_bulk == trace.loss.size
    assert (estimate.r_hat, estimate.n_stuck) == (None, 0)


def test_the_bias_of_restarts_that_disagree_does_not_average_out():
    trace = traces.trace(rho=0.0, d=D, n_draws=4000, iid=True)
    offsets = np.array([-1.0, 1.0, -1.0, 1.0])[:, None] / trace.nbeta
    estimate = measured(trace._replace(loss=trace.loss + offsets))
    assert estimate.llc_se == pytest.approx(np.std([-1, 1, -1, 1], ddof=1), rel=0.05)


def test_a_constant_scalar_has_no_error():
    trace = traces.trace(iid=True)
    estimate = measured(trace._replace(loss=np.full_like(trace.loss, trace.loss0 + 0.01)))
    assert estimate.llc == pytest.approx(2.0)
    assert (estimate.llc_se, estimate.wnv, estimate.n_stuck) == (None, None, 4)


def test_control_variates_replace_the_mean_of_the_draws():
    trace = traces.trace(iid=True)
    means = trace.loss0 + np.array([4.9, 5.1, 5.0, 5.0]) / trace.nbeta
    ses = np.full(4, 0.2) / trace.nbeta
    estimate = measured(trace._replace(extras={"restart_loss": means, "restart_loss_se": ses}))
    assert estimate.llc == pytest.approx(5.0)
    assert estimate.llc_se == pytest.approx(0.1)


@pytest.mark.parametrize("moved", [0.3, -0.3])
def test_the_interval_includes_the_estimate_from_weighted_draws(moved):
    trace = traces.trace(iid=True)
    plain = measured(trace)
    weighted = trace.llc.mean(axis=1) + moved
    estimate = measured(trace._replace(extras={"llc_importance": weighted}))
    assert (estimate.llc, estimate.llc_se) == (plain.llc, plain.llc_se)
    assert estimate.family_bias == pytest.approx(-moved)
    assert estimate.llc_hi == pytest.approx(plain.llc_hi + max(moved, 0))
    assert estimate.llc_lo == pytest.approx(plain.llc_lo + min(moved, 0))


def test_intervals_over_restarts_have_their_nominal_coverage():
    from lambda_hat_core.analysis.diagnostics import iid_mean

    rng, count = np.random.default_rng(5), 300
    for spread in (0.0, 0.05, 0.1, 0.2, 0.5):
        offsets = spread * rng.normal(size=(count, 4, 1))
        runs = [iid_mean(one) for one in rng.normal(size=(count, 4, 100)) + offsets]
        covered = np.mean([abs(run.mean) < run.half_width for run in runs])
        assert covered > 0.9 - 2 * math.sqrt(0.09 / count)
