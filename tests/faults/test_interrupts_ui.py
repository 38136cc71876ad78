"""Runs of `dagster dev` that a person terminates, and a `dagster dev` that ends during a run."""

import os
import signal
import time
from pathlib import Path

import pytest

from lambda_hat_core.store import process
from tests.assets.conftest import FAKE, ROOT
from tests.faults.site import Site
from tests.webserver import LAUNCH, graphql, served, wait_for

_GONE = 10.0
"""Seconds within which all processes of a run, or of a server, must end."""

TERMINATE = """mutation($run: String!) {
    terminateRun(runId: $run) { __typename }
}"""
STATUSES = "{ runsOrError { ... on Runs { results { runId status } } } }"
EXPERIMENT = {
    "experiment": "small",
    "targets": [{"model": {"kind": "quadratic", "d": 3}}],
    "samplers": [{"name": "nuts", "seed": 15}],
}
"""A run of seed 15 hangs the first time it is asked for."""


@pytest.fixture
def place(tmp_path):
    """A site with a worker that computes nothing, and hangs."""
    site = Site(tmp_path)
    tag = {"command": FAKE, "env": {"PYTHONPATH": str(ROOT)}}
    site.write("config/experiment/small.yaml", EXPERIMENT)
    site.write("config/card/local.yaml", {"tags": {"float32": tag, "float64": tag}})
    (tmp_path / "dagster.yaml").unlink()
    return site


def start(url, job, partition=None):
    """Launch a job, and return the id of its run."""
    tags = [{"key": "dagster/partition", "value": partition}] if partition else []
    found = wait_for(lambda: graphql(url, LAUNCH, job=job, tags=tags), "the server answers")
    assert found["launchRun"]["__typename"] == "LaunchRunSuccess", found
    return found["launchRun"]["run"]["runId"]


def launched(url, site, job, partition=None):
    """Launch a job, wait until its worker hangs, and return the id of its run."""
    run = start(url, job, partition)
    wait_for((site.store.root / "hung").exists, "the worker hangs")
    return run


def commands(words):
    """Return the command lines of running processes that contain some words, by pid."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_text().replace("\0", " ")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if words in line and process.alive(int(folder.name)):
            found[int(folder.name)] = line
    return found


def workers(site):
    """Return the running workers of a site."""
    return commands(f"{FAKE[1]} --home {site.store.root}")


def session(pid):
    """Return the pid of the session leader of a process."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[3])


def ours(leader):
    """Return the processes of runs, steps and workers in a session, without Dagster's servers."""
    made = ("multiprocessing.spawn", "multiprocessing.forkserver", FAKE[1])
    return [pid for words in made for pid in commands(words) if session(pid) == leader]


def gone(what):
    """Return whether a condition becomes false in time."""
    deadline = time.monotonic() + _GONE
    while what() and time.monotonic() < deadline:
        time.sleep(0.1)
    return not what()


def environment(site):
    return {"LAMBDA_HAT_EXPERIMENT": "small", "LAMBDA_HAT_HOME": str(site.store.root)}


@pytest.mark.parametrize("job", ["llc", "nuts"])
def test_terminate_ends_the_worker_and_cancels_the_run(place, tmp_path, job):
    with served(tmp_path, environment(place)) as url:
        if job == "nuts":
            ((id, run),) = place.plan().runs.items()
            start(url, "targets", run.target)
            wait_for(lambda: place.ids("targets"), "the target is built")
            run = launched(url, place, job, id)
        else:
            run = launched(url, place, job)
        assert workers(place)
        graphql(url, TERMINATE, run=run)
        assert gone(lambda: workers(place))

        def ended():
            found = graphql(url, STATUSES)["runsOrError"]["results"]
            states = {each["status"] for each in found}
            return states if not states & {"STARTED", "CANCELING", "STARTING"} else None

        assert wait_for(ended, "the runs have ended") <= {"CANCELED", "SUCCESS"}
    assert not list(place.store.root.glob("failures/[!_]*"))


ENDS = [(signal.SIGINT, os.killpg), (signal.SIGTERM, os.kill), (signal.SIGHUP, os.kill)]


@pytest.mark.parametrize(("number", "send"), ENDS, ids=["INT-group", "TERM-leader", "HUP-leader"])
def test_the_runs_of_dagster_dev_end_with_it(place, tmp_path, number, send):
    with served(tmp_path, environment(place)) as url:
        launched(url, place, "llc")
        (worker,) = workers(place)
        leader = session(worker)
        assert len(ours(leader)) > 3
        send(leader, number)
        assert gone(lambda: ours(leader)), ours(leader)
    assert not list(place.store.root.glob("failures/[!_]*"))
