"""`lambda-hat` itself: an empty store, mistakes in one line with exit code 2, light imports."""

import subprocess
import sys

import pytest

from lambda_hat_core.store.store import Store
from tests.assets.small import one_line_error


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


def test_an_unknown_card_is_an_error_in_one_line(command, monkeypatch):
    monkeypatch.setenv("LAMBDA_HAT_CARD", "nope")
    one_line_error(command("run", "smoke"), "nope", "local")


def test_command_line_imports_neither_dagster_nor_jax():
    code = "import sys, lambda_hat_assets.cli as c; c._parser(); print(*sys.modules, sep='\\n')"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(out.stdout.split())
    assert not loaded & {"dagster", "jax", "duckdb", "pyarrow", "arviz", "matplotlib"}
