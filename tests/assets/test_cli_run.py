"""`lambda-hat run` and `plan`: what they make, resume, record and say."""

import io
import json
import os
import signal
import subprocess
import sys
import time

from rich.console import Console

from lambda_hat_assets.commands.run import Bars
from lambda_hat_assets.compute.orders import missing_runs
from lambda_hat_core.store.damaged import read_asked
from lambda_hat_core.store.store import Store
from lambda_hat_core.work.endings import INTERRUPTED
from tests.assets.conftest import FAKE
from tests.assets.small import CARD, fill, small


def started(home, worker):
    """Start `lambda-hat run` in a separate process, and wait until a worker is computing."""
    seen = home.parent / "seen"
    command = ["sh", "-c", f"touch {seen}; exec {worker}"]
    (home.parent / "card.yaml").write_text(CARD.format(json.dumps(command)))
    words = [sys.executable, "-m", "lambda_hat_assets.cli", "run", str(home.parent / "small.yaml")]
    child = subprocess.Popen(words, stdout=-1, stderr=-1, text=True)
    end = time.monotonic() + 120
    while not seen.exists():
        assert time.monotonic() < end and child.poll() is None
        time.sleep(0.02)
    (home.parent / "card.yaml").write_text(CARD.format(json.dumps(FAKE)))
    return child


def test_run_makes_everything_and_a_second_run_nothing(command, home):
    file = home.parent / "small.yaml"
    first = command("run", file)
    assert first.returncode == 0, first.stderr
    assert "2 targets and 4 runs, 0 exist" in first.stdout
    assert "(6 of 6)" in first.stdout
    store = Store(home)
    plan = small(home)
    assert set(store.list("analyses")) == set(plan.runs)
    calls = [line.split() for line in (home / "calls.txt").read_text().splitlines()]
    served = {(id.split("_")[-2], x64) for id, _, x64 in calls}
    assert served == {("tgt", "1"), ("nuts", "1"), ("sgld", "0")}, "each dtype has its process"
    second = command("run", file)
    assert second.returncode == 0
    assert "2 targets and 4 runs, 6 exist" in second.stdout
    assert first.stdout.splitlines()[-7:] == second.stdout.splitlines()[-7:]
    assert first.stdout.splitlines()[-1] == str(home / "galleries" / "small" / "index.html")
    table = command("sql", "SELECT count(*) AS k, min(experiment) AS e FROM llc")
    assert table.stdout.split() == ["k", "e", "-", "-----", "4", "small"]
    csv = command("sql", "--csv", "SELECT run_id, null AS x FROM llc ORDER BY 1").stdout
    assert csv.splitlines() == ["run_id,x", *(f"{id}," for id in sorted(plan.runs))]
    _verify_and_list(command, home, plan)


