"""What a run that ends by a rule forecasts, and what it says that it waits for."""

import math

import pytest

from lambda_hat_core.samplers.rule import Look, StopRule
from tests.core import mixed

RULE = StopRule(40, 2000, 1e5, lambda: False, 0.05, lambda draws: Look(0, False))


@pytest.mark.parametrize(
    ("n_draws", "work", "llc", "se", "total"),
    [
        (100, 1000.0, 10.0, 1.0, 400),  # twice too noisy: four times the draws
        (100, 1000.0, 10.0, 0.5, 140),  # as precise as asked for: a chunk at least
        (100, 50_000.0, 10.0, 1.0, 200),  # half of the work is left
        (100, 100_000.0, 10.0, 1.0, 100),  # or nothing
        (100, 1000.0, 10.0, 9.0, 2000),  # at most so many draws
        (1990, 1000.0, 10.0, 0.5, 2000),
        (100, 1000.0, -1.0, 1.0, 2000),  # nothing is known
        (100, 1000.0, 10.0, math.nan, 2000),
    ],
)
def test_errors_shrink_with_the_root_of_the_draws(n_draws, work, llc, se, total):
    assert RULE.total(n_draws, work, llc, se) == total
    budgets = round(min(1e5 / work, 2000 / n_draws) * n_draws)
    assert RULE.total(n_draws, work, llc, se, is_precise=True) == budgets


def test_a_run_that_is_precise_says_what_it_waits_for(x64):
    """And when its budget ends at the latest, since nobody knows when chains will have mixed."""
    told = []
    until = {"rel_se": 0.9, "max_draws": 80}
    sampler = {"kind": "mala", "step_size": 0.01, "thin": 1, "until": until}
    trace = mixed.run(mixed.quadratic(1.0), sampler, progress=told.append)
    assert trace.info["spent"] == "max_draws"
    assert told[2].waits_for == ""
    assert told[3].waits_for.startswith(("R-hat ", "50 effective draws, of which there are "))
    assert told[3].total == 80 and told[3].so_far == "80 of at most 80 draws"
