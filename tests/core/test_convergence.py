"""Effective sample sizes and R-hat are ArviZ's, and those of processes whose ESS is known."""

import numpy as np
import pytest
from arviz_stats.base.array import array_stats

from lambda_hat_core.analysis import convergence
from lambda_hat_core.analysis.diagnostics import bfmi

OURS = {
    "mean": convergence.ess_mean,
    "bulk": convergence.ess_bulk,
    "tail": convergence.ess_tail,
    "r_hat": convergence.r_hat,
}
ARVIZ = {
    "mean": lambda series: array_stats.ess(series, method="mean"),
    "bulk": lambda series: array_stats.ess(series, method="bulk"),
    "tail": lambda series: array_stats.ess(series, method="tail", prob=0.05),
    "r_hat": array_stats.rhat,
}


def autoregressive(rng, count, draws, memory):
    """Chains of x_t = memory x_(t-1) + xi_t, begun at equilibrium."""
    series = rng.normal(size=(count, draws))
    series[:, 0] /= np.sqrt(1 - memory**2)
    for t in range(1, draws):
        series[:, t] += memory * series[:, t - 1]
    return series


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("memory", [-0.9, 0.0, 0.5, 0.99])
@pytest.mark.parametrize("draws", [4, 5, 11, 50, 333])
def test_the_values_are_those_of_arviz(name, memory, draws):
    rng = np.random.default_rng(draws)
    for count in (1, 2, 5):
        if name == "r_hat" and count == 1:
            continue
        plain = autoregressive(rng, count, draws, memory)
        apart = plain + 3 * rng.normal(size=(count, 1))
        tied = np.round(plain)
        for series in (plain, apart, tied):
            np.testing.assert_allclose(OURS[name](series), ARVIZ[name](series), rtol=1e-9)


def test_the_ess_of_an_autoregressive_process_is_the_known_one():
    series = autoregressive(np.random.default_rng(1), 8, 20_000, 0.8)
    known = series.size * (1 - 0.8) / (1 + 0.8)
    assert convergence.ess_mean(series) == pytest.approx(known, rel=0.06)
    assert convergence.ess_bulk(series) == pytest.approx(known, rel=0.06)


def test_neither_a_shift_nor_a_scale_matters():
    series = autoregressive(np.random.default_rng(2), 4, 100, 0.5)
    for name, measure in OURS.items():
        assert measure(1e-9 * series) == pytest.approx(measure(series), rel=1e-9), name
        # The two values next to the median are equally far from it, so rounding ranks them.
        assert measure(1e6 + series) == pytest.approx(measure(series), rel=1e-3), name


def test_a_drift_of_all_chains_shows_in_r_hat():
    series = autoregressive(np.random.default_rng(3), 4, 200, 0.0)
    assert convergence.r_hat(series) < 1.02
    assert convergence.r_hat(series + np.linspace(0, 5, 200)) > 1.3


def test_the_fraction_of_missing_information_is_that_of_arviz():
    energy = autoregressive(np.random.default_rng(4), 4, 80, 0.9)
    assert bfmi(energy) == pytest.approx(float(np.min(array_stats.bfmi(energy))), rel=1e-12)
