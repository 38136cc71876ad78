"""One store under load: `python bench/load.py [--commands 20] [--runs 5000 --failing 200]`.

First, many `lambda-hat run` of one experiment start at the same moment on an empty store. Then one
command makes thousands of runs, some of which fail, and is given again. Both use the tests' worker,
which takes leases and stores artifacts as the real one does, but computes nothing. It is checked
that no key is made twice, and that no lease and no temporary file is left.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import yaml

from lambda_hat_core.plan.plan import Plan, load_plan
from lambda_hat_core.store import sql
from lambda_hat_core.store.store import Store

ROOT = Path(__file__).resolve().parents[1]
FAKE = [sys.executable, str(ROOT / "tests" / "assets" / "fake_worker.py")]
COMMAND = [str(Path(sys.executable).with_name("lambda-hat")), "run", "load"]
FAILS = 13
"""A target with this seed cannot be built by the tests' worker, so that all its runs fail."""


class Cost(NamedTuple):
    """CPU seconds of a command with its workers, wall seconds, and its own peak memory in MB."""

    cpu: float
    wall: float
    rss: float

    def __str__(self) -> str:
        return f"{self.cpu:.1f} CPU s, {self.wall:.1f} s of wall, peak {self.rss:.0f} MB"


class Site:
    """A folder with an experiment of `runs` runs, `failing` of them on a target that fails."""

    def __init__(self, root: Path, runs: int, failing: int = 0):
        self.root, self.store = root, Store(root / "runs")
        each = failing or min(runs, 10)
        if runs % each:
            raise ValueError(
                f"{runs} runs are no multiple of {each}; choose --failing as a divisor"
            )
        seeds = [FAILS] * bool(failing) + [20 + i for i in range(runs // each - bool(failing))]
        self.failing = failing
        tag = {"command": FAKE, "env": {"PYTHONPATH": str(ROOT)}}
        content = {
            "experiment": "load",
            "targets": [{"model": {"kind": "quadratic", "d": 3}, "seed": seed} for seed in seeds],
            "samplers": [{"name": "nuts", "seed": 20 + i} for i in range(each)],
        }
        card = {"max_concurrent": 1, "tags": {"float32": tag, "float64": tag}}
        for name, written in (("experiment/load", content), ("card/local", card)):
            path = root / "config" / f"{name}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(yaml.safe_dump(written))

    def plan(self) -> Plan:
        """Return the plan of the experiment."""
        return load_plan(self.root / "config" / "experiment" / "load.yaml", self.root / "config")

    def start(self) -> subprocess.Popen[bytes]:
        """Start the command."""
        return subprocess.Popen(
            COMMAND,
            cwd=self.root,
            env={**os.environ, "LAMBDA_HAT_HOME": str(self.store.root)},
            stdout=subprocess.DEVNULL,
        )

    def wrong(self) -> Iterator[str]:
        """Yield what ought not to be after the command."""
        plan, store = self.plan(), self.store
        made = Counter((store.root / "made.txt").read_text().splitlines())
        yield from (f"{key} was made {times} times" for key, times in made.items() if times > 1)
        wanted = len(plan.runs) - self.failing
        found = len(store.list("analyses"))
        if found != wanted:
            yield f"{found} analyses, {wanted} were wanted"
        failed = sql.query(store, "SELECT count(*) FROM llc WHERE verdict = 'failed'").rows[0][0]
        if failed != self.failing:
            yield f"{failed} runs failed, {self.failing} were to fail"
        left = [*store.root.glob("leases/*/*"), *store.root.rglob(".tmp-*")]
        yield from (f"{path} is left" for path in left)


def ended(process: subprocess.Popen[bytes], began: float) -> tuple[int, Cost]:
    """Wait for a command, and return its exit code and its cost."""
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - began
    return process.returncode, Cost(used.ru_utime + used.ru_stime, wall, used.ru_maxrss / 1e3)


def checked(site: Site) -> None:
    """Raise an error if anything is wrong with a store.

    Raises:
        RuntimeError: with a line for each fault.
    """
    if wrong := list(site.wrong()):
        raise RuntimeError("\n".join(wrong))


def commands(count: int) -> None:
    """Start commands at once and print what they cost together."""
    with tempfile.TemporaryDirectory() as folder:
        site, began = Site(Path(folder), 20), time.perf_counter()
        ends = [ended(process, began) for process in [site.start() for _ in range(count)]]
        if any(code for code, _ in ends):
            raise RuntimeError(f"exit codes {[code for code, _ in ends]}")
        checked(site)
        costs = [cost for _, cost in ends]
        cpu, wall = sum(cost.cpu for cost in costs), max(cost.wall for cost in costs)
        print(
            f"{count} commands at once, 20 runs: {cpu:.1f} CPU s, {wall:.1f} s of wall", flush=True
        )


def partitions(runs: int, failing: int) -> None:
    """Make many runs of which some fail, twice, and print what each command costs."""
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder), runs, failing)
        for what in ("all missing", "again, only the failing ones are left"):
            code, cost = ended(site.start(), time.perf_counter())
            if code != bool(failing):
                raise RuntimeError(f"exit code {code}")
            checked(site)
            print(f"{runs} runs, {failing} failing, {what}: {cost}", flush=True)


def main() -> None:
    """Print every figure as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commands", type=int, default=20, help="0: leave this out")
    parser.add_argument("--runs", type=int, default=5000, help="0: leave this out")
    parser.add_argument("--failing", type=int, default=200)
    options = parser.parse_args()
    if options.commands:
        commands(options.commands)
    if options.runs:
        partitions(options.runs, options.failing)


if __name__ == "__main__":
    main()
