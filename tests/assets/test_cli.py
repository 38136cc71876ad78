import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import NamedTuple

import pytest
from rich.console import Console

from lambda_hat_assets import cli
from lambda_hat_assets.commands.run import Bars
from lambda_hat_assets.compute.orders import missing_runs
from lambda_hat_core.plan.plan import load_plan
from lambda_hat_core.store import experiments, failures, files, records
from lambda_hat_core.store.store import Store
from lambda_hat_core.work import retries
from lambda_hat_core.work.endings import INTERRUPTED
from tests.assets import fake_worker

ROOT = Path(__file__).parents[2]

FAKE = Path(__file__).with_name("fake_worker.py")

CARD = """
max_concurrent: 2
tags:
  float32: {{command: {0}}}
  float64: {{command: {0}}}
"""

EXPERIMENT = """
experiment: small
targets:
  - {model: {kind: quadratic, d: 3}, seed: 0}
  - {model: {kind: quadratic, d: 3}, seed: 1}
samplers:
  - {name: nuts, overrides: {n_draws: 20, n_burn: 10}, seed: 1}
  - {name: sgld, overrides: {n_draws: 20, n_burn: 10}, seed: 1}
"""


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def home(tmp_path, monkeypatch):
    (tmp_path / "card.yaml").write_text(CARD.format(json.dumps([sys.executable, str(FAKE)])))
    (tmp_path / "small.yaml").write_text(EXPERIMENT)
    monkeypatch.setenv("LAMBDA_HAT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LAMBDA_HAT_CARD", str(tmp_path / "card.yaml"))
    monkeypatch.delenv("LAMBDA_HAT_EXPERIMENT", raising=False)
    monkeypatch.setattr(retries, "PAUSES", (0.01, 0.01))
    monkeypatch.chdir(ROOT)
    return tmp_path / "home"


@pytest.fixture
def command(home, capsys):
    """A function that runs `lambda-hat` in the project's root, with fake numerics."""

    def run(*words):
        code = cli.main([str(word) for word in words])
        return Done(code, *capsys.readouterr())

    return run


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
    (home.parent / "card.yaml").write_text(CARD.format(json.dumps([sys.executable, str(FAKE)])))
    return child


def fill(home):
    """Store what `run` would make for the small experiment."""
    store, plan = Store(home), small(home)
    for spec in plan.targets.values():
        fake_worker.make(store, "targets", spec.model_dump(mode="json"))
    for kind in ("runs", "analyses"):
        for spec in plan.runs.values():
            fake_worker.make(store, kind, spec.model_dump(mode="json"))
    members = [(spec.target, id) for id, spec in plan.runs.items()]
    experiments.write_experiment(store, "small", members)


def small(home):
    return load_plan(home.parent / "small.yaml", ROOT / "config")


def one_line_error(done, *words):
    assert done.returncode == 2
    assert done.stderr.startswith("lambda-hat: ") and done.stderr.count("\n") == 1
    for word in words:
        assert word in done.stderr


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


def test_gc_removes_old_artifacts_without_references(command, home, monkeypatch):
    file = home.parent / "small.yaml"
    fill(home)
    young = command("artifacts", "gc", "--ttl-days", 1)
    assert "0 folders" in young.stdout
    monkeypatch.setenv("LAMBDA_HAT_EXPERIMENT", str(file))
    assert "0 folders" in command("artifacts", "gc", "--ttl-days", 0).stdout
    monkeypatch.delenv("LAMBDA_HAT_EXPERIMENT")
    dry = command("artifacts", "gc", "--ttl-days", 0, "--dry-run")
    assert "10 folders" in dry.stdout and "would be removed" in dry.stdout
    assert len(Store(home).list("runs")) == 4
    with Store(home).lease("runs", next(iter(small(home).runs))):
        gone = command("artifacts", "gc", "--ttl-days", 0)
    assert "9 folders" in gone.stdout
    assert len(Store(home).list("runs")) == 1 and Store(home).list("targets") == ()


def test_gc_refuses_if_an_experiment_file_is_invalid(command, home, monkeypatch):
    bad = home.parent / "bad.yaml"
    bad.write_text("experiment: [")
    monkeypatch.setenv("LAMBDA_HAT_EXPERIMENT", str(bad))
    one_line_error(command("artifacts", "gc", "--ttl-days", 0), "bad.yaml")


