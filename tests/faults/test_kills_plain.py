"""`lambda-hat run` killed at random moments: the same command again ends with the same table."""

import pytest

from tests.faults.site import PHASES, PLAIN, killed_and_run_again, kills

KILLS = kills(seed=4, count=11, phases=PHASES[:-1])
"""It refreshes DuckDB's views once, at its beginning."""


@pytest.mark.parametrize("kill", KILLS, ids=str)
def test_the_same_command_again_ends_with_the_same_table(kill, site, undisturbed):
    killed_and_run_again(kill, site, PLAIN, undisturbed)
