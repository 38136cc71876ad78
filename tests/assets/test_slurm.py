"""The SLURM backend with stand-ins for the commands of SLURM and ssh."""

import ast
import importlib
import subprocess
import sys
import threading
import time
from collections import Counter

import dagster as dg
import pytest

from lambda_hat_core.store import failures
from tests.assets.conftest import ROOT
from tests.assets.slurm_runs import jobs, llc, made, nuts, reason, repository

RUNS = dg.AssetKey(["runs", "nuts"])


def test_dtypes_use_their_partitions_and_a_failing_key_affects_no_other(site, slurm):
    site.experiment(samplers=("nuts", "sgld"), seeds=(1, 13))
    project = site.project()
    changes = ["max_concurrent=1", "walltime=00:00:40"]
    assert not llc(site, project, set=changes).success
    x64 = {(key.split("_")[1], kind): bit for key, kind, bit in site.calls()}
    assert x64[("nuts", "runs")] == "1"
    assert x64[("sgld", "runs")] == "0"
    by_seed = {(spec.sampler.kind, spec.seed): id for id, spec in project.runs.items()}
    for kind in ("nuts", "sgld"):
        key = dg.AssetKey(["analyses", kind])
        assert site.instance.get_materialized_partitions(key) == {by_seed[kind, 1]}
        assert failures.read_failure(project.store, by_seed[kind, 13]) == "seed 13 always fails"
    found = {tuple(job["options"][4:]) for job in jobs(slurm)}
    common = ("--time=00:00:40", "--nodes=1", "--ntasks=1", "--cpus-per-task=1")
    assert found == {
        ("--partition=gpu", *common, "--gres=gpu:a100:1", "--no-requeue"),
        ("--partition=cpu", *common, "--constraint=avx512", "--no-requeue", "--exclude=n7"),
    }
    tried = Counter(key for key, kind, _ in site.calls() if kind == "runs")
    assert tried[by_seed["nuts", 13]] == 1, "numeric failures are not tried again"
    assert len(jobs(slurm)) == 3, "targets, and a batch a dtype"


def test_only_its_own_partition_waits_for_a_job_that_outlived_its_process(site, slurm, impatient):
    from lambda_hat_assets.compute.orders import Order
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
    requests = order.requests()
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
    assert [key for key, kind, _ in site.calls() if kind == "runs"] == [two.id, one.id]
    assert made(site) == {one.id, two.id}


def test_runs_are_ended_by_their_process_not_by_their_job(site, slurm):
    """The sensor of dagster-slurm would fail runs that still record the results of an ended job."""
    from lambda_hat_assets.running.endings import OWNER_TAG, owner, reap

    site.experiment()
    names = {sensor.name for sensor in repository(site.project()).sensor_defs}
    assert not {name for name in names if "orphan" in name or "slurm" in name}
    tags = {OWNER_TAG: owner(), "dagster_slurm_job_id": "1"}
    run = site.instance.create_run_for_job(
        repository(site.project()).get_job("nuts"), tags=tags, status=dg.DagsterRunStatus.STARTED
    )
    assert reap(site.instance) == 0
    assert site.instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.STARTED


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


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("", "card: cluster: sacct does not work (Slurm accounting storage is disabled)"),
        ("cluster.home=/nowhere", 'card: cluster.home is "/nowhere": the cluster does not have'),
        ("max_concurrent=9", "--set: float64.max_concurrent is 9: a job can lower the number that"),
        ("python=/no/python", 'card: tags.*.python is "/no/python": cannot run a payload'),
    ],
)
def test_a_cluster_that_cannot_run_payloads_is_refused_before_anything_is_submitted(
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
    from lambda_hat_core.config.errors import ConfigError

    site.experiment()
    project = site.project()
    (run,) = project.runs.values()
    require_fit(project.card, [(run, 29.0)])
    with pytest.raises(ConfigError, match=r"00:00:30.*cut off; raise it: float64.walltime="):
        require_fit(project.card, [(run, 31.0)])


def test_only_public_names_of_dagster_slurm_are_used():
    used = {
        (node.module, name.name)
        for file in ROOT.glob("lambda_hat_assets/**/*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dagster_slurm")
        for name in node.names
    }
    names = {"SSHConnectionResource", "SlurmQueueConfig", "SlurmResource"}
    assert {("dagster_slurm", name) for name in names} < used
    for module, name in used:
        assert name in importlib.import_module(module).__all__, f"{module}.{name}"


def test_a_payload_needs_no_dagster():
    code = "import sys, lambda_hat_assets.slurm.payload; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not [name for name in done.stdout.split() if name.startswith("dagster")]
