"""The `llc` job killed while its workers hang: complete artifacts are not made again."""

import time

import dagster as dg

from tests.assets.conftest import FAKE
from tests.faults.site import JOB, end

EXPERIMENT = {
    "experiment": "small",
    "targets": [{"model": {"kind": "quadratic", "d": 3}}],
    "samplers": [{"name": name, "seed": seed} for name in ("nuts", "sgld") for seed in (1, 15)],
}
"""A run of seed 15 hangs the first time."""


def test_after_a_kill_the_same_command_ends_like_an_undisturbed_one(site, monkeypatch):
    tag = {"command": FAKE}
    site.write("config/experiment/small.yaml", EXPERIMENT)
    site.write("config/card/local.yaml", {"tags": {"float32": tag, "float64": tag}})
    killed = site.start(JOB)
    deadline = time.monotonic() + 300
    while not (site.store.root / "hung").exists():
        assert killed.poll() is None, killed.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    end(killed)
    calls, plan = site.store.root / "calls.txt", site.plan()
    before = len(calls.read_text().splitlines())
    complete = {*site.ids("targets"), *site.ids("analyses")}
    assert complete

    code, said = site.run(JOB)
    assert code == 0, said
    assert set(site.ids("analyses")) == set(plan.runs)
    again = [line.split()[0] for line in calls.read_text().splitlines()[before:]]
    assert not complete & set(again)
    lines = [line for line in said.splitlines() if "Warning" not in line]
    assert all(len(line) < 200 for line in lines), said
    assert any("llc      1.5 +- 0.01" in line for line in lines)

    monkeypatch.chdir(site.root)
    with dg.DagsterInstance.from_config(str(site.root), "dagster.yaml") as instance:
        unfinished = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING]
        assert not instance.get_runs(dg.RunsFilter(statuses=unfinished))
        for family in ("nuts", "sgld"):
            made = instance.get_materialized_partitions(dg.AssetKey(["analyses", family]))
            assert made == {run for run in plan.runs if family in run}
