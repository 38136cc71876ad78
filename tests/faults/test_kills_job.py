"""The `llc` job killed at random moments: the same command again ends with the same table."""

import dagster as dg
import pytest

from tests.faults.site import JOB, PHASES, end, execute, failures, kills

KILLS = kills(seed=2, count=9, phases=PHASES)


@pytest.mark.parametrize("kill", KILLS, ids=str)
def test_the_same_command_again_ends_with_the_same_table(kill, site, undisturbed, monkeypatch):
    process = site.start(JOB)
    try:
        execute(kill, site, process)
        if kill.victim == "the payload":
            said, _ = process.communicate(timeout=600)
            assert process.returncode == 0, f"one death of a payload is forgiven: {said}"
        else:
            process.wait(timeout=60)
        code, said = site.run(JOB)
    finally:
        end(process)
    assert code == 0, said
    assert site.table() == undisturbed
    assert not failures(site)
    assert not site.corrupt()
    monkeypatch.chdir(site.root)
    with dg.DagsterInstance.from_config(str(site.root), "dagster.yaml") as instance:
        assert instance.get_materialized_partitions(dg.AssetKey("targets")) == set(
            site.plan().targets
        )
        for kind in ("runs", "analyses"):
            made = instance.get_materialized_partitions(dg.AssetKey([kind, "hmc"]))
            assert made == set(site.plan().runs)
