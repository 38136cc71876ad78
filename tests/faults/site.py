"""A small experiment on the real worker, commands in separate processes, and kills."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from lambda_hat_core.plan.plan import load_plan
from lambda_hat_core.store import lease, sql
from lambda_hat_core.store.store import Store

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
JOB = (str(BIN / "dagster"), "job", "execute", "-j", "llc")
PLAIN = (str(BIN / "lambda-hat"), "run", "small")
_POLL = 0.001
_LONGEST = 600.0

EXPERIMENT = {
    "experiment": "small",
    "targets": [
        {
            "model": {"kind": "deep_linear", "widths": [2, 2, 2], "rank": 2},
            "data": {"n_data": 200},
            "training": {"steps": 300, "lr": 1e-2, "polish": "none"},
        }
    ],
    "samplers": [
        {"name": "hmc", "overrides": {"n_draws": 60, "n_burn": 20, "n_warmup": 40}, "seed": seed}
        for seed in (1, 2)
    ],
    "posterior": {"gamma": 10.0},
}
"""All runs have one shape and dtype, so that one payload process compiles few programs."""


CARD = {"max_concurrent": 1, "tags": {"float32": {}, "float64": {"env": {}}}}


class Site:
    """A folder with config/ and a store."""

    def __init__(self, root: Path):
        self.root = root
        self.store = Store(root / "runs")
        self.write("config/experiment/small.yaml", EXPERIMENT)
        self.write("config/card/local.yaml", CARD)
        shutil.copy(ROOT / "dagster.yaml", root)

    def write(self, name: str, content: dict) -> None:
        """Write a YAML file."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(content))

    def start(self, command, before=None, **environment) -> subprocess.Popen:
        """Start a command as the leader of a process group; `before` runs first in its process."""
        left_out = ("PYTHONDONTWRITEBYTECODE", "DAGSTER_HOME", "LAMBDA_HAT_HOME")
        inherited = {name: value for name, value in os.environ.items() if name not in left_out}
        ours = {
            "DAGSTER_MODULE_NAME": "lambda_hat_assets",
            "LAMBDA_HAT_EXPERIMENT": "small",
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "PYTHONPATH": str(ROOT),
        }
        return subprocess.Popen(
            command,
            cwd=self.root,
            env={**inherited, **ours, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=before,
        )

    def run(self, command, before=None, **environment) -> tuple[int, str]:
        """Run a command to its end, and return its exit code and its output."""
        process = self.start(command, before, **environment)
        try:
            said, _ = process.communicate(timeout=_LONGEST)
        finally:
            end(process)
        return process.returncode, said

    def plan(self):
        """Return the plan of the experiment."""
        return load_plan(self.root / "config/experiment/small.yaml", self.root / "config")

    def table(self) -> list[tuple]:
        """Return every row of `llc`, without the columns that differ between repetitions."""
        found = sql.query(
            self.store, "SELECT * EXCLUDE (created_at, wall_s) FROM llc ORDER BY run_id"
        )
        return found.rows

    def corrupt(self) -> dict[str, str]:
        """Return the problems of all folders in the store, after hashing every file again."""
        kinds = ("trajectories", "targets", "runs", "analyses")
        folders = [(kind, id) for kind in kinds for id in self.ids(kind)]
        problems = {id: self.store.verify(kind, id) for kind, id in folders}
        return {id: problem for id, problem in problems.items() if problem}

    def ids(self, kind):
        """Return the ids of a kind that have a folder."""
        return self.store.list(kind)


def end(process: subprocess.Popen) -> None:
    """Kill what is left of a command."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def leases(kind: str) -> Callable[[Site], bool]:
    """Return the sign that an artifact of a kind is being made."""
    return lambda site: any((site.store.root / "leases" / kind).glob("*.lease"))


def _half_written(kind: str, name: str) -> Callable[[Site], bool]:
    return lambda site: any((site.store.root / kind).glob(f".tmp-*/{name}"))


def _refreshing(site: Site) -> bool:
    return any(site.store.root.glob(".tmp-llc.duckdb*"))


def _refreshing_at_the_end(site: Site) -> bool:
    return len(site.ids("analyses")) == len(EXPERIMENT["samplers"]) and _refreshing(site)


class Phase(NamedTuple):
    """A time at which a kill may happen: at most `span` seconds after a sign."""

    name: str
    sign: Callable[[Site], bool]
    span: float


PHASES = (
    Phase("planning", lambda site: True, 3.0),
    Phase("training", leases("targets"), 1.0),
    Phase("writing the target", _half_written("targets", "meta.json"), 0.02),
    Phase("sampling", leases("runs"), 0.7),
    Phase("writing the run", _half_written("runs", "trace.nc"), 0.02),
    Phase("analysing", leases("analyses"), 0.5),
    Phase("writing the analysis", _half_written("analyses", "estimate.json"), 0.02),
    Phase("the first DuckDB refresh", _refreshing, 0.01),
    Phase("the last DuckDB refresh", _refreshing_at_the_end, 0.01),
)
VICTIMS = ("everything", "the command", "the payload")


class Kill(NamedTuple):
    """One kill: of which process, and how long after which sign."""

    number: int
    phase: Phase
    victim: str
    delay: float

    def __str__(self) -> str:
        return f"{self.number}: {self.victim} in {self.phase.name}"


def kills(seed: int, count: int, phases: Sequence[Phase]) -> list[Kill]:
    """Return random kills, with every phase at least once if there are enough kills."""
    rng = random.Random(seed)
    found = []
    for number in range(count):
        phase = phases[number % len(phases)]
        has_payload = phase.name != "planning" and "DuckDB" not in phase.name
        victim = rng.choice(VICTIMS if has_payload else VICTIMS[:2])
        found.append(Kill(number, phase, victim, rng.uniform(0, phase.span)))
    return found


def execute(kill: Kill, site: Site, process: subprocess.Popen) -> None:
    """Wait for the moment and kill with signal 9."""
    wait_for(kill.phase, site, process)
    time.sleep(kill.delay)
    assert process.poll() is None, f"it ended before {kill}"
    match kill.victim:
        case "everything":
            os.killpg(process.pid, signal.SIGKILL)
        case "the command":
            os.kill(process.pid, signal.SIGKILL)
        case "the payload":
            for pid in payloads(site):
                os.kill(pid, signal.SIGKILL)


def in_session(leader: int) -> list[str]:
    """Return the running processes in the session of a process, with pid and name."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name, _, rest = (folder / "stat").read_text().rpartition(")")
        except (FileNotFoundError, ProcessLookupError):
            continue
        state, _, _, session = rest.split()[:4]
        if int(session) == leader and state != "Z":
            found.append(name.replace("(", ""))
    return found


