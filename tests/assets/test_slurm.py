"""The SLURM backend against stand-ins for the commands of SLURM and ssh."""

import ast
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import dagster as dg
import pytest
import yaml

from lambda_hat_assets.compute import CARD_TAG
from lambda_hat_core import records
from tests.assets.conftest import ROOT, FakeBackend
from tests.slurm import stand_in

RUNS = dg.AssetKey(["runs", "nuts"])
FAKE_PYTHON = ROOT / "tests" / "slurm" / "fake_python.py"


@pytest.fixture
def slurm(site, tmp_path, monkeypatch):
    """The site with a card that says slurm; the value is the folder of the stand-ins."""
    from lambda_hat_assets.slurm import watch

    monkeypatch.setattr(watch, "HOUR", 20.0)
    state = tmp_path / "cluster"
    stand_in.install(tmp_path / "bin")
    state.mkdir()
    python = tmp_path / "an env" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} {FAKE_PYTHON} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("STAND_IN", str(state))
    monkeypatch.setenv("DAGSTER_SLURM_SSH_CONTROL_DIR", str(tmp_path / "ssh"))
    tag = {"executor": "slurm", "walltime": "00:00:30", "python": str(python)}
    tags = {"float32": {**tag, "partition": "gpu", "gpus": 1, "gpu_type": "a100"}}
    tags["float64"] = {
        **tag,
        "partition": "cpu",
        "constraint": "avx512",
        "options": ["--exclude=n7"],
    }
    home = tmp_path / "the cluster's %j"
    home.symlink_to(tmp_path / "runs")
    cluster = {"poll_interval": 0.1, "poll_interval_max": 0.3, "home": str(home)}
    card = Path(site.environment["LAMBDA_HAT_CARD"])
    card.write_text(yaml.safe_dump({"cluster": cluster, "tags": tags}))
    return state


@pytest.fixture
def impatient(monkeypatch):
    """Do not wait for what a file server might still owe."""
    from lambda_hat_assets.slurm import job

    monkeypatch.setattr(job, "VISIBLE", 0.1)


def jobs(state):
    """Return the records of all jobs in their order."""
    return [
        json.loads(p.read_text()) for p in sorted(state.glob("*.json"), key=lambda p: int(p.stem))
    ]


def repository(project):
    """Return the definitions, whose galleries are drawn by nobody."""
    from lambda_hat_assets.compute import Compute
    from lambda_hat_assets.definitions import build
    from lambda_hat_assets.slurm.backend import SlurmBackend

    def backend(dtype, card):
        here = FakeBackend(project.store, dtype)
        return SlurmBackend(project.store, dtype, card.tag(dtype), card.cluster, here)

    return build(project, Compute(project, backend)).get_repository_def()


def llc(site, project, **config):
    job = repository(project).get_job("llc")
    config = {"ops": {"plan": {"config": config}}}
    return job.execute_in_process(instance=site.instance, run_config=config, raise_on_error=False)


def nuts(site, project, seed, tags=None):
    """Materialise the run of a seed, as a click does."""
    (key,) = [id for id, spec in project.runs.items() if spec.seed == seed]
    return (
        repository(project)
        .get_job("nuts")
        .execute_in_process(
            instance=site.instance, partition_key=key, raise_on_error=False, tags=tags
        )
    )


def made(site):
    return site.instance.get_materialized_partitions(dg.AssetKey(["analyses", "nuts"]))


def reason(project, seed):
    (key,) = [id for id, spec in project.runs.items() if spec.seed == seed]
    return records.read_failure(project.store, key)


def test_dtypes_go_to_their_partitions_and_a_batch_loses_only_what_fails(site, slurm):
    site.experiment(samplers=("nuts", "sgld"), seeds=(1, 13))
    project = site.project()
    changes = ["max_concurrent=1", "walltime=00:00:40"]
    assert not llc(site, project, set=changes).success
    x64 = {(key.split("_")[1], stage): bit for key, stage, bit in site.calls()}
    assert x64[("nuts", "sample")] == "1"
    assert x64[("sgld", "sample")] == "0"
    by_seed = {(spec.sampler.kind, spec.seed): id for id, spec in project.runs.items()}
    for kind in ("nuts", "sgld"):
        key = dg.AssetKey(["analyses", kind])
        assert site.instance.get_materialized_partitions(key) == {by_seed[kind, 1]}
        assert records.read_failure(project.store, by_seed[kind, 13]) == "seed 13 always fails"
    found = {tuple(job["options"][4:]) for job in jobs(slurm)}
    common = ("--time=00:00:40", "--nodes=1", "--ntasks=1", "--cpus-per-task=1")
    assert found == {
        ("--partition=gpu", *common, "--gres=gpu:a100:1", "--no-requeue"),
        ("--partition=cpu", *common, "--constraint=avx512", "--no-requeue", "--exclude=n7"),
    }
    tried = Counter(key for key, stage, _ in site.calls() if stage == "sample")
    assert tried[by_seed["nuts", 13]] == 1, "numeric failures are not tried again"
    assert len(jobs(slurm)) == 3, "targets, and a batch a dtype"


