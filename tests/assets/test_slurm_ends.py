"""The ends of jobs on the stand-ins of SLURM's commands."""

import os
import signal
import subprocess
import threading
import time

import dagster as dg
import pytest

from lambda_hat_assets.compute.resource import CARD_TAG
from tests.assets.slurm_runs import jobs, made, nuts, reason, until_hung


@pytest.mark.parametrize("lost", ["mute", "silent"])
def test_a_lost_report_is_never_a_silent_success(site, slurm, impatient, lost):
    site.experiment()
    project = site.project()
    (slurm / lost).touch()
    result = nuts(site, project, 1)
    assert result.success == (lost == "mute"), "the store says what is made, not the report"
    assert made(site) == (set(project.runs) if lost == "mute" else set())
    if lost == "silent":
        assert "neither reported this key nor stored its artifacts" in reason(project, 1)


def test_a_preempted_job_is_tried_once_more(site, slurm, impatient):
    site.experiment()
    project = site.project()
    (slurm / "end-1").write_text("PREEMPTED")
    assert nuts(site, project, 1, {CARD_TAG: "memory=2G"}).success
    assert [job["state"] for job in jobs(slurm)] == ["PREEMPTED", "COMPLETED"]
    assert all("--mem=2G" in job["options"] for job in jobs(slurm))


@pytest.mark.parametrize(("is_cancelled", "is_told"), [(True, True), (True, False), (False, True)])
def test_terminate_cancels_the_job_but_the_end_of_a_process_does_not(
    site, slurm, is_cancelled, is_told
):
    site.experiment(seeds=(15,))
    project = site.project()

    def interrupt():
        until_hung(project)
        (run,) = site.instance.get_runs()
        if is_cancelled:
            site.instance.report_run_canceling(run)
        if is_told:
            os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=interrupt)
    thread.start()
    assert not nuts(site, project, 15).success
    thread.join()
    (run,) = site.instance.get_runs()
    ended = dg.DagsterRunStatus.CANCELED if is_cancelled else dg.DagsterRunStatus.FAILURE
    assert run.status == ended
    (job,) = jobs(slurm)
    assert job["state"] == ("CANCELLED by 0" if is_cancelled else "RUNNING")
    subprocess.run(["scancel", str(job["id"])], check=True)


def test_the_jobs_of_a_run_are_cancelled_without_the_step_that_waits_for_them(
    site, slurm, impatient
):
    from lambda_hat_assets.slurm.cancel import cancel_jobs

    site.experiment(seeds=(15,))
    project = site.project()
    said = []

    def cancel():
        until_hung(project)
        (run,) = site.instance.get_runs()
        cancel_jobs(project.store, project.card, "another run", said.append)
        cancel_jobs(project.store, project.card, run.run_id, said.append)

    thread = threading.Thread(target=cancel)
    thread.start()
    assert not nuts(site, project, 15).success
    thread.join()
    assert said == [f"cancelled on the cluster: {jobs(slurm)[0]['name']}"]
    assert "SLURM job 1 was cancelled on the cluster" in reason(project, 15)
    cancel_jobs(project.store, project.card, site.instance.get_runs()[0].run_id, said.append)
    assert len(said) == 1, "jobs that are over are not asked for"


def test_lines_of_the_payload_are_in_the_log_while_the_job_runs(site, slurm):
    site.experiment(seeds=(15,))
    project = site.project()
    heard = []

    def listen():
        until_hung(project)
        (run,) = site.instance.get_runs()
        deadline = time.monotonic() + 20
        while not heard and time.monotonic() < deadline:
            entries = site.instance.all_logs(run.run_id)
            heard.extend(entry for entry in entries if "at work" in entry.user_message)
        site.instance.report_run_canceling(run)

    thread = threading.Thread(target=listen)
    thread.start()
    assert not nuts(site, project, 15).success
    thread.join()
    assert heard, "said before the job was over"
