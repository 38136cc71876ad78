"""The SLURM backend against stand-ins for the commands of SLURM and ssh."""

import gc
import json
import os
import shutil
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

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
"""dagster-slurm leaves the pipes of its ssh processes to the garbage collector."""

RUNS = dg.AssetKey(["runs", "nuts"])
PAYLOAD = ROOT / "lambda_hat_assets" / "slurm" / "payload.py"
FAKE_PYTHON = ROOT / "tests" / "slurm" / "fake_python.py"


@pytest.fixture
def slurm(site, tmp_path, monkeypatch):
    """The site with a card that says slurm; the value is the folder of the stand-ins."""
    state = tmp_path / "cluster"
    stand_in.install(tmp_path / "bin")
    state.mkdir()
    python = tmp_path / "python"
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
    cluster = {"poll_interval": 0.1, "poll_interval_max": 0.3}
    card = Path(site.environment["LAMBDA_HAT_CARD"])
    card.write_text(yaml.safe_dump({"cluster": cluster, "tags": tags}))
    yield state
    gc.collect()


@pytest.fixture
def impatient(monkeypatch):
    """Wait a tenth of dagster-slurm's seconds for reports that never come."""
    from dagster_slurm.helpers.message_readers import SSHMessageReader as Reader

    patient = Reader._await_closed
    monkeypatch.setattr(Reader, "_await_closed", lambda self, timeout: patient(self, timeout / 10))


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
    left = batches.write(project.store, [order])
    shutil.copy(PAYLOAD, left.folder)
    script = left.folder / "job.sh"
    exports = f"export JAX_ENABLE_X64=1 LAMBDA_HAT_HOME={project.store.root}"
    python = site.project().card.tag("float64").python
    go = left.folder / "go"
    waits = f"until [ -e {go} ]; do sleep 0.1; done"
    script.write_text(f"{exports}\n{waits}\nexec {python} {left.folder}/payload.py\n")
    options = [f"--job-name={left.name}", f"--chdir={left.folder}", "--time=00:01:00"]
    options += [f"--output={left.folder}/o", f"--error={left.folder}/e"]
    subprocess.run(["sbatch", *options, script], check=True, capture_output=True)
    assert nuts(site, project, two.seed).success
    assert len(jobs(slurm)) == 2, "another partition has a job of its own"
    assert site.instance.get_materialized_partitions(RUNS) == {two.id}
    assert jobs(slurm)[0]["state"] == "RUNNING"
    threading.Timer(1, go.touch).start()
    assert nuts(site, project, one.seed).success
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
    from lambda_hat_assets.endings import OWNER_TAG, owner, reap

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


@pytest.mark.parametrize("is_cancelled", [True, False])
def test_a_click_on_terminate_cancels_and_the_end_of_a_process_does_not(
    site, slurm, impatient, is_cancelled
):
    site.experiment(seeds=(15,))
    project = site.project()

    def interrupt():
        hung = project.store.root / "hung"
        while not hung.exists():
            time.sleep(0.1)
        (run,) = site.instance.get_runs()
        if is_cancelled:
            site.instance.report_run_canceling(run)
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


def test_dagster_slurm_still_has_what_is_replaced():
    from dagster_slurm import SlurmPipesClient

    from lambda_hat_assets.slurm.client import JobClient

    replaced = {name for name in vars(JobClient) if name.startswith("_") and name[1] != "_"}
    assert replaced - {"_asked"} <= set(vars(SlurmPipesClient))


def test_jobs_may_be_waited_for_from_another_thread():
    """Trials are; Python refuses signal handlers there."""
    from dagster_slurm.pipes_clients import slurm_pipes_client

    from lambda_hat_assets.slurm import client

    assert isinstance(slurm_pipes_client.signal, client.Signals)
    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=slurm_pipes_client.signal.signal, args=(signal.SIGTERM, id))
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) == before