def wait_for(phase: Phase, site: Site, process: subprocess.Popen) -> None:
    """Wait until a command is in this phase."""
    deadline = time.monotonic() + _LONGEST
    while not phase.sign(site):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, f"{phase.name} did not come"
        time.sleep(_POLL)


def payloads(site: Site) -> list[int]:
    """Return the processes that hold leases."""
    owners = [lease.read(path) for path in (site.store.root / "leases").glob("*/*.lease")]
    return sorted({owner.pid for owner in owners if owner is not None})


def failures(site: Site) -> dict[str, str]:
    """Return the reasons of failed runs in SQL."""
    rows = sql.query(site.store, "SELECT run_id, reasons FROM llc WHERE verdict = 'failed'").rows
    return {run: json.dumps(reasons) for run, reasons in rows}


def killed_and_run_again(kill: Kill, site: Site, command: Sequence[str], undisturbed) -> None:
    """Kill a command, give it again, and compare the table with an undisturbed one."""
    process = site.start(command)
    try:
        execute(kill, site, process)
        if kill.victim == "the payload":
            said, _ = process.communicate(timeout=600)
            assert process.returncode == 0, f"one death of a payload is forgiven: {said}"
        else:
            process.wait(timeout=60)
        code, said = site.run(command)
    finally:
        end(process)
    assert code == 0, said
    assert site.table() == undisturbed
    assert not failures(site)
    assert not site.corrupt()