def test_a_job_that_outlived_its_process_is_waited_for_by_its_own_partition_only(
    site, slurm, impatient
):
    from lambda_hat_assets.compute import Order
    from lambda_hat_assets.slurm import batch as batches

    site.experiment(seeds=(1, 2))
    project = site.project()
    (a, one), (_, two) = project.runs.items()
    order = Order(a, ("runs", "analyses"), project.targets[one.target], one)
    go = site.root / "go"
    script = [
        f"export JAX_ENABLE_X64=1 LAMBDA_HAT_HOME={project.store.root}",
        f"until [ -e {go} ]; do sleep 0.1; done",
        f"exec '{project.card.tag('float64').python}' -m lambda_hat_assets.slurm.payload \"$PWD\"",
    ]
    requests = [order.request(kind) for kind in order.kinds]
    left = batches.write(project.store, requests, script, "earlier")
    options = [f"--job-name={left.name}", f"--chdir={left.folder}", "--time=00:01:00"]
    options += ["--output=o", "--error=e", left.folder / batches.SCRIPT]
    subprocess.run(["sbatch", *options], check=True, capture_output=True)
    assert nuts(site, project, two.seed).success
    assert len(jobs(slurm)) == 2, "another partition has a job of its own"
    assert site.instance.get_materialized_partitions(RUNS) == {two.id}
    assert jobs(slurm)[0]["state"] == "RUNNING"

    def begin():
        while len(left.runs()) < 2:
            time.sleep(0.1)
        go.touch()

    thread = threading.Thread(target=begin)
    thread.start()
    assert nuts(site, project, one.seed).success
    thread.join()
    assert len(jobs(slurm)) == 2, "the same partition waits for the job that lives"
    assert [key for key, stage, _ in site.calls() if stage == "sample"] == [two.id, one.id]
    assert made(site) == {one.id, two.id}


@pytest.mark.parametrize("lost", ["mute", "silent"])
def test_a_lost_report_is_never_a_silent_success(site, slurm, impatient, lost):
    site.experiment()
    project = site.project()
    (slurm / lost).touch()
    result = nuts(site, project, 1)
    assert result.success == (lost == "mute"), "the store says what is made, not the report"
    assert made(site) == (set(project.runs) if lost == "mute" else set())
    if lost == "silent":
        assert "neither reported this key nor left it in the store" in reason(project, 1)


def test_runs_are_ended_by_their_process_not_by_their_job(site, slurm):
    """dagster-slurm's own sensor fails runs whose job has ended while they still record it."""
    from lambda_hat_assets.pools import OWNER_TAG, owner, reap

    site.experiment()
    names = {sensor.name for sensor in repository(site.project()).sensor_defs}
    assert not {name for name in names if "orphan" in name or "slurm" in name}
    tags = {OWNER_TAG: owner(os.getpid()), "dagster_slurm_job_id": "1"}
    run = site.instance.create_run_for_job(
        repository(site.project()).get_job("nuts"), tags=tags, status=dg.DagsterRunStatus.STARTED
    )
    assert reap(site.instance) == 0
    assert site.instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.STARTED


def test_a_preempted_job_is_tried_once_more(site, slurm, impatient):
    site.experiment()
    project = site.project()
    (slurm / "end-1").write_text("PREEMPTED")
    assert nuts(site, project, 1, {CARD_TAG: "memory=2G"}).success
    assert [job["state"] for job in jobs(slurm)] == ["PREEMPTED", "COMPLETED"]
    assert all("--mem=2G" in job["options"] for job in jobs(slurm))


@pytest.mark.parametrize(
    ("refusal", "is_passing"),
    [("Invalid account or account/partition combination", False), ("AssocMaxSubmitJobLimit", True)],
)
def test_a_full_queue_is_tried_again_and_a_refusal_is_a_row(
    site, slurm, impatient, refusal, is_passing
):
    site.experiment()
    project = site.project()
    (slurm / "refuse").write_text(refusal)
    assert nuts(site, project, 1).success == is_passing
    assert len(jobs(slurm)) == is_passing
    assert is_passing or f"no job was submitted (sbatch: error: {refusal})" in reason(project, 1)


@pytest.mark.parametrize(("is_cancelled", "is_told"), [(True, True), (True, False), (False, True)])
def test_a_click_on_terminate_cancels_and_the_end_of_a_process_does_not(
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


def until_hung(project):
    while not (project.store.root / "hung").exists():
        time.sleep(0.1)


def test_the_jobs_of_a_run_are_cancelled_without_who_waits_for_them(site, slurm, impatient):
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


def test_what_the_payload_says_is_in_the_log_while_the_job_runs(site, slurm):
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


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("", "card: cluster: sacct does not work (Slurm accounting storage is disabled)"),
        ("cluster.home=/nowhere", 'card: cluster.home is "/nowhere": the cluster does not see'),
        ("max_concurrent=9", "--set: float64.max_concurrent is 9: a job can lower what the card"),
        ("python=/no/python", 'card: tags.*.python is "/no/python": cannot run a payload'),
    ],
)
def test_a_cluster_that_is_not_fit_is_refused_before_anything_is_submitted(
    site, slurm, change, line
):
    site.experiment()
    project = site.project()
    if not change:
        (slurm / "no-sacct").touch()
    result = llc(site, project, set=[change] if change else [])
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert line in failure.step_failure_data.error.cause.message
    assert not jobs(slurm)


def test_runs_that_took_longer_than_the_walltime_are_refused(site, slurm):
    from lambda_hat_assets.jobs.cards import require_fit
    from lambda_hat_core.plan.errors import ConfigError

    site.experiment()
    project = site.project()
    (run,) = project.runs.values()
    require_fit(project.card, [(run, 29.0)])
    with pytest.raises(ConfigError, match=r"00:00:30.*cut off; raise it: --set float64.walltime="):
        require_fit(project.card, [(run, 31.0)])


def test_only_what_dagster_slurm_exports_is_used():
    used = {
        (node.module, name.name)
        for file in ROOT.glob("lambda_hat_assets/**/*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dagster_slurm")
        for name in node.names
    }
    assert ("dagster_slurm", "SSHConnectionResource") in used
    for module, name in used:
        assert name in importlib.import_module(module).__all__, f"{module}.{name}"


def test_a_payload_needs_no_dagster():
    code = "import sys, lambda_hat_assets.slurm.payload; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not [name for name in done.stdout.split() if name.startswith("dagster")]
