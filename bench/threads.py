"""Threads a payload against payloads at once, on this machine: `python bench/threads.py`.

Two seeds of a run are computed by one process in turn, or by two processes at once, with one or two
threads each. Compilation happens beforehand. On an idle machine the wall time until both are done
decides; on a busy machine, the CPU seconds that they took.
"""

import argparse
import os
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import yaml

from lambda_hat_assets.cards.card import LocalTag
from lambda_hat_core.config.spec import RunSpec, TargetSpec
from lambda_hat_core.plan.plan import load_plan
from lambda_hat_core.store.store import Kind
from lambda_hat_core.work.client import WorkerClient, request

ROOT = Path(__file__).resolve().parents[1]
QUICK = {"training": {"steps": 100, "polish": "none"}}
"""Target of the runs; their speed does not depend on the position of w*."""

CASES = {
    "nuts, digits, d = 610": (
        {
            "model": {"depth": 1, "hidden": 8, "activation": "tanh"},
            "data": "digits",
            "overrides": QUICK,
        },
        {"name": "nuts", "overrides": {"n_draws": 100, "n_burn": 20, "n_warmup": 60}},
    ),
    "sgld, d = 10,213": (
        {
            "model": {"in_dim": 16, "widths": [92, 92], "activation": "tanh"},
            "data": {"n_data": 1000},
            "overrides": QUICK,
        },
        {"name": "sgld", "overrides": {"n_draws": 200, "n_burn": 40, "thin": 20}},
    ),
}
LAYOUTS = ((1, 1), (1, 2), (2, 1), (2, 2))
"""Payloads at once, and threads per payload."""


class Case:
    """Return a target and runs on it that differ only in their seed."""

    def __init__(self, root: Path, target: dict, sampler: dict, seeds: int):
        file = root / "threads.yaml"
        samplers = [{**sampler, "seed": seed} for seed in range(seeds)]
        content = {"targets": [target], "samplers": samplers}
        file.write_text(yaml.safe_dump(content))
        plan = load_plan(file, ROOT / "config")
        self.target: TargetSpec
        (self.target,) = plan.targets.values()
        self.runs: list[RunSpec] = list(plan.runs.values())


def asked(client: WorkerClient, kind: Kind, spec: TargetSpec | RunSpec, target=None) -> dict:
    """Return the record that a worker made.

    Raises:
        RuntimeError: if the worker failed.
    """
    end = list(client.run([request(kind, spec, target)]))[-1]
    if end["event"] != "done":
        raise RuntimeError(end["reason"])
    return end["record"]


def measure(root: Path, name: str, layouts: Iterable[tuple[int, int]]) -> list[dict]:
    """Return the wall and CPU seconds of two runs in every layout."""
    case = Case(root, *CASES[name], seeds=sum(payloads + 2 for payloads, _ in layouts))
    runs = iter(case.runs)
    with WorkerClient(root, env=LocalTag().environment("float64")) as client:
        asked(client, "targets", case.target)
    found = []
    for payloads, threads in layouts:
        environment = LocalTag(threads=threads).environment(case.runs[0].dtype)
        clients = [WorkerClient(root, env=environment) for _ in range(payloads)]
        for client in clients:
            asked(client, "runs", next(runs), case.target)
        work = [[next(runs) for _ in range(2 // payloads)] for _ in clients]
        before, began = sum(map(cpu_seconds, clients)), time.perf_counter()
        both = [
            threading.Thread(target=sampled, args=(client, specs, case.target))
            for client, specs in zip(clients, work, strict=True)
        ]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join()
        seconds = time.perf_counter() - began
        cpu = sum(map(cpu_seconds, clients)) - before
        for client in clients:
            client.close()
        row = {"case": name, "payloads": payloads, "threads": threads, "wall_s": seconds}
        row["cpu_s"] = cpu
        print(" ".join(str(value) for value in row.values()), flush=True)
        found.append(row)
    return found


def cpu_seconds(client: WorkerClient) -> float:
    """Return the CPU seconds that all threads of a worker have used so far."""
    spent = Path(f"/proc/{client.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, spent)) / os.sysconf("SC_CLK_TCK")


def sampled(client: WorkerClient, specs: list[RunSpec], target: TargetSpec) -> None:
    """Compute runs one after the other."""
    for spec in specs:
        asked(client, "runs", spec, target)


def main() -> None:
    """Print and write the seconds of every layout."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "out")
    parser.add_argument("--payloads", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    layouts = [layout for layout in LAYOUTS if layout[0] in options.payloads]
    rows = []
    for name in CASES:
        with tempfile.TemporaryDirectory() as folder:
            rows += measure(Path(folder), name, layouts)
    options.out.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(rows)
    table.to_parquet(options.out / "threads.parquet", index=False)
    print(table.round(1).to_string(index=False))


if __name__ == "__main__":
    main()
