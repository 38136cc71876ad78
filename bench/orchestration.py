"""What running costs beside the numerics: `python bench/orchestration.py [--counts 1 20 200]`.

The same runs of one shape go through `dagster job execute -j llc`, through `lambda-hat run`, and
through one bare worker, each from an empty store. The difference of their CPU seconds, children
included, is what planning, Dagster and further workers cost. The job is then run once more with
nothing left to do. An empty Dagster job and the commands that look at 5,000 runs are also measured.
Compilations are cached beforehand, so that no measurement includes them. `--cards slurm` needs a
SLURM cluster; tests/slurm/with.sh starts one.
"""

import argparse
import ctypes
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

import pandas as pd
import yaml

from lambda_hat_assets.cards.card import LocalTag
from lambda_hat_core.plan.plan import load_plan
from lambda_hat_core.store import records
from lambda_hat_core.store.store import Store
from lambda_hat_core.work.client import request

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
COMMANDS = {
    "job": [str(BIN / "dagster"), "job", "execute", "-j", "llc"],
    "plain": [str(BIN / "lambda-hat"), "run", "orchestration"],
}
BARS = {20: 1.5, 200: 0.5}
"""Most CPU seconds per run beyond the numerics, by number of runs."""
COUNTS = [1, 20, 200]
ROUNDS = {1: 5, 20: 3}
"""Rounds by number of runs; one for numbers not listed. Every figure is the median over rounds, and
differences are taken within a round."""
AGAIN = 15.0
"""Most wall seconds of the job when nothing is left to do."""
EMPTY = """
import dagster as dg

@dg.op
def nothing(): pass

@dg.job
def empty(): nothing()
"""
"""An empty job, which measures the cost of Dagster itself with all settings at their defaults."""
MANY = 5000
LOOKS = {
    "plan": [str(BIN / "lambda-hat"), "plan", "orchestration"],
    "load": [sys.executable, "-c", "import lambda_hat_assets; lambda_hat_assets.defs"],
    "sql": [str(BIN / "lambda-hat"), "sql", "SELECT count(*), avg(llc) FROM llc"],
}
"""Commands that look at all runs: the plan, Dagster's definitions, and a query of the results."""
LOOK = 12.0
"""Most CPU seconds of each of these commands at 5,000 runs."""
TO_RECORD = 15.0
"""Most wall seconds from the submission of a SLURM job to the record of its run."""


class Row(NamedTuple):
    """One figure, with the largest value allowed."""

    card: str
    command: str
    runs: int
    what: str
    value: float
    bar: float | None = None

    def __str__(self) -> str:
        met = "" if self.bar is None else "met" if self.value <= self.bar else "MISSED"
        bar = "" if self.bar is None else f"<= {self.bar:g}"
        return (
            f"{self.card:6} {self.command:6} {self.runs:4} {self.what:38} {self.value:8.2f} "
            f"{bar:8} {met}"
        ).rstrip()


class Site:
    """A folder with an experiment of NUTS at several seeds, in which the commands are run."""

    def __init__(self, root: Path, runs: int):
        self.root = root
        shutil.copytree(ROOT / "config", root / "config")
        shutil.copy(ROOT / "dagster.yaml", root)
        sampler = {"name": "nuts", "overrides": {"n_draws": 200, "n_burn": 50, "n_warmup": 100}}
        content = {
            "experiment": "orchestration",
            "targets": [{"model": {"kind": "quadratic", "d": 10, "condition": 100}}],
            "samplers": [{**sampler, "seed": seed} for seed in range(runs)],
            "posterior": {"gamma": 10.0},
        }
        file = root / "config" / "experiment" / "orchestration.yaml"
        file.write_text(yaml.safe_dump(content))
        self.plan = load_plan(file, root / "config")

    def environment(self, name: str) -> dict[str, str]:
        """Return the environment of a command that uses the store of this name."""
        return {
            "DAGSTER_MODULE_NAME": "lambda_hat_assets",
            "LAMBDA_HAT_EXPERIMENT": "orchestration",
            "LAMBDA_HAT_HOME": str(self.root / name),
            "JAX_COMPILATION_CACHE_DIR": str(self.root / "cache"),
        }

    def run(self, command: str, name: str) -> tuple[float, float]:
        """Run a command and return its CPU and wall seconds.

        Raises:
            RuntimeError: if a run is missing at the end.
        """
        found = spent(COMMANDS[command], self.root, self.environment(name))
        made = len(list((self.root / name / "analyses").glob("run_*")))
        if made != len(self.plan.runs):
            raise RuntimeError(f"{command} made {made} analyses of {len(self.plan.runs)}")
        return found

    def bare(self, name: str) -> tuple[float, float]:
        """Send all runs to one bare worker and return its CPU and wall seconds."""
        (target,) = self.plan.targets.values()
        lines = [request("targets", target)]
        for run in self.plan.runs.values():
            lines += [request("runs", run, target), request("analyses", run, target)]
        requests = self.root / "requests.jsonl"
        requests.write_text("".join(json.dumps(line) + "\n" for line in lines))
        home = ["--home", str(self.root / name), "--requests", str(requests)]
        environment = self.environment(name) | LocalTag().environment("float64")
        return spent(
            [sys.executable, "-m", "lambda_hat_core.work.worker", *home], self.root, environment
        )


