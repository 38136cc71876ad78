"""`llc` on a real SLURM: both dtypes, failures, a job over its walltime, a cancellation, a kill."""

import json
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import dagster as dg
import pytest

from lambda_hat_assets.cards.file import load_card
from lambda_hat_assets.slurm.login import Login
from lambda_hat_assets.slurm.resource import connection
from tests.faults.test_interrupts_ui import commands
from tests.slurm.conftest import ROOT, Site, kill, restart, target

pytestmark = pytest.mark.slurm

TINY = [
    {"name": "nuts", "overrides": {"n_draws": 100, "n_burn": 20, "n_warmup": 100}},
    {"name": "sgld", "overrides": {"n_draws": 100, "n_burn": 20}},
]


def experiment(name, *targets, samplers=TINY[:1]):
    return {"experiment": name, "targets": list(targets), "samplers": samplers}


@pytest.fixture(scope="module")
def overrun(tmp_path_factory):
    """A command whose only target exceeds its walltime, started before all other tests."""
    content = experiment("overrun", target("sleeping", seconds=3600, name="overrun"))
    site = Site(tmp_path_factory.mktemp("overrun"), content)
    process = site.start("walltime=00:01:00")
    yield site, process
    if process.poll() is None:
        kill(process)


def test_the_smoke_experiment_survives_a_kill(site, overrun):
    smoke = site("smoke")
    process = smoke.start("max_concurrent=1")
    smoke.until_running(process)
    kill(process)
    code, said = smoke.run("max_concurrent=1")
    assert code == 0, said
    rows = smoke.rows()
    assert len(rows) == 6
    assert {verdict for _, _, verdict, _ in rows} <= {"ok", "suspect"}, rows
    jobs = smoke.jobs()
    assert [state for _, _, state, *_ in jobs] == ["COMPLETED"] * 3, "the first job was not lost"
    assert sorted(job[1] for job in jobs) == ["cpu", "cpu", "gpu"]
    assert {job[1]: job[4] for job in jobs} == {"cpu": "plain", "gpu": ""}


def test_daemons_that_restart_on_the_way_lose_no_key_and_make_none_twice(site):
    """Twice each: while the first job runs, and while the others are submitted or polled."""
    smoke = site("smoke")
    process = smoke.start("max_concurrent=1")
    smoke.until_running(process)
    for daemon in ("slurmctld", "slurmdbd", "slurmctld", "slurmdbd"):
        restart(daemon)
        time.sleep(3)
    assert process.wait(timeout=400) == 0, smoke.said()
    assert len(smoke.rows()) == 6
    jobs = smoke.jobs()
    assert [state for _, _, state, *_ in jobs] == ["COMPLETED"] * 3, "each key in one job"


def test_dtypes_go_to_their_partitions_and_a_failure_is_a_row(site):
    content = experiment("probe", target("probe"), target("broken"), samplers=TINY)
    probe = site(content)
    code, said = probe.run("max_concurrent=1")
    assert code == 1, said
    verdicts = sorted((verdict == "failed", reason or "") for _, _, verdict, reason in probe.rows())
    assert [failed for failed, _ in verdicts] == [False, False, True, True], said
    assert all("this target is broken" in reason for failed, reason in verdicts if failed)
    lines = map(json.loads, (probe.root / "probe.jsonl").read_text().splitlines())
    inside = {(x["SLURM_JOB_PARTITION"], x["JAX_ENABLE_X64"], x["dtype"]) for x in lines}
    assert inside == {("cpu", "1", "float64"), ("gpu", "0", "float32")}


def test_terminating_the_job_cancels_what_it_submitted(site, monkeypatch):
    content = experiment("cancel", target("sleeping", seconds=3600, name="cancel"))
    cancelled = site(content)
    process = cancelled.start()
    cancelled.until_running(process)
    monkeypatch.chdir(cancelled.root)
    with dg.DagsterInstance.from_config(str(cancelled.root)) as instance:
        (run,) = instance.get_runs(dg.RunsFilter(job_name="llc"))
        instance.report_run_canceling(run)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=120) != 0, cancelled.said()
    (job,) = cancelled.jobs()
    assert job[2].startswith("CANCELLED")


def test_a_job_over_its_walltime_is_tried_once_more_and_then_a_row(overrun):
    site, process = overrun
    assert process.wait(timeout=400) == 1, site.said()
    assert [state for _, _, state, *_ in site.jobs()] == ["TIMEOUT", "TIMEOUT"]
    ((*_, verdict, reason),) = site.rows()
    assert verdict == "failed"
    assert "exceeded its walltime of 00:01:00; raise walltime in the card, or by --set" in reason


def test_steps_that_ask_at_once_leave_one_connection(tmp_path_factory, monkeypatch):
    """With dagster-slurm's connection pool there would be four, of which nothing closes three."""
    folder = tmp_path_factory.mktemp("at-once")
    monkeypatch.setenv("DAGSTER_SLURM_SSH_CONTROL_DIR", str(folder))
    cluster = load_card("slurm-test", ROOT / "config").cluster
    logins = [Login(connection(cluster.ssh)) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda login: login.ask("echo yes"), logins)) == ["yes\n"] * 4
    (socket,) = folder.iterdir()
    assert len(commands(str(folder))) == 1
    subprocess.run(["ssh", "-O", "exit", "-o", f"ControlPath={socket}", "login"], check=True)
