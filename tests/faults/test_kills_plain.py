"""`lambda-hat run` over a training, killed at random moments: the same command ends the same.

The kills are in the training, while its checkpoints are audited, and in the middle of their runs.
"""

import pytest

from tests.faults.site import (
    EXPERIMENT,
    PHASES,
    PLAIN,
    Phase,
    Site,
    killed_and_run_again,
    kills,
    leases,
)

AUDITING = Phase("auditing", leases("targets"), 1.0)
TRAINING = Phase("training", leases("trajectories"), 1.0)
KILLS = kills(
    seed=4,
    count=10,
    phases=[PHASES[0], TRAINING, AUDITING, *PHASES[2:-1]],
)
"""The command refreshes DuckDB's views once, at its beginning."""


def along(site):
    """Write the experiment as two checkpoints of one training, with one run for each."""
    target = EXPERIMENT["targets"][0] | {"checkpoints": {"at": [100, 300]}}
    changes = {"targets": [target], "samplers": EXPERIMENT["samplers"][:1]}
    site.write("config/experiment/small.yaml", EXPERIMENT | changes)
    return site


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The table of an undisturbed experiment."""
    site = along(Site(tmp_path_factory.mktemp("undisturbed")))
    code, said = site.run(PLAIN)
    assert code == 0, said
    assert len(site.ids("trajectories")) == 1 and len(site.table()) == 2
    return site.table()


@pytest.mark.parametrize("kill", KILLS, ids=str)
def test_the_same_command_again_ends_with_the_same_table(kill, site, undisturbed):
    killed_and_run_again(kill, along(site), PLAIN, undisturbed)
