"""A run with the advised settings no longer has the reason that the advice was for."""

import jax
import pytest
import yaml

from lambda_hat_core.analysis.estimate import estimate
from lambda_hat_core.analysis.verdict import findings
from lambda_hat_core.config.samplers.base import Until
from lambda_hat_core.config.samplers.stochastic import Sghmc, Sgld
from tests.core import mixed

PLAIN = {"precond": "none", "integrator": "euler", "extrapolate": False, "thin": 2}

CASES = {
    "one chain": Sghmc(n_chains=1, n_draws=200, n_burn=50),
    "ess": Sghmc(n_draws=65, n_burn=5, thin=1),
    "precision": Sgld(**PLAIN, until=Until(rel_se=0.05, max_fge=2000)),
    "stopped early": Sghmc(step_size=3.0, n_draws=200, n_burn=50),
    "ledger": Sgld(**PLAIN, step_size=1.2e-4, n_draws=2000, n_burn=500),
}
"""Settings on a quadratic whose stiffest curvature is 1e4, by the cause of the finding."""


def run(sampler):
    with jax.enable_x64(False):
        return mixed.run(mixed.quadratic(10.0), sampler)


def followed(sampler, advice):
    """Return a sampler with the settings that an advice names."""
    for key, value in yaml.safe_load(f"{{{advice}}}").items():
        if key.startswith("until."):
            rule = sampler.until.model_copy(update={key.removeprefix("until."): value})
            key, value = "until", rule
        sampler = sampler.model_copy(update={key: value})
    return type(sampler).model_validate(sampler.model_dump())


@pytest.mark.parametrize("cause", CASES)
def test_a_run_that_follows_an_advice_no_longer_has_its_reason(cause):
    sampler = CASES[cause]
    found = estimate(run(sampler), sampler=sampler)
    causes = [one.cause for one in findings(found)]
    assert cause in causes
    better = followed(sampler, found.advice[causes.index(cause)])
    assert better != sampler
    again = estimate(run(better), sampler=better)
    assert cause not in [one.cause for one in findings(again)], again.reasons
