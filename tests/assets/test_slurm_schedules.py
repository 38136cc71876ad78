"""The SLURM backend on a cluster with random accidents, from a seed and in virtual time."""

import random
import threading
from collections import Counter
from types import SimpleNamespace

import dagster as dg
import pytest

from lambda_hat_assets.cards.slurm import Cluster, SlurmTag
from lambda_hat_assets.compute.orders import Order
from lambda_hat_assets.running.console import PARENT_TAG
from lambda_hat_assets.slurm import backend, fate, queue, watch
from lambda_hat_assets.slurm import batch as batches
from lambda_hat_core.store import files
from tests.slurm.fake_cluster import LIVING, FakeCluster
from tests.slurm.fake_time import Clock, FakeStore, Killed

REASONS = {
    "numeric": "not finite",
    "disk": "disk full",
    "slow": "exceeded its walltime",
    "hungry": "ran out of memory",
    "crash": "exited with code 3",
}
"""Behaviours of keys that fail, with part of the reason."""

ACCIDENTS = ("PREEMPTED", "NODE_FAIL", "BOOT_FAIL", "requeue", "CANCELLED by 0")


class Spec(SimpleNamespace):
    def model_dump(self, mode):
        return {}


class Context:
    """A step of a run that a person may terminate."""

    def __init__(self, clock, cancel_at=float("inf"), tags=None):
        self.said = []
        self.log = SimpleNamespace(info=self.said.append)
        self.run = SimpleNamespace(run_id="this run", tags=tags or {})
        self.instance = self
        self.clock, self.cancel_at = clock, cancel_at

    def get_run_by_id(self, id):
        is_over = self.clock.now >= self.cancel_at
        status = dg.DagsterRunStatus.CANCELING if is_over else dg.DagsterRunStatus.STARTED
        return SimpleNamespace(status=status)


@pytest.fixture
def patched(tmp_path, monkeypatch):
    """A function that gives a new clock and store; files are not synced to the disk."""
    monkeypatch.setattr(files, "sync", lambda path: None)
    monkeypatch.setattr(fate.outcomes, "record", lambda store, kind, id: {})
    rows = []
    monkeypatch.setattr(
        backend.failures, "write_failure", lambda store, spec, reason: rows.append(spec.id)
    )
    count = iter(range(10**6))

    def world(seed, habits, **options):
        clock = Clock()
        root = tmp_path / str(next(count))
        root.mkdir()
        names = random.Random(seed)
        monkeypatch.setattr(batches.secrets, "token_hex", lambda n: names.randbytes(n).hex())
        store = FakeStore(root, clock)
        cluster = FakeCluster(seed, clock, store, habits, **options)
        monkeypatch.setattr(watch, "time", clock)
        monkeypatch.setattr(backend, "Login", lambda ssh: cluster)
        return clock, store, cluster

    return world


def made(store, batch=3):
    """Return a backend."""
    tag = SlurmTag(executor="slurm", walltime="00:30:00", memory="1G", batch=batch)
    return backend.SlurmBackend(
        store, "float64", tag, Cluster(), SimpleNamespace(run=lambda context, orders: [])
    )


def orders(store, keys):
    """Return the missing orders, as `Compute` does."""
    found = []
    for key in keys:
        kinds = tuple(kind for kind in ("runs", "analyses") if not store.is_complete(kind, key))
        if kinds:
            found.append(Order(key, kinds, Spec(id="target"), Spec(id=key)))
    return found


def schedule(seed, patched):
    """Run one schedule and return the errors in how it ended."""
    rng = random.Random(seed)
    keys = [f"k{number}" for number in range(rng.randint(1, 6))]
    plot = rng.choice(["habits", "habits", "accident", "kill", "kill", "terminate"])
    habits = {}
    if plot == "habits":
        every = ["made", "disk once", "crash once", *REASONS]
        habits = {key: rng.choice(every) for key in keys}
    elif plot != "kill":
        habits = {key: rng.choice(["made", "made", "numeric", "hungry"]) for key in keys}
    clock, store, cluster = patched(seed, habits)
    if plot == "accident":
        cluster.accidents = [rng.choice(ACCIDENTS)]
    context = Context(clock)
    if plot == "terminate":
        context.cancel_at = clock.now + rng.choice([0.0, 5.0, 50.0, 500.0])
    if plot == "kill":
        clock.kill_at = clock.now + rng.choice([5.0, 10.0, 50.0, 500.0])
    batch = rng.randint(1, 3)
    results = []
    for _ in range(2):
        try:
            results += made(store, batch).run(context, orders(store, keys))
            break
        except Killed:
            continue
        except dg.DagsterExecutionInterruptedError:
            if plot != "terminate":
                cluster.wrong.append("interrupted")
            break
    wrong = list(cluster.wrong)
    clock.kill_at = None
    clock.sleep(600.0)
    wrong += [f"{j.number} is left {j.state}" for j in cluster.jobs.values() if j.state in LIVING]
    if context.cancel_at == float("inf") or len(results) == 2 * len(keys):
        wrong += judged(store, cluster, keys, habits, results)
    wrong += [f"{what} was computed {n} times" for what, n in store.computed.items() if n > 1]
    return [f"{seed} ({plot}): {line}" for line in wrong]


