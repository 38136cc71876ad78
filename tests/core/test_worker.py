import json
import os
import subprocess
import sys
import time

import pytest

from lambda_hat_core.store import failures
from lambda_hat_core.store.store import Store
from lambda_hat_core.work.client import WorkerClient, how_it_ended, request
from tests.core.fake_numerics import ARGV, run, target

ENV = {"JAX_ENABLE_X64": "1", "JAX_PLATFORMS": "cpu"}


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with WorkerClient(tmp_path_factory.mktemp("home"), ARGV, ENV) as client:
        yield client


def last(client, *requests):
    return list(client.run(requests))[-1]


def wait_for(condition):
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_events_of_a_request_survive_prints_and_carry_its_id(client):
    log, done = client.run([request("targets", target())])
    assert log == {"id": target().id, "event": "log", "message": f"building {target().id}"}
    assert done["event"] == "done" and done["id"] == target().id and done["status"] == "made"
    assert done["record"]["nan"] is None and done["record"]["numpy"] == 1.5


def test_one_warm_process_serves_many_requests(client):
    events = client.run([request("targets", target()), request("targets", target(10))])
    done = [event["record"]["pid"] for event in events if event["event"] == "done"]
    assert done == [client.pid, client.pid]


@pytest.mark.parametrize(
    ("seed", "reason", "cause", "transient"),
    [
        (1, "x.yaml: model is wrong; mend it", "config", False),
        (2, "RuntimeError: two lines", "error", False),
        (6, "the disk went away", "error", True),
    ],
)
def test_an_exception_is_an_event_and_the_process_continues(client, seed, reason, cause, transient):
    list(client.run([request("targets", target())]))
    pid = client.pid
    event = last(client, request("targets", target(seed)))
    assert event["event"] == "failed" and event["reason"] == reason
    assert (event["cause"], event["transient"]) == (cause, transient)
    assert client.pid == pid


def test_a_worker_refuses_the_wrong_dtype(client):
    assert last(client, request("runs", run(dtype="float64"), target()))["event"] == "done"
    event = last(client, request("runs", run(dtype="float32"), target()))
    assert event["event"] == "failed" and "JAX_ENABLE_X64=0" in event["reason"]


def test_progress_is_passed_on(client):
    event, _ = client.run([request("runs", run(dtype="float64"), target())])
    assert event["event"] == "progress" and (event["done"], event["total"]) == (1, 2)


@pytest.fixture(scope="module")
def sampling(tmp_path_factory):
    """A worker in which only the samplers are faked, and its store."""
    root = tmp_path_factory.mktemp("home")
    with WorkerClient(root, ARGV, {**ENV, "FAKE": "numerics"}) as client:
        assert last(client, request("targets", target()))["event"] == "done"
        yield client, Store(root)


@pytest.mark.parametrize("go", [False, True])
def test_a_steered_request_waits_at_its_progress_and_can_be_stopped(sampling, go):
    client, store = sampling
    before = store.list("runs")
    spec, pid, end = run(seed=20 + go, dtype="float64"), client.pid, {}
    for event in client.run([request("runs", spec, target()) | {"steered": True}]):
        if event["event"] == "progress":
            assert event["work_fge"] == 10.0 and event["v_m"] == 1.0
            client.answer(go=go)
        end = event
    assert last(client, request("targets", target()))["event"] == "done" and client.pid == pid
    assert store.is_complete("runs", spec.id) == go and (end["event"] == "done") == go
    if not go:
        assert end["cause"] == "stopped" and not end["transient"]
        assert store.list("runs") == before and failures.read_failure(store, spec.id) is None


@pytest.mark.parametrize(
    "line",
    [
        {"id": "a", "kind": "fly", "spec": {}},
        {"id": "a", "kind": "targets", "spec": {"model": 1}},
        {"id": "a"},
    ],
)
def test_invalid_requests_are_refused_by_the_same_process(client, line):
    event = last(client, line)
    assert event["event"] == "failed" and "\n" not in event["reason"]
    assert last(client, request("targets", target()))["event"] == "done"


