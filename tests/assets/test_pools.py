"""A dtype's limit applies to everything in Dagster's history, also after a process was killed."""

import os
import subprocess
import sys
import threading
import time

import dagster as dg
import pytest
from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext

from lambda_hat_assets.running import endings, pools
from lambda_hat_core.store import experiments, process

POOL = "lambda_hat_float64"


@pytest.fixture
def instance(tmp_path):
    """An instance on disk, which several threads may use."""
    folder = tmp_path / "history"
    folder.mkdir()
    with dg.DagsterInstance.local_temp(str(folder)) as instance:
        yield instance


def spans(site):
    """Return key, begin and end of every call of a worker, in order."""
    lines = [line.split() for line in (site.root / "runs" / "spans.txt").read_text().splitlines()]
    return sorted(((key, float(began), float(ended)) for key, began, ended in lines), key=at_start)


def at_start(span):
    return span[1]


@pytest.mark.parametrize(("limit", "most"), [(1, 1), (2, 2)])
def test_the_job_and_a_backfill_keep_to_the_limit_together(
    site, instance, built_local, limit, most
):
    site.experiment("ours", seeds=(1, 2))
    site.experiment("theirs", seeds=range(20, 32))
    site.card(max_concurrent=limit, env={"PYTHONPATH": os.getcwd(), "FAKE_SECONDS": "0.2"})
    project = site.project(LAMBDA_HAT_EXPERIMENT="ours")
    experiments.write_asked(project.store, "theirs", "theirs")
    target = built_local(project).get_job("targets")
    assert target.execute_in_process(instance=instance, partition_key=min(project.targets)).success
    pools.set_limits(instance, project.card)
    theirs = [run for run in project.runs if run in project.plans["theirs"].runs]
    tags = {"dagster/asset_partition_range_start": theirs[0]}
    tags |= {"dagster/asset_partition_range_end": theirs[-1]}
    job, backfill = (built_local(project).get_job(name) for name in ("llc", "nuts"))
    ended = []

    def run(job, **options):
        ended.append(job.execute_in_process(instance=instance, **options).success)

    threads = [threading.Thread(target=run, args=(backfill,), kwargs={"tags": tags})]
    threads += [threading.Thread(target=run, args=(job,))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ended == [True, True]
    found = [span for span in spans(site) if span[0] in project.runs]
    assert len(found) == 2 * len(project.runs)
    at_once = max(sum(a <= began < b for _, a, b in found) for _, began, _ in found)
    assert at_once == most


STOCK = """
import time, dagster as dg, sys
from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext
now = time.time()
time.time = lambda: now
with dg.DagsterInstance.local_temp(sys.argv[1]) as instance:
    instance.event_log_storage.set_concurrency_slots("pool", 1)
    job = dg.GraphDefinition("nothing").to_job()
    holder, waiter = (instance.create_run_for_job(job) for _ in range(2))
    with InstanceConcurrencyContext(instance, holder) as holds:
        holds.claim("pool", "step")
        with InstanceConcurrencyContext(instance, waiter) as waits:
            waits.claim("pool", "step")
            print(waits.interval_to_next_pending_claim_check())
"""


def test_the_fault_a_waiting_step_of_dagster_does_not_sleep(tmp_path):
    words = [sys.executable, "-c", STOCK, str(tmp_path)]
    assert float(subprocess.check_output(words, timeout=120)) == 0.0


def test_a_waiting_step_sleeps(instance, monkeypatch):
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    instance.event_log_storage.set_concurrency_slots(POOL, 1)
    holder, waiter = (instance.create_run_for_job(an_op_job()) for _ in range(2))
    with InstanceConcurrencyContext(instance, holder) as holds:
        assert holds.claim(POOL, "step")
        with InstanceConcurrencyContext(instance, waiter) as waits:
            assert not waits.claim(POOL, "step")
            assert waits.interval_to_next_pending_claim_check() == 1


def an_op_job():
    @dg.op
    def step(): ...

    @dg.job
    def job():
        step()

    return job


def test_the_slot_of_a_killed_process_is_given_to_a_waiting_step(instance):
    instance.event_log_storage.set_concurrency_slots(POOL, 1)
    dead = f"{process.host()}-{2**22 + 1}-1"
    ghost = instance.create_run_for_job(
        an_op_job(), status=dg.DagsterRunStatus.STARTED, tags={endings.OWNER_TAG: dead}
    )
    alive = instance.create_run_for_job(
        an_op_job(),
        status=dg.DagsterRunStatus.STARTED,
        tags={endings.OWNER_TAG: endings.owner()},
    )
    with InstanceConcurrencyContext(instance, ghost) as holds:
        assert holds.claim(POOL, "step")
    with InstanceConcurrencyContext(instance, alive) as waits, endings.reaping(instance, every=0.1):
        deadline = time.monotonic() + 120
        while not waits.claim(POOL, "step"):
            assert time.monotonic() < deadline
            time.sleep(0.1)
    statuses = [instance.get_run_by_id(run.run_id).status for run in (ghost, alive)]
    assert statuses == [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.STARTED]


def test_the_sensor_sets_the_pools_to_the_card(site, built, instance):
    site.experiment()
    site.card(max_concurrent=3)
    sensor = built(site.project()).get_sensor_def("pools")
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    with dg.build_sensor_context(instance=instance) as context:
        assert "0 runs" in sensor.evaluate_tick(context).skip_message
    limits = {pool.name: pool.limit for pool in instance.event_log_storage.get_pool_limits()}
    assert limits == {"lambda_hat_float32": 3, "lambda_hat_float64": 3}
