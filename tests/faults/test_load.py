"""Many commands on one store, many failures, and machines whose clocks differ by an hour."""

import os
import random
import subprocess
import sys
import threading
from collections import Counter

import pytest

from lambda_hat_core.store import lease, sql
from lambda_hat_core.store.store import Store
from tests.assets.conftest import FAKE, ROOT
from tests.faults.site import PLAIN
from tests.webserver import wait_for

FORKED = """
import os, sys
from lambda_hat_assets import cli
from lambda_hat_assets.commands import run
children = []
for number in range(int(sys.argv[1])):
    pid = os.fork()
    if pid == 0:
        said = os.open(f"said_{number}.txt", os.O_CREAT | os.O_WRONLY)
        os.dup2(said, 1), os.dup2(said, 2)
        code = cli.main(["run", "small"])
        sys.stdout.flush()
        os._exit(code)
    children.append(pid)
print(*(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children))
"""
"""Commands at the same moment, which share their imports."""

MACHINE = """
import sys, time
from pathlib import Path
from lambda_hat_core.store import lease, process
root, name, skew = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
now = time.time
time.time = lambda: now() + skew
process.host = lambda: name
sys.stdin.readline()
for key in range(4):
    with lease.hold(root / f"{key}.lease", stale=3.0, beat=0.2, poll=0.02):
        if not (root / f"{key}.made").exists():
            with open(root / "log", "a") as log:
                log.write(f"{key} {name}\\n")
            if key == 2 and not (root / "hung").exists():
                (root / "hung").write_text(name)
                time.sleep(600)
            time.sleep(0.3)
            (root / f"{key}.made").touch()
"""
"""A process of a machine with a name and a clock of its own; the first to make key 2 hangs."""


def experiment(site, target_seeds, seeds):
    """Write an experiment of the worker that computes nothing."""
    tag = {"command": FAKE, "env": {"PYTHONPATH": str(ROOT)}}
    targets = [{"model": {"kind": "quadratic", "d": 3}, "seed": seed} for seed in target_seeds]
    samplers = [{"name": "nuts", "seed": seed} for seed in seeds]
    content = {"experiment": "small", "targets": targets, "samplers": samplers}
    site.write("config/experiment/small.yaml", content)
    site.write("config/card/local.yaml", {"max_concurrent": 1, "tags": {"float64": tag}})


def made_once(site):
    """Check that every key was made once at most, and that nothing is left of its making."""
    made = Counter((site.store.root / "made.txt").read_text().splitlines())
    assert set(made.values()) == {1}, made
    assert not list(site.store.root.glob("leases/*/*"))
    assert not list(site.store.root.rglob(".tmp-*"))
    assert not site.corrupt()
    return made


def test_twenty_commands_at_once_make_every_key_once_and_all_succeed(site):
    experiment(site, range(20, 23), range(20, 23))
    code, said = site.run([sys.executable, "-c", FORKED, "20"])
    answers = [path.read_text() for path in site.root.glob("said_*.txt")]
    assert code == 0 and said.split() == ["0"] * 20, said + "".join(answers)
    assert len(answers) == 20 and not any("Traceback" in answer for answer in answers)
    assert len(made_once(site)) == 3 + 9 + 9


def test_runs_that_fail_do_not_stop_the_others_and_are_tried_again_alone(site):
    experiment(site, (13, *range(20, 44)), range(20, 24))
    for _ in range(2):
        code, said = site.run(PLAIN)
        assert code == 1 and "Traceback" not in said, said
        assert len(made_once(site)) == 24 + 2 * 96
        count = "SELECT verdict, count(*) FROM llc GROUP BY verdict ORDER BY verdict"
        assert sql.query(site.store, count).rows == [("failed", 4), ("ok", 96)]
    assert "100 failed" not in said and "96 exist" not in said
    assert f"{24 + 96} exist" in said


@pytest.mark.parametrize("skew", [3600, -3600])
def test_machines_whose_clocks_differ_by_an_hour_make_every_key_once(skew, tmp_path):
    """One process is killed while it makes a key, which the other makes after it."""
    machines = {
        name: subprocess.Popen(
            [sys.executable, "-c", MACHINE, str(tmp_path), name, str(of)],
            stdin=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for name, of in (("right", 0), ("wrong", skew))
    }
    started = list(machines.values())
    try:
        for process in started:
            process.stdin.write("go\n")
            process.stdin.flush()
        hung = tmp_path / "hung"
        wait_for(lambda: hung.exists() and hung.read_text(), "one of them makes key 2")
        machines.pop(hung.read_text()).kill()
        (left,) = machines.values()
        assert left.wait(timeout=120) == 0
    finally:
        for process in started:
            process.kill()
            process.communicate()
    made = [line.split()[0] for line in (tmp_path / "log").read_text().splitlines()]
    assert Counter(made) == {str(key): 1 + (key == 2) for key in range(4)}
    assert not list(tmp_path.glob("*.lease"))


def test_a_day_of_heartbeats_keeps_a_lease_and_a_minute_of_silence_ends_it(tmp_path, monkeypatch):
    """Time passes by making files older; some heartbeats are half a minute late.

    What a writer of another machine has not finished stays for the whole day.
    """
    rng, store, day = random.Random(11), Store(tmp_path), 0.0
    path = store.lease_path("runs", "run_x")
    path.parent.mkdir(parents=True)
    unfinished = path.with_name(".tmp-run_y-elsewhere-1-abcd")
    unfinished.touch()

    def age(seconds):
        nonlocal day
        day += seconds
        for file in path.parent.iterdir():
            stat = file.stat()
            os.utime(file, (stat.st_atime, stat.st_mtime - seconds))

    while day < 86400:
        me = lease.Owner("elsewhere", 1, "", str(day))
        assert lease._create(path, me)
        beats = iter(range(rng.randint(0, 300)))

        def wait(seconds, beats=beats):
            age(seconds + rng.choice([0, 0, 1, 30]))
            assert not lease.is_dead(path, lease.read(path))
            return next(beats, None) is None

        stop = threading.Event()
        monkeypatch.setattr(stop, "wait", wait)
        lease._beat(path, me, stop, lease._BEAT)
        os.utime(path)
        age(50)
        store.sweep()
        assert lease.read(path) == me
        age(15)
        store.sweep()
        assert list(path.parent.iterdir()) == [unfinished]
    age(7 * 86400)
    store.sweep()
    assert not unfinished.exists()
