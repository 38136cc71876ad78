"""Memory of `dagster dev` over many runs: `python bench/soak.py [--runs 500]`.

Runs of one partition each are launched through the web server, as the browser does. The store has
what they make, so that they only record it. The processes that outlive a run are the web server,
the daemon and the code server. Their resident memory is read while no run is in progress, and its
slope over the later half of the readings is what a run leaves behind.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import yaml

from lambda_hat_core.plan.plan import load_plan
from lambda_hat_core.store import process
from lambda_hat_core.store.store import Store

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tests.assets.fake_worker import make  # noqa: E402
from tests.webserver import LAUNCH, SETTINGS, graphql, served, wait_for  # noqa: E402

ROLES = {
    "web server": "dagster_webserver",
    "daemon": "dagster._daemon",
    "code server": "dagster api grpc",
    "its proxy": "dagster code-server start",
    "parent": "dagster dev",
}
"""Words of the command lines of the processes that outlive a run."""
PAGE = 4 * 1024
COUNTS = """{
    ended: runsOrError(filter: {statuses: [SUCCESS, FAILURE, CANCELED]}) { ... on Runs { count } }
    failed: runsOrError(filter: {statuses: [FAILURE, CANCELED]}) { ... on Runs { count } }
    latest: runsOrError(limit: 25) { ... on Runs { results { runId status stats { __typename } } } }
}"""
"""What the browser's list of runs asks for again and again."""


class Reading(NamedTuple):
    """Resident memory of the processes of one role, after a number of runs, in MB."""

    runs: int
    role: str
    processes: int
    rss: float


def project(root: Path, runs: int) -> tuple[Store, list[str]]:
    """Write a folder with that many targets, and return its store and their ids."""
    written = {
        "experiment/soak.yaml": {
            "experiment": "soak",
            "targets": [
                {"model": {"kind": "quadratic", "d": 3}, "seed": 20 + i} for i in range(runs)
            ],
            "samplers": [{"name": "nuts"}],
        },
    }
    for name, content in written.items():
        path = root / "config" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(content))
    plan = load_plan(root / "config" / "experiment" / "soak.yaml", root / "config")
    store = Store(root / "runs")
    for spec in plan.targets.values():
        make(store, "targets", spec.model_dump(mode="json"))
    return store, list(plan.targets)


def readings(runs: int) -> Iterator[Reading]:
    """Yield the memory of the descendants of this process, by their role."""
    found: dict[str, list[float]] = {role: [] for role in ROLES}
    for pid in process.descendants():
        folder = Path(f"/proc/{pid}")
        try:
            words = (folder / "cmdline").read_text().replace("\0", " ")
            pages = int((folder / "statm").read_text().split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        role = next((role for role, text in ROLES.items() if text in words), None)
        if role is not None:
            found[role].append(pages * PAGE / 1e6)
    for role, sizes in found.items():
        yield Reading(runs, role, len(sizes), sum(sizes))


def soak(runs: int, at_once: int, every: int) -> pd.DataFrame:
    """Launch the runs, a few at once, and return the readings.

    Raises:
        RuntimeError: if a run failed, or a lease is left at the end.
    """
    found: list[Reading] = []
    with tempfile.TemporaryDirectory() as folder:
        store, ids = project(Path(folder), runs)
        environment = {"LAMBDA_HAT_EXPERIMENT": "soak", "LAMBDA_HAT_HOME": str(store.root)}
        settings = SETTINGS.replace("max_concurrent_runs: 2", f"max_concurrent_runs: {at_once}")
        with served(Path(folder), environment, settings) as url:
            wait_for(lambda: graphql(url, COUNTS), "the server answers")
            for first in range(0, runs, every):
                began = time.perf_counter()
                part = ids[first : first + every]
                for number, id in enumerate(part, first):
                    _wait_until_ended(url, number + 1 - at_once)
                    tags = [{"key": "dagster/partition", "value": id}]
                    graphql(url, LAUNCH, job="targets", tags=tags)
                _wait_until_ended(url, first + len(part))
                now = list(readings(first + len(part)))
                found += now
                sizes = ", ".join(f"{r.role} {r.rss:.1f}" for r in now)
                seconds = (time.perf_counter() - began) / len(part)
                print(f"{first + len(part)} runs, {seconds:.1f} s each: {sizes} MB", flush=True)
        if left := list(store.root.glob("leases/*/*")):
            raise RuntimeError(f"{left} are left")
    return pd.DataFrame(found)


def _wait_until_ended(url: str, runs: int) -> None:
    wait_for(lambda: _ended(url) >= runs, f"{runs} runs have ended")


def _ended(url: str) -> int:
    found = graphql(url, COUNTS)
    if found is None:
        return -1
    if found["failed"]["count"]:
        raise RuntimeError(f"runs have failed: {found['latest']}")
    return found["ended"]["count"]


def slopes(found: pd.DataFrame) -> Iterator[str]:
    """Yield for each role what a run adds, in kB, and what 500 runs would add, in MB."""
    for role, rows in found.groupby("role", sort=False):
        late = rows[rows.runs > rows.runs.max() / 2]
        slope = np.polyfit(late.runs, late.rss, 1)[0]
        yield (
            f"{role:12} {rows.rss.iloc[0]:7.1f} MB at first, {rows.rss.iloc[-1]:7.1f} at the end, "
            f"{1000 * slope:+7.1f} kB a run, {500 * slope:+6.1f} MB in 500 runs"
        )


def main() -> None:
    """Print the readings and the slopes, then write the readings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--every", type=int, default=10, help="runs between two readings")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "out")
    options = parser.parse_args()
    found = soak(options.runs, options.at_once, options.every)
    print(*slopes(found), sep="\n")
    options.out.mkdir(parents=True, exist_ok=True)
    found.to_parquet(options.out / "soak.parquet", index=False)


if __name__ == "__main__":
    main()
