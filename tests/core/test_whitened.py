"""Minibatch samplers as they are by default, in a damped metric, where the answer is known."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.core import mixed
from tests.core.test_samplers import (
    MCMC,
    NETWORKS,
    QUADRATICS,
    WHITENED,
    agrees,
    in_float64,
    traced,
)

FULL = {"batch_size": None, "extrapolate": False, "step_fraction": 2.0}
"""Half the largest step that is stable, with full gradients."""


@pytest.mark.parametrize("case", QUADRATICS)
@pytest.mark.parametrize("name", WHITENED)
def test_in_the_metric_full_gradients_are_exact_at_every_stable_step(name, case):
    """Half of the largest stable step, so that a bias of order h^2 would be as large as the llc."""
    trace = traced(name, case, QUADRATICS[case], **FULL)
    assert trace.info["step_limited_by"] == "curvature"
    agrees(trace, QUADRATICS[case].oracle, bias=0.0, se_cap=0.015)


MIXING = [
    (name, case)
    for name in WHITENED
    for case in QUADRATICS
    if "kronecker" not in name or case == "condition 1"
]
"""A single vector has no product basis, and a metric without one takes too long for a small se."""


@pytest.mark.parametrize(("name", "case"), MIXING)
def test_in_the_metric_the_noise_of_minibatches_is_made_up_for(name, case):
    """But for the sixth that depends on w: at one step size, and extrapolated to step size 0.

    How much of it there is, is measured at eight points: that leaves 3 % of the llc of `sghmc`.
    What the extrapolation does not know of the bias is in its error. A thermostat makes up for the
    mean over all directions alone, which its ledger takes into account.
    """
    answer = QUADRATICS[case].oracle
    fixed = traced(name, case, QUADRATICS[case], extrapolate=False)
    left = fixed.info["ledger"]["predicted"] if "sgnht" in name else answer
    assert abs(left - answer) < 0.04 * answer
    agrees(fixed, left, bias=0.03, se_cap=0.01, is_plain=True)
    agrees(traced(name, case, QUADRATICS[case]), answer, bias=0.0, se_cap=0.04)


@pytest.mark.parametrize("case", ["singular", *NETWORKS])
@pytest.mark.parametrize("name", WHITENED)
def test_the_defaults_are_within_five_percent_where_no_gaussian_is_right(name, case):
    found = {**NETWORKS, "singular": mixed.singular()}[case]
    agrees(traced(name, case, found), found.oracle, bias=0.05, se_cap=0.05)


def steep_crossing(name, **changes):
    """Estimates of eight seeds where the ridges are steeper than all that the pilot meets."""
    from lambda_hat_core.analysis.estimate import estimate
    from lambda_hat_core.truth import quadrature

    nbeta = 1000 / math.log(1000)
    answer = quadrature.potential(lambda w: (w[:, 0] * w[:, 1]) ** 2, np.zeros(2), nbeta, 1.0)
    case = mixed.Case(mixed.data(q=1.0), nbeta, 1.0, answer)
    sampler = {"n_chains": 8, **MCMC[name], **changes}
    with jax.enable_x64(in_float64(name)):
        return [estimate(mixed.run(case, sampler, seed=seed)) for seed in range(8)], answer


def test_plain_sgld_that_leaves_a_steep_crossing_is_seldom_ok():
    """The ledger warns of most steps that are too large, but sees only where the pilot was."""
    found, answer = steep_crossing("sgld none", step_fraction=0.6)
    plain = [one.llc_uncorrected for one in found if one.llc_uncorrected is not None]
    assert np.mean(plain) > 1.2 * answer
    assert [one.verdict for one in found].count("ok") <= 2
    assert any("the ledger predicts" in reason for one in found for reason in one.reasons)


@pytest.mark.parametrize("name", WHITENED)
def test_the_defaults_stay_at_a_steep_crossing(name):
    found, answer = steep_crossing(name)
    values, errors = np.array([(one.llc, one.llc_se) for one in found]).T
    assert (abs(values - answer) < 4 * errors).all()
    se = np.std(values, ddof=1) / math.sqrt(8)
    assert se < 0.04 * answer
    assert abs(values.mean() - answer) < 4 * se


def test_noise_beyond_the_metric_heats_less_than_foretold():
    """On 300 parameters, of which the metric has 85 directions; batches and one step size alone."""
    from lambda_hat_core import Sghmc, estimate_llc

    rng, d, n = np.random.default_rng(0), 300, 2000
    x = rng.normal(size=(n, d)) * np.geomspace(1, 0.1, d)
    y = x @ np.ones(d) + rng.normal(size=n)

    def loss(w, batch):
        return jnp.mean((batch[0] @ w - batch[1]) ** 2)

    sampler = Sghmc(batch_size=64, extrapolate=False, n_draws=1000, n_burn=200)
    found = estimate_llc(loss, np.linalg.lstsq(x, y)[0], (x, y), sampler=sampler, progress=False)
    stiff = n / np.log(n) * 2 * np.linalg.eigvalsh(x.T @ x / n)
    exact, bound = 0.5 * np.sum(stiff / (stiff + 1)), found.trace.info["heating"]
    assert 0.05 * exact < bound < 0.2 * exact
    assert found.se < 0.005 * exact
    # What is made up for on average over the complement cools its softest directions by a little.
    assert abs(found.llc - exact) < 4 * found.se + 0.02 * exact
