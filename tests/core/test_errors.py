"""Standard errors, intervals and the numbers that the verdict uses, against exact values."""

import math

import numpy as np
import pytest
from scipy import special

from tests.core import traces

T_95 = {1: 6.313752, 3: 2.353363, 7: 1.894579}
"""The 95 % quantile of Student's t from a table, by degrees of freedom."""


@pytest.mark.parametrize("dof", T_95)
def test_an_interval_uses_the_quantile_of_its_degrees_of_freedom(dof):
    """Three draws per chain have no ESS, so only the scatter of the C means remains."""
    from lambda_hat_core.analysis.diagnostics import mcmc_mean

    series = np.random.default_rng(0).normal(size=(dof + 1, 3))
    found = mcmc_mean(series)
    se = np.std(series.mean(axis=1), ddof=1) / math.sqrt(dof + 1)
    assert found.mean == pytest.approx(series.mean())
    assert found.se == pytest.approx(se)
    assert found.half_width == pytest.approx(T_95[dof] * se, rel=1e-6)


def test_few_effective_draws_widen_the_interval_of_one_chain():
    """The degrees of freedom are those implied by the standard error."""
    from lambda_hat_core.analysis.diagnostics import mcmc_mean

    series = traces.ar1(np.random.default_rng(3), 1, 200, 0.97)
    found = mcmc_mean(series)
    ess = series.var(ddof=1) / found.se**2
    assert ess < 8
    assert special.stdtr(ess - 1, found.half_width / found.se) == pytest.approx(0.95, abs=1e-9)


def test_the_standard_error_accounts_for_rare_long_excursions():
    """Ranks hide excursions; for those of a two-state chain the variance of the mean is known.

    x_t = noise + 20 b_t, with b_t in (0, 1), mean p and correlation a^k: the mean of n draws has
    the variance (1 + 400 p (1 - p) (1 + a) / (1 - a)) / n, up to 1 / n.
    """
    from lambda_hat_core.analysis.diagnostics import ess_bulk, mcmc_mean

    rng, n, p, a, count = np.random.default_rng(4), 8000, 0.05, 0.95, 30
    exact = math.sqrt((1 + 400 * p * (1 - p) * (1 + a) / (1 - a)) / n)
    state = (rng.random(count) < p).astype(float)
    visits = np.empty((count, n))
    for t in range(n):
        stays = rng.random(count) < a
        state = np.where(stays, state, rng.random(count) < p)
        visits[:, t] = state
    series = rng.normal(size=(count, n)) + 20 * visits
    claimed = np.array([mcmc_mean(one[None]).se for one in series])
    noise = claimed.std(ddof=1) / math.sqrt(count)
    assert noise < 0.05 * exact
    assert abs(claimed.mean() - exact) < 4 * noise + 0.1 * exact
    by_ranks = np.mean([one.std() / math.sqrt(ess_bulk(one[None])) for one in series])
    assert by_ranks < 0.6 * exact


def test_error_and_interval_are_the_larger_of_both():
    """The chains stay at different values, which the draws within a chain cannot show."""
    from lambda_hat_core.analysis.diagnostics import mcmc_mean

    offsets = np.array([-3.0, -1.0, 1.0, 3.0])
    series = np.random.default_rng(5).normal(size=(4, 1000)) + offsets[:, None]
    found = mcmc_mean(series)
    apart = np.std(series.mean(axis=1), ddof=1) / 2
    assert found.se >= apart > 1.2
    assert found.half_width >= T_95[3] * apart * (1 - 1e-9)


@pytest.mark.parametrize("name", ["the loss", "|w - w*|^2"])
def test_the_verdict_uses_the_smallest_ess_of_all_quantities(name):
    """A slow part makes a small part of the loss, or all of it."""
    from lambda_hat_core.analysis.diagnostics import ess_bulk, ess_tail
    from lambda_hat_core.analysis.measure import measure

    trace = traces.trace(n_draws=1000)
    slow = traces.ar1(np.random.default_rng(6), 4, 1000, 0.99)
    loss = slow**2 / trace.nbeta
    if name == "|w - w*|^2":
        trace = trace._replace(dist2=loss)
        loss = 0.5 * loss + trace.loss - trace.loss0
    trace = trace._replace(loss=trace.loss0 + loss)
    found = measure(trace)
    rho, ess = np.corrcoef(loss.ravel(), trace.dist2.ravel())[0, 1], ess_bulk(trace.dist2)
    sizes = {
        "the loss": ess_bulk(trace.llc),
        "the tails of the loss": ess_tail(trace.llc),
        "|w - w*|^2": ess / (rho**2 + 1 / ess),
    }
    assert found.ess_min == pytest.approx(min(sizes.values()))
    assert sizes[found.ess_min_of] == pytest.approx(found.ess_min)
    assert (found.ess_bulk, found.ess_tail) == (sizes["the loss"], sizes["the tails of the loss"])
    assert found.ess_min_of.endswith(name)


def test_distances_count_as_far_as_the_loss_depends_on_them():
    """The loss is independent of them; what is left is the error of the correlation, 1 / ESS."""
    from lambda_hat_core.analysis.diagnostics import ess_bulk, r_hat
    from lambda_hat_core.analysis.mixing import mixing

    trace = traces.trace(n_draws=1000)
    slow = traces.ar1(np.random.default_rng(6), 4, 1000, 0.999) ** 2
    found = mixing(trace._replace(dist2=slow))
    rho = np.corrcoef(trace.llc.ravel(), slow.ravel())[0, 1]
    share = rho**2 + 1 / ess_bulk(slow)
    assert share < 0.3 and ess_bulk(slow) < 10
    assert found.ess_min == pytest.approx(ess_bulk(slow) / share)
    assert found.r_hat == pytest.approx(math.sqrt(1 + share * (r_hat(slow) ** 2 - 1)))
    assert found.r_hat > 1.05 and found.r_hat_of == "|w - w*|^2"


def test_chains_that_are_a_few_lengths_long_have_as_few_effective_draws():
    from lambda_hat_core.analysis.measure import measure
    from lambda_hat_core.analysis.verdict import findings

    trace = traces.trace(n_draws=500)
    trace = trace._replace(info={**trace.info, "turns_per_draw": 0.0055})
    found = measure(trace)
    assert found.ess_min == pytest.approx(11.0)
    [finding] = findings(found)
    assert finding.cause == "ess" and "11 of the direction of motion" in finding.text


def test_r_hat_detects_chains_with_equal_losses_but_different_distances():
    from lambda_hat_core.analysis.measure import measure

    trace = traces.trace()
    shifted = trace.dist2 * np.array([1.0, 1.0, 2.0, 4.0])[:, None]
    found = measure(trace._replace(dist2=shifted))
    assert found.r_hat > 1.1
    assert found.r_hat_of == "|w - w*|^2"


def test_k_hat_is_that_of_the_worst_restart():
    from lambda_hat_core.analysis.measure import measure

    trace = traces.trace(iid=True, extras={"khat": np.array([0.1, 0.9, 0.2, 0.3])})
    assert measure(trace).khat == 0.9
