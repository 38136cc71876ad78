"""The pool of workers: assignment of tasks, retries, steering, and the ends of tasks."""

import sys
import threading
from concurrent.futures import CancelledError

import pytest

from lambda_hat_core.work import pool as pools
from lambda_hat_core.work.client import WorkerClient
from lambda_hat_core.work.pool import Pool, Task

WORKER = """
import json, os, sys, time
def tell(**event): print(json.dumps(event), flush=True)
for text in sys.stdin:
    line = json.loads(text)
    do, id = line["do"], line["id"]
    if do == "die" or (do == "die once" and not os.path.exists(line["mark"])):
        open(line.get("mark", os.devnull), "w").close()
        os._exit(3)
    if do == "hang":
        tell(id=id, event="log", message="hanging")
        time.sleep(600)
    if do == "run":
        for done in range(4):
            tell(id=id, event="progress", done=done, total=3)
            if line.get("steered") and not json.loads(sys.stdin.readline())["go"]:
                tell(id=id, event="failed", reason="", cause="stopped", transient=False)
                break
        else:
            tell(id=id, event="done", pid=os.getpid(), x64=os.environ["JAX_ENABLE_X64"])
    elif do != "hang":
        tell(id=id, event="done", pid=os.getpid(), x64=os.environ["JAX_ENABLE_X64"])
"""


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """A function that opens a pool of small workers and records the dtypes that were started."""
    monkeypatch.setattr("lambda_hat_core.work.retries.PAUSES", (0.01, 0.01))
    started, open_pools = [], []

    def start(dtype):
        started.append(dtype)
        env = {"JAX_ENABLE_X64": str(int(dtype == "float64"))}
        return WorkerClient(tmp_path, (sys.executable, "-c", WORKER), env)

    def build(at_once=2, **limits):
        limits = {"float32": 2, "float64": 2} | limits
        open_pools.append(Pool(start, limits, at_once))
        return open_pools[-1]

    build.started = started
    yield build
    for pool in open_pools:
        pool.close()


def ask(do, id="a", **more):
    return {"id": id, "do": do, **more}


def task(*requests, dtype="float64", **more):
    return Task(dtype, requests, **more)


def test_a_worker_is_kept_and_serves_one_dtype(opened):
    pool = opened(at_once=1)
    ends = [pool.submit(task(ask("work"))).result(timeout=60) for _ in range(3)]
    assert len({end["pid"] for end in ends}) == 1 and opened.started == ["float64"]
    other = pool.submit(task(ask("work"), dtype="float32")).result(timeout=60)
    assert other["x64"] == "0" and opened.started == ["float64", "float32"]


def test_a_second_worker_takes_the_task_that_an_idle_one_leaves(tmp_path):
    both = threading.Barrier(2)

    class Meeting(WorkerClient):
        def run(self, requests):
            both.wait(timeout=20)
            yield {"event": "done"}

    for _ in range(100):
        with Pool(lambda dtype: Meeting(tmp_path), {"float64": 2}, 1) as pool:
            assert pool.submit(task()).result(timeout=20) == {"event": "done"}
            pool.resize(2)
            ends = [pool.submit(task(ask("meet"))) for _ in range(2)]
            assert [end.result(timeout=30) for end in ends] == [{"event": "done"}] * 2


def test_limits_apply_per_dtype_and_in_total(opened):
    pool = opened(at_once=3, float64=1)
    hanging = [threading.Event() for _ in range(4)]

    def hear(flag):
        return lambda event: flag.set()

    dtypes = ("float64", "float64", "float32", "float32")
    for flag, dtype in zip(hanging, dtypes, strict=True):
        pool.submit(task(ask("hang"), dtype=dtype, hear=hear(flag)))
    for flag in (hanging[0], hanging[2], hanging[3]):
        assert flag.wait(timeout=60)
    assert not hanging[1].wait(timeout=0.5)
    assert sorted(opened.started) == ["float32", "float32", "float64"]


def test_a_worker_prefers_a_task_similar_to_its_last(opened):
    pool = opened(at_once=1)
    order = []
    first = pool.submit(task(ask("work"), likeness=("x", "1")))
    first.result(timeout=60)
    gate = threading.Event()
    pool.submit(task(ask("work"), likeness=("x", "1"), hear=lambda event: gate.wait(60)))
    names = (("y", "1"), ("x", "2"), ("x", "1"))
    futures = [
        pool.submit(
            task(ask("work"), likeness=name, hear=lambda event, name=name: order.append(name))
        )
        for name in names
    ]
    gate.set()
    for future in futures:
        future.result(timeout=60)
    assert order == [("x", "1"), ("x", "2"), ("y", "1")]


def test_one_death_is_retried_and_the_second_is_a_failure(opened, tmp_path):
    pool = opened()
    once = task(ask("die once", mark=str(tmp_path / "mark")))
    assert pool.submit(once).result(timeout=60)["event"] == "done"
    end = pool.submit(task(ask("die"), ask("work"))).result(timeout=60)
    assert end["event"] == "failed" and end["cause"] == "died" and "code 3" in end["reason"]
    assert pool.submit(task(ask("work"))).result(timeout=60)["event"] == "done"


def test_a_steered_task_continues_or_stops_with_the_given_reason(opened):
    pool = opened()
    seen = []

    def steer(event):
        seen.append(event["done"])
        return "too hot" if event["done"] == 2 else None

    end = pool.submit(task(ask("run"), steer=steer)).result(timeout=60)
    assert (end["cause"], end["reason"], seen) == ("stopped", "too hot", [0, 1, 2])
    assert pool.submit(task(ask("run"), steer=lambda event: None)).result(timeout=60)["pid"]


def test_the_pool_survives_an_exception_in_steer(opened):
    pool = opened(at_once=1)
    with pytest.raises(ZeroDivisionError):
        pool.submit(task(ask("run"), steer=lambda event: 1 / 0)).result(timeout=60)
    assert pool.submit(task(ask("work"))).result(timeout=60)["event"] == "done"


def test_a_task_that_takes_too_long_is_killed_and_not_retried(opened, monkeypatch):
    monkeypatch.setattr(pools, "_LEAST_GRACE", 0.0)
    pool = opened()
    end = pool.submit(task(ask("hang"), seconds=0.5)).result(timeout=60)
    assert end["event"] == "failed"
    assert end["reason"] == "killed: no chunk finished within 1 s"
    assert opened.started == ["float64"]


def test_close_ends_running_tasks_and_cancels_waiting_ones(opened):
    pool = opened(at_once=1)
    hangs = threading.Event()
    running = pool.submit(task(ask("hang"), hear=lambda event: hangs.set()))
    waiting = pool.submit(task(ask("work")))
    assert hangs.wait(timeout=60)
    pool.close()
    assert running.result(timeout=60)["cause"] == "died"
    with pytest.raises(CancelledError):
        waiting.result(timeout=60)
    with pytest.raises(RuntimeError, match="closed"):
        pool.submit(task(ask("work")))


def test_a_smaller_pool_ends_surplus_workers(opened):
    pool = opened(at_once=2)
    ends = [pool.submit(task(ask("run"))) for _ in range(6)]
    pids = {end.result(timeout=60)["pid"] for end in ends}
    pool.resize(1)
    more = {pool.submit(task(ask("work"))).result(timeout=60)["pid"] for _ in range(5)}
    assert len(more) == 1 and more <= pids
