"""`dagster job execute -j llc` in a separate process, as people start it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from dotenv import dotenv_values

from tests.assets.conftest import ROOT

DAGSTER = Path(sys.executable).with_name("dagster")
EXPORTED = {"DAGSTER_MODULE_NAME": "lambda_hat_assets"}
FROM_FILE = dotenv_values(ROOT / ".env")
DAGSTERS_OWN = (" - dagster - DEBUG - ", "Warning: ", "  return callback", "No dagster instance")


@pytest.fixture
def execute(site):
    """A function that runs the job in the site's folder and returns its exit code and lines."""
    shutil.copy(ROOT / "dagster.yaml", site.root)
    # Stock Dagster shows the output of steps with `tail`. This `tail` shows nothing.
    tail = site.root / "bin" / "tail"
    tail.parent.mkdir()
    tail.write_text("#!/bin/sh\nexec sleep 600\n")
    tail.chmod(0o755)

    def run(**environment):
        inherited = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        inherited |= {"PATH": f"{tail.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [DAGSTER, "job", "execute", "-j", "llc"],
            cwd=site.root,
            env=inherited | site.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
        lines = done.stdout.splitlines()
        said = [line for line in lines if not any(words in line for words in DAGSTERS_OWN)]
        return done.returncode, said

    return run


@pytest.mark.parametrize(
    ("home", "variables"), [(None, EXPORTED), ("home", FROM_FILE)], ids=["the project's", "own"]
)
def test_invalid_input_is_one_line_and_an_exit_code(site, execute, home, variables):
    bad = site.experiment("bad")
    bad.write_text(bad.read_text().replace("d: 3", "dd: 3"))
    if home is not None:
        (site.root / home).mkdir()
        (site.root / home / "dagster.yaml").write_text("telemetry: {enabled: false}")
        variables = variables | {"DAGSTER_HOME": str(site.root / home)}
    code, said = execute(**variables, LAMBDA_HAT_EXPERIMENT="bad")
    assert code != 0
    assert len(said) == 2, said
    assert "config/experiment/bad.yaml: targets[0].model.dd is 3: no such key" in said[0]
    assert said[1].startswith("Error: Run")
    assert not (site.root / "runs").exists()


def test_with_a_dagster_home_of_the_user_the_table_and_failures_are_printed(site, execute):
    from lambda_hat_core.store import sql

    site.experiment(seeds=(1, 13))
    project = site.project()
    good, bad = sorted(project.runs, key=lambda run: project.runs[run].seed)
    home = site.root / "home"
    home.mkdir()
    code, said = execute(**EXPORTED, DAGSTER_HOME=str(home))
    assert code == 1
    told = [line.partition(" ")[2] for line in said]
    (title,) = (at for at, line in enumerate(told) if line.startswith(f"{min(project.targets)}  "))
    assert "quadratic" in told[title]
    lines = {line.split()[0]: line for line in told[title + 1 : title + 3]}
    assert " ok" in lines[good]
    assert "failed: seed 13 always fails" in lines[bad]
    made = told.index(f"1 new runs; {project.store.root / sql.DATABASE}")
    why = told.index(f"ERROR 1 of 2 runs failed: {bad}")
    assert title + 2 < made < why
    assert any(line.startswith("Run ") for line in told[why + 1 :])
    assert (home / "history").is_dir() and not (site.root / ".dagster_home").exists()
