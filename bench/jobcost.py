"""What the job costs beside the numerics: 20 runs of one shape, against one bare worker.

The same requests go through `dagster job execute -j llc` and through one `lambda_hat_core.worker`
that nothing surrounds, each from an empty store. The difference of their CPU seconds, children
included, is what planning, Dagster and further workers cost.
"""

import ctypes
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import yaml

from lambda_hat_assets.card import LocalTag
from lambda_hat_core.plan.plan import load_plan
from lambda_hat_core.worker_client import request

ROOT = Path(__file__).resolve().parents[1]
RUNS = 20
BAR_CPU, BAR_AGAIN = 1.0, 15.0
"""CPU seconds a run beyond the numerics; wall seconds of the second identical command."""


def experiment(runs: int) -> dict:
    """A quadratic in ten dimensions and some seeds of NUTS."""
    sampler = {"name": "nuts", "overrides": {"n_draws": 200, "n_burn": 50, "n_warmup": 100}}
    return {
        "experiment": "jobcost",
        "targets": [{"model": {"kind": "quadratic", "d": 10, "condition": 100}}],
        "samplers": [{**sampler, "seed": seed} for seed in range(runs)],
        "posterior": {"gamma": 10.0},
    }


def adopt_orphans() -> None:
    """Make this process the parent of what its children leave behind, whose time then counts."""
    set_child_subreaper = 36
    if ctypes.CDLL(None, use_errno=True).prctl(set_child_subreaper, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER) failed; it needs Linux")


def bury_orphans() -> None:
    """Wait for adopted processes that are at their end, half a minute at most."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            ended, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        time.sleep(0 if ended else 0.1)


def spent(command: list[str], site: Path, environment: dict[str, str]) -> tuple[float, float]:
    """Run a command to its end and return the CPU seconds of its processes, and wall seconds.

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


def measure(site: Path, runs: int = RUNS) -> dict[str, float]:
    """Time the job twice and the bare worker once, in an empty folder.

    Raises:
        RuntimeError: if a run is missing at the end.
    """
    adopt_orphans()
    shutil.copytree(ROOT / "config", site / "config")
    shutil.copy(ROOT / "dagster.yaml", site)
    file = site / "config" / "experiment" / "jobcost.yaml"
    file.write_text(yaml.safe_dump(experiment(runs)))
    plan = load_plan(file, site / "config")
    (target,) = plan.targets.values()
    lines = [request("build", target)]
    for run in plan.runs.values():
        lines += [request("sample", run, target), request("analyse", run, target)]
    requests = site / "requests.jsonl"
    requests.write_text("".join(json.dumps(line) + "\n" for line in lines))

    job = [str(Path(sys.executable).with_name("dagster")), "job", "execute", "-j", "llc"]
    environment = {
        "DAGSTER_MODULE_NAME": "lambda_hat_assets",
        "LAMBDA_HAT_EXPERIMENT": "jobcost",
        "LAMBDA_HAT_HOME": str(site / "runs"),
    }
    first_cpu, first_wall = spent(job, site, environment)
    made = len(list((site / "runs" / "analyses").glob("run_*")))
    if made != runs:
        raise RuntimeError(f"the job made {made} analyses of {runs}")
    again_cpu, again_wall = spent(job, site, environment)
    worker = [sys.executable, "-m", "lambda_hat_core.worker", "--home", str(site / "bare")]
    bare_cpu, bare_wall = spent(
        [*worker, "--requests", str(requests)], site, LocalTag().environment("float64")
    )
    return {
        "job_cpu_s": first_cpu,
        "job_wall_s": first_wall,
        "numerics_cpu_s": bare_cpu,
        "numerics_wall_s": bare_wall,
        "overhead_cpu_s_per_run": (first_cpu - bare_cpu) / runs,
        "again_cpu_s": again_cpu,
        "again_wall_s": again_wall,
    }


def report(out: Path) -> str:
    """Measure in a temporary folder, write `jobcost.parquet`, and say it in lines."""
    with tempfile.TemporaryDirectory() as folder:
        measured = measure(Path(folder))
    pd.DataFrame([measured]).to_parquet(out / "jobcost.parquet", index=False)
    lines = [f"{name} {value:.2f}" for name, value in measured.items()]
    bars = {
        f"<= {BAR_CPU} CPU s a run beyond the numerics": measured["overhead_cpu_s_per_run"]
        <= BAR_CPU,
        f"<= {BAR_AGAIN} s for the second identical command": measured["again_wall_s"] <= BAR_AGAIN,
    }
    lines += [f"{'met   ' if met else 'MISSED'} job: {claim}" for claim, met in bars.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    folder = ROOT / "bench" / "out"
    folder.mkdir(parents=True, exist_ok=True)
    print(report(folder))