def test_gc_keeps_the_runs_of_studies(command, home):
    fill(home)
    run = next(iter(small(home).runs))
    records.write("trials", [{"run_id": run}], home / "tuning" / "study" / "trials.parquet")
    assert command("artifacts", "gc", "--ttl-days", 0).returncode == 0
    store = Store(home)
    assert store.list("runs") == (run,) and len(store.list("targets")) == 1
    assert "tuning/study" in command("artifacts", "ls").stdout


def test_an_empty_store_is_not_an_error(command):
    assert command("verify").stdout.startswith("0 folders")
    assert command("sql", "SELECT count(*) FROM draws").stdout.split() == [
        "count_star()",
        "-" * 12,
        "0",
    ]
    assert "0 folders" in command("artifacts", "ls").stdout
    assert command("artifacts", "tb").returncode == 1


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["sql", "select lcc from llc"], ["lcc"]),
        (["sql", ""], ["the query is empty"]),
        (["run", "nope"], ["nope", "known"]),
        (["plan", "no/such/file.yaml"], ["no/such/file.yaml"]),
        (["plan", "smoke", "posterior.gama=1"], ["posterior.gama", "did you mean gamma"]),
        (["run", "smoke", "oops"], ["key=value"]),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(command, home, words, named):
    one_line_error(command(*words), *named)
    assert (
        Store(home).list("targets") == () and not (home / "experiments" / "smoke.parquet").exists()
    )


def test_a_home_that_cannot_be_written_is_an_error_in_one_line(command, home):
    home.write_text("a file")
    one_line_error(command("run", home.parent / "small.yaml"), str(home), "LAMBDA_HAT_HOME")
    one_line_error(command("sql", "select 1"), str(home), "LAMBDA_HAT_HOME")


def test_an_empty_home_is_refused(command, monkeypatch):
    from lambda_hat_assets.project.project import load_project

    monkeypatch.setenv("LAMBDA_HAT_HOME", "")
    for words in (["sql", "from llc"], ["verify"], ["plan", "smoke"], ["artifacts", "ls"]):
        one_line_error(command(*words), "LAMBDA_HAT_HOME", "set but empty", "unset it")
    with pytest.raises(ValueError, match="set but empty"):
        load_project()


@pytest.mark.parametrize("days", ["nan", "inf", "-1", "1e9", "x"])
def test_gc_refuses_what_is_no_number_of_days(command, capsys, days):
    with pytest.raises(SystemExit):
        command("artifacts", "gc", f"--ttl-days={days}")
    assert f"{days} is no number of days from 0 to" in capsys.readouterr().err


def test_a_time_on_the_command_line_is_text(command):
    said = command("card", "show", "slurm-cpu", "--set", "walltime=12:00:00")
    assert said.returncode == 0 and "12:00:00" in said.stdout