def judged(store, cluster, keys, habits, results):
    """Yield the errors in a complete set of results."""
    given = Counter((result.key, result.kind) for result in results)
    yield from (f"{what} was given {n} times" for what, n in given.items() if n > 1)
    failed = {result.key: result.failure for result in results if result.failure is not None}
    for key in keys:
        words = REASONS.get(habits.get(key, ""))
        words = "was cancelled on the cluster" if key in cluster.cancelled_keys else words
        if words is None:
            if not all(store.is_complete(kind, key) for kind in ("runs", "analyses")):
                yield f"{key} is not made: {failed.get(key)}"
            elif key in failed:
                yield f"{key} is made, and failed: {failed[key]}"
        elif words not in failed.get(key, ""):
            yield f"{key} ought to have failed ({words}): {failed.get(key)}"
        if habits.get(key) == "numeric" and cluster.tries["runs", key] > 1:
            yield f"{key} failed with a number and was tried again"


@pytest.mark.parametrize("part", range(4))
def test_every_key_is_made_once_despite_any_accident(patched, part):
    wrong = [line for seed in range(50 * part, 50 * part + 50) for line in schedule(seed, patched)]
    assert not wrong, "\n".join(wrong)


def empty_is_an_end(monkeypatch):
    asked = queue.state
    monkeypatch.setattr(queue, "state", lambda *a: asked(*a) or queue.JobState("NODE_FAIL"))


def never_looks_by_name(monkeypatch):
    monkeypatch.setattr(queue, "find", lambda login, name: None)


def asks_once(monkeypatch):
    monkeypatch.setattr(watch.Watch, "insist", lambda self, ask, unknown=0: ask())


@pytest.mark.parametrize("bug", [empty_is_an_end, never_looks_by_name, asks_once])
def test_the_schedules_find_bugs(patched, monkeypatch, bug):
    bug(monkeypatch)
    for seed in range(20):
        try:
            if schedule(seed, patched):
                return
        except (ConnectionError, AssertionError):
            return
    pytest.fail("20 schedules went well with a bug")


def test_a_step_fails_after_an_hour_of_silence_and_the_next_command_waits_for_its_job(patched):
    clock, store, cluster = patched(0, {}, calm=True)
    context, began = Context(clock), clock.now
    clock.at(began + 20, lambda: setattr(cluster, "is_reachable", False))
    with pytest.raises(OSError, match=r"timed out: no answer for an hour; jobs continue, and the"):
        list(made(store).run(context, orders(store, ["a", "b"])))
    assert 3600 < clock.now - began < 4200
    pauses = [line.rpartition(" in ")[2] for line in context.said if "asking again" in line]
    assert pauses[:7] == ["1 s", "2 s", "4 s", "8 s", "16 s", "32 s", "60 s"]
    cluster.is_reachable = True
    assert len(list(made(store).run(context, orders(store, ["a", "b"])))) in (0, 4)
    assert store.computed == {(kind, key): 1 for kind in ("runs", "analyses") for key in "ab"}
    assert len(cluster.jobs) == 1


def test_the_keys_of_a_job_of_unknown_end_are_made_again_by_the_next_command(patched):
    """As after a crash of slurmctld: the job is not queued, and accounting shows it as running."""
    clock, store, cluster = patched(0, {"a": "slow"}, calm=True)
    clock.at(clock.now + 200, lambda: vars(cluster.jobs[100]).update(state="gone", turn=-1))
    with pytest.raises(OSError, match="knows the state of the job: no answer for an hour"):
        list(made(store).run(Context(clock), orders(store, ["a"])))
    cluster.habits.clear()
    results = list(made(store).run(Context(clock), orders(store, ["a"])))
    assert [result.failure for result in results] == [None, None]


def test_another_thread_may_wait_for_jobs(patched):
    """Trials do so; Python passes signals to the main thread only."""
    clock, store, _ = patched(0, {}, calm=True)
    found = []
    work = threading.Thread(
        target=lambda: found.extend(made(store).run(Context(clock), orders(store, ["a"])))
    )
    work.start()
    work.join()
    assert [result.kind for result in found] == ["runs", "analyses"]


def test_a_terminated_llc_cancels_the_jobs_of_its_batches(patched):
    clock, store, cluster = patched(0, {}, calm=True)
    context = Context(clock, clock.now + 50, {PARENT_TAG: "the llc job"})
    of_parent = context.get_run_by_id
    context.get_run_by_id = lambda id: of_parent(id) if id == "the llc job" else None
    with pytest.raises(dg.DagsterExecutionInterruptedError):
        list(made(store).run(context, orders(store, ["a"])))
    assert [job.state for job in cluster.jobs.values()] == ["CANCELLED by 1000"]
    assert clock.now < context.cancel_at + 10
