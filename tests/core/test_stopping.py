"""When a run stops: at a precision, at a budget, and always at the same draw."""

import jax.numpy as jnp
import numpy as np
import pytest

from lambda_hat_core.config.lengths import stopping
from lambda_hat_core.config.samplers.base import Until
from lambda_hat_core.config.samplers.exact import Nuts
from lambda_hat_core.config.samplers.stochastic import Sghmc
from lambda_hat_core.config.samplers.vi import Vi
from lambda_hat_core.samplers.rule import looks


def test_looks_grow_geometrically():
    found = [n for n in range(1, 200) if looks(n)]
    assert found[:4] == [3, 4, 5, 6]
    ratios = np.array(found[8:]) / np.array(found[7:-1])
    assert ratios.min() > 1.15 and ratios.max() < 1.3


def test_a_length_that_is_written_is_meant():
    assert stopping(Sghmc(), set()).until == Until()
    assert stopping(Nuts(n_draws=300), {"n_draws"}).until is None
    assert stopping(Sghmc(until=Until(rel_se=0.1)), {"until"}).until.rel_se == 0.1
    assert stopping(Vi(), set()).until == Until()
    assert stopping(Vi(n_draws=300), {"n_draws"}).until is None


def quadratic(seed=0, d=6, n=400):
    """A regression, its minimum and its data."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    return (lambda w, b: jnp.mean((b[0] @ w - b[1]) ** 2)), np.ones(d), (x, x @ np.ones(d))


@pytest.mark.parametrize("rel_se", [0.1, 0.05])
def test_a_run_stops_at_the_precision_that_was_asked_for(rel_se):
    from lambda_hat_core import estimate_llc

    loss, w, data = quadratic()
    found = estimate_llc(loss, w, data, sampler=Sghmc(until=Until(rel_se=rel_se)), progress=False)
    assert found.verdict == "ok" and found.se <= rel_se * found.llc
    assert found.trace.info["stopped_by"] == "precision"
    again = estimate_llc(loss, w, data, sampler=Sghmc(until=Until(rel_se=rel_se)), progress=False)
    np.testing.assert_array_equal(found.trace.loss, again.trace.loss)


def test_a_run_stops_at_its_budget():
    from lambda_hat_core import estimate_llc

    loss, w, data = quadratic()
    until = Until(rel_se=1e-4, max_fge=3000.0)
    found = estimate_llc(loss, w, data, sampler=Sghmc(until=until), progress=False)
    assert found.trace.info["stopped_by"] == "budget"
    assert 3000 <= found.trace.work_fge < 6000