def test_outside_of_the_project_it_is_said_that_config_is_missing(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one_line_error(command("plan", "default"), "there is no folder config/ in", "run from the")
    monkeypatch.setenv("LAMBDA_HAT_CARD", "slurm")
    path = tmp_path / "one.yaml"
    path.write_text("targets: [{model: {kind: quadratic}}]\nsamplers: [{name: nuts}]\n")
    one_line_error(command("run", path), "LAMBDA_HAT_CARD", "there is no folder config/")
    monkeypatch.delenv("LAMBDA_HAT_CARD")
    assert command("plan", path).returncode == 0


def test_a_damaged_file_is_named_once_with_its_way_out(command, home):
    experiments.write_experiment(Store(home), "e", [("t", "r")])
    path = home / "experiments" / "e.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    said = command("sql", "select count(*) from experiments")
    assert said.returncode == 0 and said.stdout.split()[-1] == "0"
    assert said.stderr.count(str(path)) == 1 and "lambda-hat verify --remove" in said.stderr
    assert command("verify").returncode == 1
    assert str(path) in command("verify", "--remove").stdout and not path.exists()
    assert command("verify").returncode == 0


DAMAGES = {
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "folder": lambda path: (path.unlink(), path.mkdir()),
    "other columns": lambda path: records.write("checks", [{"name": "a"}], path),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_records_do_not_stop_a_run_and_are_named_once(command, home, damage):
    """Those of a failure and of members of other experiments; a wish is no table."""
    store, file = Store(home), home.parent / "small.yaml"
    fill(home)
    other = next(iter(small(home).runs.values())).model_copy(update={"seed": 77})
    failures.write_failure(store, other, "once")
    experiments.write_experiment(store, "an other", [("t", other.id)])
    experiments.write_asked(store, "an other", "an other")
    hurt = [
        failures.failure_path(store, other.id),
        store.root / "experiments" / "an other.parquet",
        store.root / "experiments" / "an other.json",
    ]
    for path in hurt:
        DAMAGES[damage](path)
    (home / "llc.duckdb").unlink(missing_ok=True)
    done = command("run", file)
    assert done.returncode == 0 and "2 targets and 4 runs, 6 exist" in done.stdout
    assert done.stdout.count("ok") == 4
    for path in hurt:
        assert done.stderr.count(f"{path} is left out") == 1, done.stderr
    assert failures.read_failure(store, other.id) is None
    assert command("sql", "from llc").returncode == command("plan", file).returncode == 0
    said = command("verify", "--remove").stdout
    assert all(said.count(f"{path}: ") == 1 and not path.exists() for path in hurt), said
    assert command("run", file).stderr == ""


def test_verify_reads_compiled_programs(command, home):
    folder = home / ".cache" / "jax" / "0123abcd"
    folder.mkdir(parents=True)
    (folder / "jit_f-cache").write_bytes(zlib.compress(b"program"))
    assert command("verify").returncode == 0
    half = folder / "jit_g-cache"
    half.write_bytes(zlib.compress(b"program")[:-2])
    said = command("verify", "--remove")
    assert said.returncode == 1 and f"{half}: it is not as JAX wrote it" in said.stdout
    assert command("verify").returncode == 0 and not half.exists()


def test_verify_reads_studies_presets_and_exact_values(command, home):
    study = home / "tuning" / "sgld_0123456789ab"
    study.mkdir(parents=True)
    with sqlite3.connect(study / "study.db") as made:
        made.execute("CREATE TABLE trials (number INTEGER)")
    made.close()
    records.write("trials", [], study / "trials.parquet")
    (study / "spec.json").write_text("{}")
    files.write_sealed(study / "reference.json", {"llc": 1.5})
    files.write_sealed(home / "exact" / "tgt_0123456789ab.0.json", {"value": 1.5})
    files.write_atomic(home / "best" / "small" / "sgld.yaml", "kind: sgld\n")
    assert command("verify").returncode == 0
    damages = {
        study / "study.db": b"SQLite format 3\0" + bytes(5000),
        study / "trials.parquet": b"PAR1",
        study / "spec.json": b"{",
        study / "reference.json": (study / "reference.json").read_bytes().replace(b"1.5", b"1.6"),
        home / "exact" / "tgt_0123456789ab.0.json": b'{"value": 1.6}',
        home / "best" / "small" / "sgld.yaml": b"kind: [",
    }
    for path, content in damages.items():
        path.write_bytes(content)
    said = command("verify", "--remove")
    assert said.returncode == 1 and "6 corrupt" in said.stdout
    assert all(f"{path}: " in said.stdout and not path.exists() for path in damages)
    assert command("verify").returncode == 0


def test_a_damaged_wish_does_not_keep_the_project_from_loading(command, home, capsys):
    from lambda_hat_assets.project.project import load_project

    store = Store(home)
    for name in ("small", "other"):
        experiments.write_asked(store, name, name)
    path = home / "experiments" / "other.json"
    for content in ('{"experiment": "oth', "[]"):
        path.write_text(content)
        problems = load_project().problems
        assert "lambda-hat verify --remove" in problems.pop("other.json")
        assert not any("other" in words for words in problems.values())
        assert command("verify").returncode == 1
    assert str(path) in command("verify", "--remove").stdout and not path.exists()
    assert "other.json" not in load_project().problems


def test_an_unknown_card_is_an_error_in_one_line(command, monkeypatch):
    monkeypatch.setenv("LAMBDA_HAT_CARD", "nope")
    one_line_error(command("run", "smoke"), "nope", "local")


def test_command_line_imports_neither_dagster_nor_jax():
    code = "import sys, lambda_hat_assets.cli as c; c._parser(); print(*sys.modules, sep='\\n')"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(out.stdout.split())
    assert not loaded & {"dagster", "jax", "duckdb", "pyarrow", "arviz", "matplotlib"}