def local(count: int) -> Iterator[Row]:
    """Measure the local card; small numbers of runs are repeated, as starts dominate their cost."""
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder), count)
        site.bare("warm")
        cpu: dict[str, list[float]] = {name: [] for name in ("bare", *COMMANDS)}
        wall: dict[str, list[float]] = {name: [] for name in cpu}
        for number in range(ROUNDS.get(count, 1)):
            for name in cpu:
                make = site.bare if name == "bare" else partial(site.run, name)
                for figures, value in zip((cpu, wall), make(f"{name} {number}"), strict=True):
                    figures[name].append(value)
        yield Row("local", "worker", count, "CPU s of the numerics", median(cpu["bare"]))
        yield Row("local", "worker", count, "wall s", median(wall["bare"]))
        for name in COMMANDS:
            extra = [(of - bare) / count for of, bare in zip(cpu[name], cpu["bare"], strict=True)]
            yield Row("local", name, count, "CPU s per run besides", median(extra), BARS.get(count))
            yield Row("local", name, count, "wall s", median(wall[name]))
        again = site.run("job", "job 0")
        yield Row("local", "job", count, "CPU s with nothing left to do", again[0])
        yield Row("local", "job", count, "wall s with nothing left to do", again[1], AGAIN)


def empty() -> Row:
    """Measure a Dagster job that does nothing, which is the least that a Dagster job can cost."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "empty.py").write_text(EMPTY)
        words = [COMMANDS["job"][0], "job", "execute", "-f", "empty.py", "-j", "empty"]
        cpu = [spent(words, Path(folder), {"DAGSTER_HOME": folder})[0] for _ in range(3)]
        return Row("local", "job", 0, "CPU s of an empty Dagster job", median(cpu))


def looks() -> Iterator[Row]:
    """Measure the commands that look at very many runs without computing any of them."""
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder), MANY)
        store = Store(site.root / "looks")
        for spec in site.plan.runs.values():
            row = records.run_row(spec) | {"llc": 1.0, "verdict": "ok", "reasons": []}
            records.write("llc", [row], store.path("analyses", spec.id) / "estimate.parquet")
        for name, words in LOOKS.items():
            cpu = median(spent(words, site.root, site.environment("looks"))[0] for _ in range(3))
            yield Row("local", name, MANY, "CPU s of a look at all", cpu, LOOK)


def slurm(count: int) -> Iterator[Row]:
    """Measure the card slurm-test, from the submission of the runs' job to its last record."""
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder), count)
        site.bare("warm")
        cache = site.environment("")["JAX_COMPILATION_CACHE_DIR"]
        changes = ["max_concurrent=1", f"env.JAX_COMPILATION_CACHE_DIR={cache}"]
        config = site.root / "set.yaml"
        config.write_text(yaml.safe_dump({"ops": {"plan": {"config": {"set": changes}}}}))
        submitted = recorded = 0.0
        with subprocess.Popen(
            [*COMMANDS["job"], "-c", str(config)],
            cwd=site.root,
            env={**os.environ, **site.environment("slurm"), "LAMBDA_HAT_CARD": "slurm-test"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            said = []
            for line in process.stdout or ():
                said.append(line)
                submitted = time.perf_counter() if "is submitted" in line else submitted
                recorded = time.perf_counter() if ": llc " in line else recorded
        if process.returncode:
            raise RuntimeError("".join(said[-40:]))
        bar = TO_RECORD if count == 1 else None
        yield Row("slurm", "job", count, "s from submission to record", recorded - submitted, bar)


CARDS: dict[str, Callable[[int], Iterator[Row]]] = {"local": local, "slurm": slurm}
"""The measurement of each kind of card, as a function of the number of runs."""


def adopt_orphans() -> None:
    """Make this process adopt the orphans of its children, so that their CPU time is counted."""
    set_child_subreaper = 36
    if ctypes.CDLL(None, use_errno=True).prctl(set_child_subreaper, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER) failed; it needs Linux")


def bury_orphans() -> None:
    """Wait at most half a minute for adopted processes that are about to end."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            ended, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        time.sleep(0 if ended else 0.1)


def spent(command: list[str], site: Path, environment: dict[str, str]) -> tuple[float, float]:
    """Run a command to its end and return the CPU seconds of its processes and the wall seconds.

    Raises:
        RuntimeError: if it fails.
    """
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        command, cwd=site, env={**os.environ, **environment}, capture_output=True, text=True
    )
    wall = time.perf_counter() - began
    bury_orphans()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(
            f"{' '.join(command)} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        )
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return cpu, wall


def main() -> None:
    """Print every figure as it is measured, then write all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS)
    parser.add_argument("--cards", nargs="+", choices=CARDS, default=["local"])
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "out")
    options = parser.parse_args()
    adopt_orphans()
    rows = [empty(), *looks()]
    print(*rows, sep="\n", flush=True)
    for card in options.cards:
        for count in options.counts:
            for row in CARDS[card](count):
                print(row, flush=True)
                rows.append(row)
    options.out.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_parquet(options.out / "orchestration.parquet", index=False)


if __name__ == "__main__":
    main()
