import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lambda_hat_core.store import lease
from lambda_hat_core.store.store import Store

HOLDER = """
import sys, time
from lambda_hat_core.store.store import Store
with Store(sys.argv[1]).lease("runs", "run_x"):
    print("held", flush=True)
    time.sleep(60)
"""

COUNTER = """
import sys, time
from pathlib import Path
from lambda_hat_core.store.store import Store
store, done = Store(sys.argv[1]), Path(sys.argv[1]) / "done"
sys.stdin.readline()
for key in range(20):
    with store.lease("runs", f"run_{key}"):
        if not (done / str(key)).exists():
            done.mkdir(exist_ok=True)
            with open(done / "log", "a") as log:
                log.write(f"{key}\\n")
            time.sleep(0.02)
            (done / str(key)).touch()
"""


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "home")


@pytest.fixture
def holder(store):
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(store.root)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    yield child
    child.kill()
    child.wait()
    child.stdout.close()


def until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_lease_is_released(store):
    with store.lease("runs", "run_x"):
        assert store.is_leased("runs", "run_x")
    assert not store.is_leased("runs", "run_x")
    assert list((store.root / "leases" / "runs").iterdir()) == []


def test_a_lease_is_released_after_an_exception(store):
    with pytest.raises(RuntimeError), store.lease("runs", "run_x"):
        raise RuntimeError
    assert not store.is_leased("runs", "run_x")


def test_two_processes_compute_every_key_once(store):
    store.root.mkdir()
    children = [
        subprocess.Popen(
            [sys.executable, "-c", COUNTER, str(store.root)], stdin=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in children:
        child.communicate(timeout=60)
        assert child.returncode == 0
    made = (store.root / "done" / "log").read_text().split()
    assert sorted(made, key=int) == [str(key) for key in range(20)]


def test_a_running_owner_is_named_and_waited_for(store, holder):
    said, held = [], threading.Event()

    def wait():
        with store.lease("runs", "run_x", said.append):
            held.set()

    waiter = threading.Thread(target=wait)
    waiter.start()
    until(lambda: said)
    assert not held.wait(0.7)
    assert said == [f"waiting for process {holder.pid}, which is making run_x"]
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert held.wait(120)
    waiter.join()


def test_the_lease_of_a_killed_owner_is_taken_over_immediately(store, holder, monkeypatch):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert not store.is_leased("runs", "run_x")
    monkeypatch.setattr(lease.time, "sleep", lambda seconds: pytest.fail("it waits"))
    with store.lease("runs", "run_x"):
        pass


def test_a_process_with_a_reused_pid_is_not_the_owner(store):
    path = store.lease_path("runs", "run_x")
    path.parent.mkdir(parents=True)
    me = lease.Owner(lease.process.host(), os.getpid(), "1", "token")
    assert lease._create(path, me)
    with store.lease("runs", "run_x"):
        pass


@pytest.mark.parametrize("skew", [-3600, 0, 3600])
def test_a_lease_of_another_host_without_heartbeat_is_taken_over(store, skew, monkeypatch):
    """The clock of this host may be wrong by an hour, that of the file server dates the files."""
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + skew)
    path = store.lease_path("runs", "run_x")
    path.parent.mkdir(parents=True)
    lease._create(path, lease.Owner("elsewhere", 1, "", "token"))
    assert store.is_leased("runs", "run_x")
    old = now() - 61
    os.utime(path, (old, old))
    assert not store.is_leased("runs", "run_x")
    with store.lease("runs", "run_x"):
        assert lease.read(path) != lease.Owner("elsewhere", 1, "", "token")


def test_heartbeat_keeps_a_slow_owner(tmp_path):
    path = tmp_path / "x.lease"
    with lease.hold(path, beat=0.1):
        os.utime(path, (0, 0))
        until(lambda: not lease.is_dead(path, lease.read(path)))


def test_an_incomplete_lease_counts_as_held_until_it_is_stale(store):
    path = store.lease_path("runs", "run_x")
    path.parent.mkdir(parents=True)
    path.touch()
    assert store.is_leased("runs", "run_x")
    os.utime(path, (0, 0))
    with store.lease("runs", "run_x"):
        pass


def test_deleting_the_store_while_a_lease_is_held_is_no_error(store):
    import shutil

    with store.lease("runs", "run_x"):
        shutil.rmtree(store.root)
    assert not Path(store.root).exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b"[1]", b'{"host": 1}', b"[" * 100_000, None],
    ids=["empty", "half", "no text", "a list", "other keys", "deep", "a folder"],
)
def test_a_damaged_lease_is_held_for_a_minute_and_then_gives_way(store, content):
    path = store.lease_path("runs", "run_x")
    path.parent.mkdir(parents=True)
    path.mkdir() if content is None else path.write_bytes(content)
    assert lease.read(path) is None and store.is_leased("runs", "run_x")
    os.utime(path, (0, 0))
    with store.lease("runs", "run_x"):
        assert lease.read(path) is not None
    assert list(path.parent.iterdir()) == []


def test_a_lease_that_was_renewed_is_not_cleared(store):
    """Two processes see that an owner is dead; the slower one meets the lease of the faster."""
    path = store.lease_path("runs", "run_x")
    path.parent.mkdir(parents=True)
    dead = lease.Owner("elsewhere", 1, "", "token")
    with store.lease("runs", "run_x"):
        mine, inode = lease.read(path), path.stat().st_ino
        lease.clear(path, dead)
        assert lease.read(path) == mine and path.stat().st_ino == inode


def test_a_sweep_removes_the_leases_of_dead_owners_alone(store, holder):
    folder = store.lease_path("runs", "run_x").parent
    others = {"run_here": ("here", 60), "run_old": ("elsewhere", 90), "run_new": ("elsewhere", 30)}
    for id, (host, age) in others.items():
        host = lease.process.host() if host == "here" else host
        path = store.lease_path("runs", id)
        assert lease._create(path, lease.Owner(host, 999_999_999, "1", id))
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    store.sweep()
    assert sorted(path.stem for path in folder.iterdir()) == ["run_new", "run_x"]
