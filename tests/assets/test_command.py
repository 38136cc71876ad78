"""`dagster job execute -j llc` as people type it, in processes of its own."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest

from tests.assets.conftest import ROOT

DAGSTER = Path(sys.executable).with_name("dagster")


@pytest.fixture
def command(site):
    """A function that starts the command in a copy of the project's root."""
    shutil.copy(ROOT / "dagster.yaml", site.root)
    (site.config / "card" / "local.yaml").write_bytes(
        Path(site.environment["LAMBDA_HAT_CARD"]).read_bytes()
    )
    started = []

    def start(*words, **environment):
        inherited = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        env = {"DAGSTER_MODULE_NAME": "lambda_hat_assets", "PYTHONPATH": str(ROOT)}
        started.append(
            subprocess.Popen(
                [DAGSTER, *(words or ("job", "execute", "-j", "llc"))],
                cwd=site.root,
                env={**inherited, **env, **environment},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
        process.stdout.close()


def history(site):
    """Return the instance that the project's own dagster.yaml keeps."""
    return dg.DagsterInstance.from_config(str(site.root), "dagster.yaml")


def test_killed_and_started_again_it_ends_as_if_nothing_had_happened(site, command, monkeypatch):
    site.experiment(samplers=("nuts", "sgld"), seeds=(1, 15))
    killed = command()
    deadline = time.monotonic() + 300
    while not (site.root / "runs" / "hung").exists():
        assert killed.poll() is None, killed.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    before, project = site.calls(), site.project()
    complete = {key for key in project.targets if project.store.is_complete("targets", key)}
    complete |= {key for key in project.runs if project.store.is_complete("analyses", key)}
    assert complete

    again = command()
    said, _ = again.communicate(timeout=400)
    assert again.returncode == 0, said
    assert all(project.store.is_complete("analyses", run) for run in project.runs)
    assert not complete & {call[0] for call in site.calls()[len(before) :]}
    lines = [line for line in said.splitlines() if "Warning" not in line]
    assert all(len(line) < 200 for line in lines), said
    assert any("llc      1.5 +- 0.01" in line for line in lines)

    monkeypatch.chdir(site.root)
    with history(site) as instance:
        unfinished = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING]
        assert not instance.get_runs(dg.RunsFilter(statuses=unfinished))
        for family in ("nuts", "sgld"):
            made = instance.get_materialized_partitions(dg.AssetKey(["analyses", family]))
            assert made == {run for run in project.runs if family in run}


def test_the_ui_opens_beside_the_variable_that_the_job_needs(site, command):
    """Dagster's server and daemon end in silence if they are given a module as well."""
    shutil.copy(ROOT / ".env", site.root)
    shutil.copy(ROOT / "workspace.yaml", site.root)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = command("dev", "-h", "127.0.0.1", "-p", str(port))
    deadline = time.monotonic() + 120
    while not opens(port):
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.5)


def opens(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_bad_input_is_one_line_and_an_exit_code(site, command):
    bad = site.experiment("bad")
    bad.write_text(bad.read_text().replace("d: 3", "dd: 3"))
    process = command(LAMBDA_HAT_EXPERIMENT="bad")
    said, _ = process.communicate(timeout=300)
    assert process.returncode != 0
    lines = [line for line in said.splitlines() if "Warning" not in line and line[:2] != "  "]
    assert len(lines) == 2, said
    assert "config/experiment/bad.yaml: targets[0].model.dd is 3: no such key" in lines[0]
    assert lines[1].startswith("Error: Run")
    assert not (site.root / "runs").exists()
