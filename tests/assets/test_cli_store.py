"""`lambda-hat verify` and `artifacts gc`: damaged files are named and removed, old folders too."""

import sqlite3
import zlib

import pytest

from lambda_hat_core.store import experiments, failures, files, records
from lambda_hat_core.store.store import Store
from tests.assets.small import fill, one_line_error, small


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


@pytest.mark.parametrize("days", ["nan", "inf", "-1", "1e9", "x"])
def test_gc_refuses_what_is_no_number_of_days(command, capsys, days):
    with pytest.raises(SystemExit):
        command("artifacts", "gc", f"--ttl-days={days}")
    assert f"{days} is no number of days from 0 to" in capsys.readouterr().err


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
