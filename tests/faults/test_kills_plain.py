"""`lambda-hat run` killed at random moments: the same command again ends with the same table."""

import pytest

from tests.faults.site import PHASES, PLAIN, end, execute, failures, kills

KILLS = kills(seed=4, count=11, phases=PHASES[:-1])
"""It refreshes DuckDB's views once, at its beginning."""


@pytest.mark.parametrize("kill", KILLS, ids=str)
def test_the_same_command_again_ends_with_the_same_table(kill, site, undisturbed):
    process = site.start(PLAIN)
    try:
        execute(kill, site, process)
        if kill.victim == "the payload":
            said, _ = process.communicate(timeout=600)
            assert process.returncode == 0, f"one death of a payload is forgiven: {said}"
        else:
            process.wait(timeout=60)
        code, said = site.run(PLAIN)
    finally:
        end(process)
    assert code == 0, said
    assert site.table() == undisturbed
    assert not failures(site)
    assert not site.corrupt()
