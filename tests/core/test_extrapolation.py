"""The mean at step size 0 from draws at two step sizes, against biases that were put in."""

import numpy as np
import pytest

from lambda_hat_core.analysis.diagnostics import mcmc_mean
from lambda_hat_core.analysis.extrapolation import TAU, extrapolated

FINE = np.arange(4000) % 40 >= 30
"""A quarter of the draws, in blocks."""


def draws(bias, order, *, sd=1.0, mean=10.0, seed=0, n_draws=4000):
    """Independent draws whose mean is off by `bias` at the larger step."""
    fine = FINE[:n_draws]
    noise = sd * np.random.default_rng(seed).normal(size=(4, n_draws))
    return mean + np.where(fine, bias / 2**order, bias) + noise, fine


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("bias", [0.0, 0.5, -0.5])
def test_a_bias_that_the_draws_show_is_removed(order, bias):
    series, fine = draws(bias, order, sd=0.1)
    found = extrapolated(series, fine, order)
    assert found.mean.se < 0.015
    assert abs(found.mean.mean - 10.0) < 4 * found.mean.se + 0.02 * abs(bias)
    assert abs(found.difference - bias * (1 - 2.0**-order)) < 4 * found.difference_se


def test_a_bias_that_the_noise_hides_costs_little():
    """The error grows by the bias that is allowed, not to the several times of a plain solution."""
    series, fine = draws(0.0, 2, sd=20.0)
    plain, found = mcmc_mean(series), extrapolated(series, fine, 2)
    assert plain.se < found.mean.se < 1.5 * np.hypot(plain.se, TAU * 10.0)


def test_intervals_contain_the_value_with_and_without_a_bias():
    """Coverage of 90 % intervals over 400 seeds, bias as large as is expected beforehand."""
    inside = 0
    for seed in range(400):
        bias = TAU * 10.0 * np.random.default_rng(1000 + seed).normal()
        series, fine = draws(bias, 2, sd=5.0, seed=seed, n_draws=400)
        found = extrapolated(series, fine, 2).mean
        inside += abs(found.mean - 10.0) <= found.half_width
    assert inside >= 0.87 * 400


def test_without_two_step_sizes_the_mean_is_the_plain_one():
    series, fine = draws(0.3, 2)
    for same in (np.zeros_like(fine), np.ones_like(fine)):
        assert extrapolated(series, same, 2).mean == mcmc_mean(series)


def test_the_running_estimate_ends_at_the_estimate():
    """Also where a predicted bias decides how far the two step sizes are extrapolated."""
    from lambda_hat_core.analysis.measure import measure
    from lambda_hat_core.analysis.running import running
    from tests.core import traces

    made = traces.trace()
    sizes = np.where(np.arange(made.loss.shape[1]) // 10 % 2 == 1, 0.1, 0.2)
    stats = made.stats | {"step_size": np.tile(sizes, (len(made.loss), 1))}
    ends = []
    for heating in (0.0, 2.0):
        info = made.info | {"step_order": 1, "heating": heating}
        trace = made._replace(stats=stats, info=info)
        found = measure(trace)
        assert running(trace).llc[-1] == found.llc and running(trace).se[-1] == found.llc_se
        ends.append(found.llc_se)
    assert ends[1] > 1.1 * ends[0]
