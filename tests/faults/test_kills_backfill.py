"""A backfill over the checkpoints of a training, killed with all of `dagster dev` in the middle.

The server is started again and the same backfill is given again: the curve is that of a command
that nothing disturbed, every key is there once, and what was complete is not made again.
"""

import os
import signal
from pathlib import Path

import dagster as dg
import pytest

from lambda_hat_core.store import process, sql
from tests.faults.site import EXPERIMENT, PLAIN, Site, failures, leases, payloads
from tests.webserver import graphql, served, wait_for

STEPS = [50, 100, 150, 200, 250, 300]
ASSETS = [["trajectories"], ["targets"], ["runs", "hmc"], ["analyses", "hmc"]]
BACKFILL = """mutation ($params: LaunchBackfillParams!) {
    launchPartitionBackfill(backfillParams: $params) {
        __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message }
    }
}"""
STATES = """{
    partitionBackfillsOrError { ... on PartitionBackfills { results { id status } } }
    runsOrError { ... on Runs { results { runId status } } }
}"""
CURVE = "SELECT step, * EXCLUDE (step, created_at, wall_s, experiment) FROM llc ORDER BY step"


def along(root):
    """Return a folder with six checkpoints of one training, and one run for each."""
    site = Site(root)
    target = EXPERIMENT["targets"][0] | {"checkpoints": {"at": STEPS}}
    changes = {"targets": [target], "samplers": EXPERIMENT["samplers"][:1]}
    site.write("config/experiment/small.yaml", EXPERIMENT | changes)
    return site


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The curve of an undisturbed command."""
    site = along(tmp_path_factory.mktemp("undisturbed"))
    code, said = site.run(PLAIN)
    assert code == 0, said
    return sql.query(site.store, CURVE).rows


def backfill(url):
    """Launch everything that the page of the assets calls Materialize all; return its id."""
    params = {
        "assetSelection": [{"path": path} for path in ASSETS],
        "allPartitions": True,
        "title": "a curve",
    }
    found = wait_for(lambda: graphql(url, BACKFILL, params=params), "the server answers")
    assert found["launchPartitionBackfill"]["__typename"] == "LaunchBackfillSuccess", found
    return found["launchPartitionBackfill"]["backfillId"]


def kill_all(site):
    """Kill `dagster dev` and every process that it started, by their session."""
    leader = _session(payloads(site)[0])
    assert leader != os.getsid(0)
    members = [int(p.name) for p in Path("/proc").glob("[0-9]*")]
    for pid in [pid for pid in members if _session(pid) == leader]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    wait_for(lambda: not process.alive(leader), "the server has died")


def _session(pid):
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[3])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def made(site):
    """Return when each analysis was sealed."""
    folder = site.store.root / "analyses"
    return {id: (folder / id / "manifest.json").stat().st_mtime_ns for id in site.ids("analyses")}


def is_over(url, id):
    """Return whether a backfill was completed, and no run is left unfinished."""
    found = graphql(url, STATES)
    if found is None:
        return False
    states = {b["id"]: b["status"] for b in found["partitionBackfillsOrError"]["results"]}
    assert "FAIL" not in states[id], found
    runs = {run["status"] for run in found["runsOrError"]["results"]}
    return states[id] == "COMPLETED_SUCCESS" and runs <= {"SUCCESS", "FAILURE", "CANCELED"}


def test_the_same_backfill_again_ends_with_the_same_curve(tmp_path, undisturbed, monkeypatch):
    site = along(tmp_path)
    (tmp_path / "dagster.yaml").unlink()
    environment = {
        "LAMBDA_HAT_EXPERIMENT": "small",
        "LAMBDA_HAT_HOME": str(site.store.root),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    sampling = leases("runs")
    with served(tmp_path, environment) as url:
        backfill(url)
        wait_for(lambda: len(site.ids("analyses")) > 1, "the first two estimates", every=0.02)
        wait_for(lambda: sampling(site), "the next run", every=0.02)
        kill_all(site)
    before = made(site)
    assert 2 <= len(before) < len(STEPS)

    with served(tmp_path, environment) as url:
        again = backfill(url)
        wait_for(lambda: is_over(url, again), "the backfill")

    found = sql.query(site.store, CURVE).rows
    assert [row[0] for row in found] == STEPS
    assert found == undisturbed
    assert {id: at for id, at in made(site).items() if id in before} == before
    assert not failures(site) and not site.corrupt()
    monkeypatch.chdir(tmp_path)
    with dg.DagsterInstance.from_config(str(tmp_path / "dagster")) as instance:
        keys = {"trajectories": 1, "targets": len(STEPS)}
        for path in ASSETS:
            done = instance.get_materialized_partitions(dg.AssetKey(path))
            assert len(done) == keys.get(path[0], len(STEPS)), path
