"""Failures of the machine: full disks, folders that are read-only or deleted, too little memory."""

import ctypes
import json
import shutil
import sys
from collections import Counter
from copy import deepcopy

import pytest

from lambda_hat_core.store import sql
from tests.faults.site import CARD, EXPERIMENT, JOB, PHASES, PLAIN, end, failures, wait_for

WORKER = f'{sys.executable} -m lambda_hat_core.work.worker "$@"'


def wrapped(site, script):
    """Make the site start its payloads by a shell."""
    card = deepcopy(CARD)
    for tag in card["tags"].values():
        tag["command"] = ["bash", "-c", script, "worker"]
    site.write("config/card/local.yaml", card)


def locked():
    """Drop root's capability to override permissions, in a child process before it starts."""
    drop, override = 24, 1
    ctypes.CDLL(None).prctl(drop, override, 0, 0, 0)


def test_a_full_disk_is_a_clear_failure_and_leaves_nothing_incomplete(site, undisturbed):
    wrapped(site, f"ulimit -f 20; exec {WORKER}")
    code, said = site.run(PLAIN)
    assert code == 1
    reasons = failures(site)
    assert set(reasons) == set(site.plan().runs)
    for reason in reasons.values():
        assert "no space left under" in reason and "run the same command again" in reason, said
    assert not site.ids("runs") and not site.corrupt()
    site.write("config/card/local.yaml", CARD)
    assert site.run(PLAIN)[0] == 0
    assert site.table() == undisturbed


@pytest.mark.parametrize("command", [PLAIN, JOB], ids=["plain", "job"])
def test_a_read_only_store_is_an_error_in_one_line(site, command):
    home = site.root / "locked"
    home.mkdir()
    home.chmod(0o555)
    code, said = site.run(command, before=locked, LAMBDA_HAT_HOME=str(home))
    assert code not in (0, None)
    lines = [line for line in said.splitlines() if "LAMBDA_HAT_HOME" in line]
    assert len(lines) == 1 and str(home) in lines[0], said
    assert "Traceback" not in said
    assert not list(home.iterdir())


def test_a_store_deleted_during_a_run_is_made_again(site, undisturbed):
    process = site.start(PLAIN)
    try:
        (sampling,) = (phase for phase in PHASES if phase.name == "sampling")
        wait_for(sampling, site, process)
        delete(site.store.root)
        said, _ = process.communicate(timeout=600)
        assert "Traceback" not in said
        if process.returncode:
            assert "was deleted while" in said or "make" in said, said
    finally:
        end(process)
    assert not site.corrupt()
    code, said = site.run(PLAIN)
    assert code == 0, said
    assert site.table() == undisturbed


def delete(folder):
    """Delete a folder while files are written into it, which may take several passes."""
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
    raise AssertionError(f"{folder} is made again as often as it is deleted")


def test_too_little_memory_says_what_to_lower(site):
    experiment = deepcopy(EXPERIMENT)
    experiment["targets"][0]["data"]["n_data"] = 150_000_000
    site.write("config/experiment/small.yaml", experiment)
    wrapped(site, f"ulimit -v 4000000; exec {WORKER}")
    code, said = site.run(PLAIN)
    assert code == 1, said
    for reason in failures(site).values():
        assert "memory" in reason and "lower" in reason, reason
    assert not site.ids("targets") and not site.corrupt()


def test_a_payload_that_is_killed_each_time_is_reported_with_its_signal(site):
    wrapped(site, 'kill -9 "$$"')
    code, said = site.run(PLAIN)
    assert code == 1
    for reason in failures(site).values():
        assert "killed by signal 9, perhaps out of memory: lower" in reason
    assert "tried again in" in said


def test_two_jobs_at_once_compute_every_key_once_and_both_succeed(site, undisturbed):
    events = site.root / "events.jsonl"
    wrapped(site, f"{WORKER} | tee -a {events}")
    both = [site.start(JOB) for _ in range(2)]
    try:
        for process in both:
            said, _ = process.communicate(timeout=600)
            assert process.returncode == 0, said
    finally:
        for process in both:
            end(process)
    assert site.table() == undisturbed
    ended = [json.loads(line) for line in events.read_text().splitlines()]
    made = Counter(
        event["record"]["path"]
        for event in ended
        if event["event"] == "done" and event["status"] == "made"
    )
    plan = site.plan()
    paths = [site.store.path("targets", id) for id in plan.targets]
    paths += [site.store.path(kind, id) for kind in ("runs", "analyses") for id in plan.runs]
    assert all(made[str(path)] == 1 for path in paths), made
    assert sql.query(site.store, "SELECT count(*) FROM llc").rows == [(len(plan.runs),)]