def _verify_and_list(command, home, plan):
    done = command("verify")
    assert done.returncode == 0 and "11 folders" in done.stdout and "0 corrupt" in done.stdout
    listed = command("artifacts", "ls", "--kind", "runs").stdout
    assert all(id in listed for id in plan.runs) and "small" in listed and "4 folders" in listed
    victim = home / "runs" / next(iter(plan.runs)) / "work.json"
    stat = victim.stat()
    victim.write_bytes(b"#" * stat.st_size)
    os.utime(victim, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    broken = command("verify", "--remove")
    assert broken.returncode == 1 and "work.json does not match its hash" in broken.stdout
    again = command("run", home.parent / "small.yaml")
    assert again.returncode == 0 and "2 targets and 4 runs, 5 exist" in again.stdout
    assert command("verify").returncode == 0


def test_changed_values_add_runs_to_the_experiment(command, home):
    file = home.parent / "small.yaml"
    file.write_text("{targets: [{model: {kind: quadratic}}], samplers: [{name: nuts, seed: 1}]}")
    assert command("run", file).returncode == 0
    assert command("run", file, "samplers.seed=2").returncode == 0
    seeds = command("sql", "SELECT seed FROM llc WHERE experiment = 'small' ORDER BY 1")
    assert seeds.stdout.split()[2:] == ["1", "2"]
    assert Store(home).list("galleries") == ("small", "small_samplers.seed=2")
    assert read_asked(Store(home)) == {"small": ("small", [])}, "its file is not in config/"


def test_a_gallery_that_cannot_be_made_is_reported(command, home):
    fill(home)
    (home.parent / "card.yaml").write_text(CARD.format(json.dumps(["/does/not/exist"])))
    done = command("run", home.parent / "small.yaml")
    assert done.returncode == 1
    assert "the gallery could not be made: /does/not/exist cannot be" in done.stdout


def test_bars_move_and_failures_are_printed(home):
    key = missing_runs(Store(home), small(home))[-1].key
    console = Console(file=io.StringIO(), force_terminal=True, width=120, color_system=None)
    with Bars(6, console) as bars:
        bars.heard(key, {"event": "log", "message": "[red]at work"})
        bars.heard(key, {"event": "progress", "done": 3, "total": 4, "llc": 1.25})
        bars._progress.refresh()
        bars.ended(key, "boom [/x]")
    shown = console.file.getvalue()
    assert "3/4" in shown and "llc 1.25" in shown and "boom [/x]" in shown and "1/6" in shown


def test_one_failing_run_does_not_stop_the_others(command, home):
    file = home.parent / "small.yaml"
    file.write_text(
        """
targets: [{model: {kind: quadratic}, seed: 0}, {model: {kind: quadratic}, seed: 13}]
samplers: [{name: hmc, seed: 2}, {name: nuts, seed: 13}, {name: sgld, seed: 14}]
"""
    )
    done = command("run", file)
    assert done.returncode == 1 and "Traceback" not in done.stdout
    lines = command(
        "sql", "--csv", "SELECT sampler, verdict, reasons[1] FROM llc ORDER BY ALL"
    ).stdout.splitlines()[1:]
    unbuilt = [line for line in lines if "could not be built: seed 13 always fails" in line]
    hmc, nuts, sgld = (line for line in lines if line not in unbuilt)
    assert len(unbuilt) == 3 and all(",failed," in line for line in unbuilt)
    assert hmc == "hmc,ok,"
    assert nuts == "nuts,failed,seed 13 always fails"
    assert sgld.startswith("sgld,failed,the payload was killed by signal 6 (SIGABRT)")
    calls = (home / "calls.txt").read_text().splitlines()
    assert sum("run_sgld" in line for line in calls) == 2, "what died is tried once more"
    assert sum("run_nuts" in line for line in calls) == 1
    assert "failed at the last attempt: seed 13 always fails" in command("plan", file).stdout
    said = command("sql", "--csv", "SELECT seed, kind, failure, n FROM targets ORDER BY 1")
    assert said.stdout.splitlines()[1:] == [
        "0,quadratic,,1000",
        "13,quadratic,seed 13 always fails,",
    ]


def test_a_killed_run_is_resumed(command, home):
    child = started(home, "cat > /dev/null")
    child.kill()
    child.communicate()
    assert command("run", home.parent / "small.yaml").returncode == 0
    assert command("verify").returncode == 0
    assert command("sql", "--csv", "SELECT count(*) FROM llc").stdout.split()[-1] == "4"


def test_an_interrupt_records_no_failure(home):
    child = started(home, "cat > /dev/null")
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=120)
    assert child.returncode == 130 and errors == f"{INTERRUPTED}\n"
    assert not list(home.glob("failures/[rt]*"))


def test_plan_says_what_exists_and_what_is_left(command, home):
    file = home.parent / "small.yaml"
    before = command("plan", file)
    assert before.returncode == 0
    assert "small: 2 targets, 0 exist; 4 runs, 0 exist" in before.stdout
    assert "left: about" in before.stdout and "no similar run" in before.stdout
    assert all(id in before.stdout for id in (*small(home).targets, *small(home).runs))
    fill(home)
    assert "nothing is left" in command("plan", file).stdout
    so = ("samplers.seed=1", "targets.0.seed=0", "targets.model.rotate=true", "posterior.gamma=1")
    assert "nothing is left" in command("plan", file, *so).stdout
    assert "2 targets and 4 runs, 6 exist" in command("run", file, *so).stdout
    changed = command("plan", file, "samplers.seed=5").stdout
    assert "4 runs, 0 exist" in changed and "s sequentially, estimated from similar runs" in changed
