import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lambda_hat_core import records
from lambda_hat_core.plan.plan import load_plan
from lambda_hat_core.store import Store

ROOT = Path(__file__).parents[2]

CARD = f"""
max_concurrent: 2
tags:
  float32: {{command: [{sys.executable}, -m, tests.core.fake_numerics], env: {{FAKE: numerics}}}}
  float64: {{command: [{sys.executable}, -m, tests.core.fake_numerics], env: {{FAKE: numerics}}}}
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


@pytest.fixture
def home(tmp_path):
    (tmp_path / "card.yaml").write_text(CARD)
    (tmp_path / "small.yaml").write_text(EXPERIMENT)
    return tmp_path / "home"


@pytest.fixture
def command(home):
    """Run `lambda-hat` in the project's root, with fake numerics."""
    env = {
        **os.environ,
        "LAMBDA_HAT_HOME": str(home),
        "LAMBDA_HAT_CARD": str(home.parent / "card.yaml"),
        "COLUMNS": "200",
    }

    def run(*words, **more):
        return subprocess.run(
            [sys.executable, "-m", "lambda_hat_assets.cli", *map(str, words)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=env | more,
            timeout=120,
        )

    return run


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
    second = command("run", file)
    assert second.returncode == 0
    assert "2 targets and 4 runs, 6 exist" in second.stdout
    assert first.stdout.splitlines()[-6:] == second.stdout.splitlines()[-6:]
    table = command("sql", "SELECT count(*) AS k, min(experiment) AS e FROM llc")
    assert table.stdout.split() == ["k", "e", "-", "-----", "4", "small"]
    csv = command("sql", "--csv", "SELECT run_id, null AS x FROM llc ORDER BY 1").stdout
    assert csv.splitlines() == ["run_id,x", *(f"{id}," for id in sorted(plan.runs))]
    _verify_and_list(command, home, plan)


def _verify_and_list(command, home, plan):
    done = command("verify")
    assert done.returncode == 0 and "10 folders" in done.stdout and "0 corrupt" in done.stdout
    listed = command("artifacts", "ls", "--kind", "runs").stdout
    assert all(id in listed for id in plan.runs) and "small" in listed and "4 folders" in listed
    victim = home / "runs" / next(iter(plan.runs)) / "log.txt"
    stat = victim.stat()
    victim.write_bytes(b"#" * stat.st_size)
    os.utime(victim, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    broken = command("verify", "--remove")
    assert broken.returncode == 1 and "log.txt does not have the content" in broken.stdout
    again = command("run", home.parent / "small.yaml")
    assert again.returncode == 0 and "2 targets and 4 runs, 5 exist" in again.stdout
    assert command("verify").returncode == 0


def test_changes_on_the_command_line_make_other_runs_of_the_same_experiment(command, home):
    file = home.parent / "small.yaml"
    assert command("run", file, "samplers.seed=2").returncode == 0
    assert command("run", file, "samplers.seed=3").returncode == 0
    seeds = command("sql", "SELECT DISTINCT seed FROM llc WHERE experiment = 'small' ORDER BY 1")
    assert seeds.stdout.split()[2:] == ["2", "3"]


def test_one_failing_run_does_not_stop_the_others(command, home):
    file = home.parent / "small.yaml"
    file.write_text(
        EXPERIMENT.replace("nuts, overrides: {n_draws: 20, n_burn: 10}, seed: 1", "nuts, seed: 14")
        .replace("sgld, overrides: {n_draws: 20, n_burn: 10}, seed: 1", "sgld, seed: 15")
        .replace("samplers:", "samplers:\n  - {name: hmc, seed: 2}\n  - {name: hmc, seed: 13}")
        .replace("d: 3}, seed: 1", "d: 3}, seed: 9")
    )
    done = command("run", file)
    assert done.returncode == 1 and "Traceback" not in done.stdout
    rows = command(
        "sql", "--csv", "SELECT sampler, seed, verdict, reasons[1] FROM llc ORDER BY ALL"
    ).stdout
    lines = rows.splitlines()[1:]
    assert len(lines) == 8
    built, unbuilt = (
        [line for line in lines if "could not be built" not in line],
        [line for line in lines if "could not be built: the training loss is not finite" in line],
    )
    assert len(unbuilt) == 4 and all(",failed," in line for line in unbuilt)
    assert built[0].startswith("hmc,2,") and ",failed," not in built[0]
    assert built[1].startswith("hmc,13,failed,")
    assert built[2] == "nuts,14,failed,RuntimeError: a bug"
    assert built[3].startswith("sgld,15,failed,the payload was killed by signal 9, perhaps out")
    plan = command("plan", file).stdout
    assert "failed when last tried: the training loss is not finite" in plan


def test_killed_run_is_taken_up_again(command, home):
    file, started = home.parent / "small.yaml", home.parent / "started"
    env = os.environ | {
        "LAMBDA_HAT_HOME": str(home),
        "LAMBDA_HAT_CARD": str(home.parent / "card.yaml"),
        "SLOW": str(started),
    }
    words = [sys.executable, "-m", "lambda_hat_assets.cli", "run", str(file)]
    child = subprocess.Popen(words, cwd=ROOT, env=env, stdout=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while not started.exists():
        assert time.monotonic() < end and child.poll() is None
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.wait()
    again = command("run", file)
    assert again.returncode == 0, again.stdout + again.stderr
    assert command("verify").returncode == 0
    assert command("sql", "SELECT count(*) FROM llc").stdout.split()[-1] == "4"


def test_interrupt_ends_quietly_and_notes_no_failure(command, home):
    file, started = home.parent / "small.yaml", home.parent / "started"
    env = os.environ | {
        "LAMBDA_HAT_HOME": str(home),
        "LAMBDA_HAT_CARD": str(home.parent / "card.yaml"),
        "SLOW": str(started),
    }
    words = [sys.executable, "-m", "lambda_hat_assets.cli", "run", str(file)]
    child = subprocess.Popen(words, cwd=ROOT, env=env, stdout=-1, stderr=-1, text=True)
    end = time.monotonic() + 60
    while not started.exists():
        assert time.monotonic() < end and child.poll() is None
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=30)
    assert child.returncode == 130 and "Traceback" not in errors
    assert list(home.glob("failures/run_*")) == []


def test_plan_says_what_exists_and_what_is_left(command, home):
    file = home.parent / "small.yaml"
    before = command("plan", file)
    assert before.returncode == 0
    assert "small: 2 targets, 0 exist; 4 runs, 0 exist" in before.stdout
    assert "left: about" in before.stdout and "no like run" in before.stdout
    assert all(id in before.stdout for id in (*small(home).targets, *small(home).runs))
    command("run", file)
    assert "nothing is left" in command("plan", file).stdout
    changed = command("plan", file, "samplers.seed=5").stdout
    assert "4 runs, 0 exist" in changed and "as like runs took it" in changed


def test_gc_removes_what_nothing_names_and_is_old(command, home):
    file = home.parent / "small.yaml"
    assert command("run", file).returncode == 0
    young = command("artifacts", "gc", "--ttl-days", 1)
    assert "0 folders" in young.stdout
    named = command("artifacts", "gc", "--ttl-days", 0, LAMBDA_HAT_EXPERIMENT=str(file))
    assert "0 folders" in named.stdout, named.stderr
    dry = command("artifacts", "gc", "--ttl-days", 0, "--dry-run")
    assert "10 folders" in dry.stdout and "would go" in dry.stdout
    assert len(Store(home).list("runs")) == 4
    with Store(home).lease("runs", next(iter(small(home).runs))):
        gone = command("artifacts", "gc", "--ttl-days", 0)
    assert "9 folders" in gone.stdout
    assert len(Store(home).list("runs")) == 1 and Store(home).list("targets") == ()


def test_gc_refuses_while_an_experiment_file_cannot_be_read(command, home):
    bad = home.parent / "bad.yaml"
    bad.write_text("experiment: [")
    one_line_error(
        command("artifacts", "gc", "--ttl-days", 0, LAMBDA_HAT_EXPERIMENT=str(bad)), "bad.yaml"
    )


def test_gc_keeps_the_runs_of_studies(command, home):
    assert command("run", home.parent / "small.yaml").returncode == 0
    run = next(iter(small(home).runs))
    records.write("trials", [{"run_id": run}], home / "tuning" / "study" / "trials.parquet")
    assert command("artifacts", "gc", "--ttl-days", 0).returncode == 0
    store = Store(home)
    assert store.list("runs") == (run,) and len(store.list("targets")) == 1
    assert "tuning/study" in command("artifacts", "ls").stdout


def test_empty_store_is_no_error(command):
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
        (["run", "nope"], ["nope", "known"]),
        (["plan", "no/such/file.yaml"], ["no/such/file.yaml"]),
        (["plan", "smoke", "posterior.gama=1"], ["posterior.gama", "did you mean gamma"]),
        (["run", "smoke", "oops"], ["key=value"]),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(command, home, words, named):
    one_line_error(command(*words), *named)
    assert not (home / "runs").exists() and not (home / "targets").exists()


def test_home_that_cannot_be_written_is_one_line(command, home):
    home.write_text("a file")
    one_line_error(command("run", home.parent / "small.yaml"), str(home), "LAMBDA_HAT_HOME")
    one_line_error(command("sql", "select 1"), str(home), "LAMBDA_HAT_HOME")


def test_unknown_card_is_one_line(command):
    one_line_error(command("run", "smoke", LAMBDA_HAT_CARD="nope"), "nope", "local")


def test_command_line_imports_neither_dagster_nor_jax():
    code = "import sys, lambda_hat_assets.cli as c; c._parser(); print(*sys.modules, sep='\\n')"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(out.stdout.split())
    assert not loaded & {"dagster", "jax", "duckdb", "pyarrow", "arviz", "matplotlib"}
