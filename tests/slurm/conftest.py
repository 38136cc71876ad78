"""Sites from which `llc` runs on the test SLURM; without a SLURM the tests are skipped."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from lambda_hat_core.store import process as processes

ROOT = Path(__file__).parents[2]
DAGSTER = Path(sys.executable).with_name("dagster")
PROBE = '''
import json, os, time
from pathlib import Path
import jax.numpy as jnp
from lambda_hat_core import CustomTarget

def probe(key):
    """A bowl that notes where it is built, and in which precision."""
    facts = {name: os.environ.get(name) for name in ("JAX_ENABLE_X64", "SLURM_JOB_PARTITION")}
    line = json.dumps(facts | {"dtype": str(jnp.zeros(2).dtype), "run": Path.cwd().name})
    with open(Path(__file__).with_name("probe.jsonl"), "a") as file:
        file.write(line + "\\n")
    return CustomTarget(jnp.zeros(2), lambda w, batch: jnp.sum(w**2), None, 100, 1.0)

def broken(key):
    raise ValueError("this target is broken")

def sleeping(key, *, seconds, name):
    time.sleep(seconds)
    return probe(key)
'''


def missing():
    """Return why the tests cannot run, or None."""
    conf = Path("/etc/slurm/slurm.conf")
    if not conf.exists() or "tests/slurm/start.sh" not in conf.read_text():
        return "there is no SLURM of theirs on this machine"
    found = subprocess.run(["sinfo", "-h"], capture_output=True, text=True, timeout=30)
    return None if found.returncode == 0 else f"SLURM does not answer ({found.stderr.strip()})"


def pytest_collection_modifyitems(config, items):
    mine = [item for item in items if item.get_closest_marker("slurm")]
    if not mine or (what := missing()) is None:
        return
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        reporter.write_line(f"SLURM's tests are left out: {what} (make test-slurm starts one)")
    config.hook.pytest_deselected(items=mine)
    items[:] = [item for item in items if item not in mine]


class Site:
    """A folder with config/, from which `llc` runs on the test SLURM.

    Args:
        root: the folder.
        experiment: its name, or the content of a file.
    """

    def __init__(self, root, experiment):
        self.root = root
        shutil.copytree(ROOT / "config", root / "config")
        shutil.copy(ROOT / "dagster.yaml", root)
        (root / "probing.py").write_text(PROBE)
        self.name = experiment if isinstance(experiment, str) else experiment["experiment"]
        if not isinstance(experiment, str):
            file = root / "config" / "experiment" / f"{self.name}.yaml"
            file.write_text(yaml.safe_dump(experiment))
        self.environment = {
            **{k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"},
            "DAGSTER_MODULE_NAME": "lambda_hat_assets",
            "LAMBDA_HAT_EXPERIMENT": self.name,
            "LAMBDA_HAT_CARD": "slurm-test",
            "LAMBDA_HAT_HOME": str(root / "runs"),
            "PYTHONPATH": str(root),
        }

    def changes(self, *further):
        """Return the changes to the card that payloads need on the test SLURM."""
        cache = os.environ["JAX_COMPILATION_CACHE_DIR"]
        return [
            f"env.PYTHONPATH={self.root}",
            f"env.JAX_COMPILATION_CACHE_DIR={cache}",
            *further,
        ]

    def targets(self):
        """Return the ids of the experiment's targets, in the order of the file."""
        from lambda_hat_core.plan.plan import load_plan

        config = self.root / "config"
        return list(load_plan(config / "experiment" / f"{self.name}.yaml", config).targets)

    def made(self, kind):
        """Return the ids of the artifacts in the store."""
        from lambda_hat_core.store.store import Store

        return Store(self.root / "runs").list(kind)

    def start(self, *changes):
        """Start the command in a new process group."""
        changes = self.changes(*changes)
        config = self.root / "set.yaml"
        config.write_text(yaml.safe_dump({"ops": {"plan": {"config": {"set": changes}}}}))
        with (self.root / "said.txt").open("a") as said:
            return subprocess.Popen(
                [DAGSTER, "job", "execute", "-j", "llc", "-c", config],
                cwd=self.root,
                env=self.environment,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )

    def run(self, *changes):
        """Run the command to its end, and return its exit code and its output."""
        code = self.start(*changes).wait(timeout=400)
        return code, self.said()

    def said(self):
        return (self.root / "said.txt").read_text()

    def rows(self):
        """Return verdict and first reason, by sampler and label of the target."""
        from lambda_hat_core.store import sql
        from lambda_hat_core.store.store import Store

        with sql.connect(Store(self.root / "runs")) as connection:
            query = "SELECT sampler, target_id, verdict, reasons[1] FROM llc"
            return connection.execute(query).fetchall()

    def jobs(self):
        """Return the jobs of this store in accounting: id, partition, state, options."""
        form = "JobID,Partition,State,WorkDir%200,Constraints"
        lines = subprocess.run(
            ["sacct", "-X", "-n", "-P", "-o", form], capture_output=True, text=True, check=True
        ).stdout.splitlines()
        found = [line.split("|") for line in lines]
        return [job for job in found if job[3].startswith(str(self.root))]

    def until_running(self, process):
        """Wait until a job of this store is running."""
        deadline = time.monotonic() + 120
        while not any(job[2] == "RUNNING" for job in self.jobs()):
            assert process.poll() is None and time.monotonic() < deadline, self.said()
            time.sleep(0.5)


def restart(daemon):
    """End a daemon of the test SLURM, and start it again a second after it is gone."""
    pid = int(Path(f"/var/lib/lambda-hat-slurm/ctld/{daemon}.pid").read_text())
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 60
    while processes.alive(pid):
        assert time.monotonic() < deadline, f"{daemon} does not end"
        time.sleep(0.1)
    time.sleep(1)
    user = ["runuser", "-u", "slurm", "--"] if daemon == "slurmdbd" else []
    subprocess.run([*user, f"/usr/sbin/{daemon}"], check=True)


def kill(process):
    """Kill a command and everything that it has started."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def target(factory, **kwargs):
    return {"model": {"kind": "custom", "factory": f"probing:{factory}", "kwargs": kwargs}}


@pytest.fixture
def site(tmp_path):
    """A function that creates the site of an experiment."""
    return lambda experiment: Site(tmp_path, experiment)


@pytest.fixture(scope="session", autouse=True)
def control(tmp_path_factory):
    """ssh connections of these tests only, closed at the end."""
    folder = tmp_path_factory.mktemp("ssh")
    os.environ["DAGSTER_SLURM_SSH_CONTROL_DIR"] = str(folder)
    yield
    for socket in folder.iterdir():
        subprocess.run(["ssh", "-O", "exit", "-o", f"ControlPath={socket}", "login"], check=False)
