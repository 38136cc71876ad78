"""The `llc` job killed at random moments: the same command again ends with the same table."""

import dagster as dg
import pytest

from tests.faults.site import JOB, PHASES, killed_and_run_again, kills

KILLS = kills(seed=2, count=9, phases=PHASES)


@pytest.mark.parametrize("kill", KILLS, ids=str)
def test_the_same_command_again_ends_with_the_same_table(kill, site, undisturbed, monkeypatch):
    killed_and_run_again(kill, site, JOB, undisturbed)
    monkeypatch.chdir(site.root)
    with dg.DagsterInstance.from_config(str(site.root), "dagster.yaml") as instance:
        assert instance.get_materialized_partitions(dg.AssetKey("targets")) == set(
            site.plan().targets
        )
        for kind in ("runs", "analyses"):
            made = instance.get_materialized_partitions(dg.AssetKey([kind, "hmc"]))
            assert made == set(site.plan().runs)