@pytest.mark.parametrize(
    ("seed", "words"),
    [(3, "killed by signal 9, perhaps out of memory: lower"), (4, "code 7"), (7, "SIGSEGV")],
)
def test_a_death_is_a_failure_with_its_cause_and_the_next_request_succeeds(client, seed, words):
    events = list(client.run([request("targets", target(seed)), request("targets", target())]))
    failed, done = (event for event in events if event["event"] in ("failed", "done"))
    assert failed["id"] == target(seed).id and words in failed["reason"]
    assert failed["cause"] == "died" and failed["transient"]
    assert done["event"] == "done"


def test_worker_that_cannot_start_is_a_failure(tmp_path):
    with WorkerClient(tmp_path, ["/does/not/exist"]) as client:
        event = last(client, request("targets", target()))
    assert event["event"] == "failed" and "cannot be started" in event["reason"]
    with WorkerClient(tmp_path, [sys.executable, "-c", "raise SystemExit('no module')"]) as client:
        event = last(client, request("targets", target()))
    assert "code 1 (no module)" in event["reason"]
    with WorkerClient(tmp_path, ["sh", "-c", "kill -9 $$"]) as client:
        assert [last(client, request("targets", target()))["cause"] for _ in range(3)] == 3 * [
            "died"
        ]


def test_wrapper_that_prints_does_not_break_the_protocol(tmp_path):
    wrapped = ["sh", "-c", 'echo Loading modules; exec "$@"', "sh", *ARGV]
    with WorkerClient(tmp_path, wrapped, ENV) as client:
        events = list(client.run([request("targets", target())]))
    assert events[0]["message"] == "Loading modules" and events[-1]["event"] == "done"


def test_worker_killed_before_it_runs_fails_its_request_and_the_next_is_served(tmp_path):
    with WorkerClient(tmp_path, ARGV, ENV) as client:
        client.kill()
        (killed,) = client.run([request("targets", target())])
        served = list(client.run([request("targets", target())]))
    assert killed["cause"] == "died" and "signal 9" in killed["reason"]
    assert served[-1]["event"] == "done"


def test_exit_codes_are_described_in_words():
    assert "signal 9" in how_it_ended(-9) and "signal 9" in how_it_ended(137)
    assert "SIGTERM" in how_it_ended(143)
    assert how_it_ended(3) == "the payload exited with code 3"


PARENT = f"""
import sys
from lambda_hat_core.work.client import WorkerClient, request
from tests.core.fake_numerics import target
client = WorkerClient(sys.argv[1], {ARGV!r}, {ENV!r})
events = client.run([request("targets", target()), request("targets", target(5))])
for event in events:
    if event["event"] == "done":
        print(client.pid, flush=True)
"""


def test_a_worker_ends_when_its_parent_is_killed_during_a_computation(tmp_path):
    started = tmp_path / "started"
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "STARTED": str(started)},
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    wait_for(started.exists)
    assert os.path.exists(f"/proc/{pid}")
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_for(lambda: not os.path.exists(f"/proc/{pid}") or _is_zombie(pid))


def _is_zombie(pid):
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] == "Z"


def test_a_file_of_requests_is_processed_without_a_parent(tmp_path):
    lines = [
        request("targets", target()),
        request("targets", target(2)),
        request("targets", target(10)),
    ]
    path = tmp_path / "requests.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = subprocess.run(
        [*ARGV, "--home", str(tmp_path), "--requests", str(path)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, **ENV},
    )
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1
    assert [e["event"] for e in events] == ["ready", "log", "done", "log", "failed", "log", "done"]
    assert events[0]["dtype"] == "float64"
    assert "printed by a library" in done.stderr and "written to fd 1" in done.stderr


def test_client_and_specs_import_no_jax():
    code = (
        "import sys; from lambda_hat_core.store import records, sql, store; "
        "from lambda_hat_core.work import client, making, worker; print('jax' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "False\n"
