"""How fast the product samples: `python bench/speed.py [--quick] [--out bench/out]`.

Microseconds a chain for one SGLD step and for one NUTS gradient, next to plain scans and to the
matrix product rate of the same process.

Processes are started as the local card starts workers. Cells are measured in turn in all of them,
over several rounds, of which the fastest counts. On one core CPU seconds are compared, so another
program on the machine does little harm; on two, wall seconds, so it does: `2 free cores` is what
the CPU seconds would allow.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from lambda_hat_assets.card import LocalTag
from lambda_hat_core.config.samplers import Dtype

ROOT = Path(__file__).resolve().parents[1]
BARS = {(10_000, 64): 0.30, (10_000, None): 0.50, (100_000, 64): 0.30, (100_000, None): 0.60}
"""Fraction of sgemm that an SGLD step must reach."""
QUICK = ("threefry", "plain, jax.random, vmap", "plain, our noise, map")
SPEED_UP, PLAIN = 1.5, 1.1
"""Two cores over one; product over the fastest plain scan."""

Cell = tuple[str, int, int | None]


class Process:
    """One process of cells.py on its own cores."""

    def __init__(self, dtype: Dtype, cores: set[int]):
        self.dtype, self.cores = dtype, len(cores)
        environment = {**os.environ, **LocalTag(threads=len(cores)).environment(dtype)}
        self._process = subprocess.Popen(
            [sys.executable, str(ROOT / "bench" / "cells.py")],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )

    def ask(self, cell: Cell, variants: tuple[str, ...]) -> dict[str, Any]:
        """Measure a cell once, in some variants; in all of them for none.

        Raises:
            RuntimeError: if the process died.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps([*cell, variants]) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the process that measures {cell} died; its output is above")
        return json.loads(answer)

    def close(self) -> None:
        """Let it end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def measure(
    cells: list[Cell], processes: list[Process], rounds: int, *, quick: bool
) -> pd.DataFrame:
    """One row a cell, number of cores and variant: the fastest of `rounds`."""
    rows = []
    for cell in cells:
        dtype = "float32" if cell[0] == "sgld" else "float64"
        best: dict[tuple[int, str], tuple[float, float]] = {}
        flops: float = 0.0
        for _ in range(rounds):
            for process in processes:
                if process.dtype != dtype:
                    continue
                both = ("threefry",) if cell[0] == "sgld" else ("nuts",)
                few = QUICK if quick else ()
                answer = process.ask(cell, few if process.cores == 1 else both)
                flops = answer.pop("flops")
                if answer.pop("devices") != process.cores:
                    raise RuntimeError(f"{process.cores} devices were asked for, XLA made others")
                for name, clocks in answer.items():
                    key = (process.cores, name)
                    seen = best.get(key, (float("inf"), float("inf")))
                    best[key] = (min(seen[0], clocks[0]), min(seen[1], clocks[1]))
        for (cores, name), (cpu, wall) in best.items():
            gemm = best[cores, "gemm"][0]
            rows.append(
                {
                    "sampler": cell[0],
                    "d": cell[1],
                    "batch": cell[2],
                    "cores": cores,
                    "variant": name,
                    "cpu_us": 1e6 * cpu,
                    "wall_us": 1e6 * wall,
                    "gemm_gflops": 1e-9 / gemm,
                    "gemm_fraction": flops / cpu * gemm,
                }
            )
        print(f"measured {cell}", file=sys.stderr, flush=True)
    return pd.DataFrame([row for row in rows if row["variant"] != "gemm"])


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """One line a cell."""
    lines = []
    for (sampler, d, batch), cell in rows.groupby(["sampler", "d", "batch"], dropna=False):
        one = cell[cell.cores == 1].set_index("variant")
        two = cell[cell.cores == 2].set_index("variant")
        name = "threefry" if sampler == "sgld" else "nuts"
        plain = one[one.index.str.startswith("plain")]
        line = {
            "sampler": sampler,
            "d": d,
            "batch": "full" if pd.isna(batch) else int(batch),
            "gemm GFLOP/s": one.gemm_gflops[name],
            "us": one.cpu_us[name],
            "% gemm": 100 * one.gemm_fraction[name],
            "fastest plain us": plain.cpu_us.min(),
            "product / plain": one.cpu_us[name] / plain.cpu_us.min(),
            "2 cores": one.wall_us[name] / two.wall_us[name] if len(two) else float("nan"),
            "2 free cores": 2 * one.cpu_us[name] / two.cpu_us[name] if len(two) else float("nan"),
        }
        if sampler == "sgld":
            library = plain[plain.index.str.contains("jax.random")].cpu_us.min()
            line["plain jax.random us"] = library
            if "philox" in one.index:
                line |= {
                    "philox us": one.cpu_us["philox"],
                    "% gemm, philox": 100 * one.gemm_fraction["philox"],
                    "us, draws recorded": one.cpu_us["recorded"],
                }
        lines.append(line)
    return pd.DataFrame(lines)


def bars(table: pd.DataFrame) -> list[str]:
    """One sentence a bar."""
    out = []
    for row in table[table["sampler"] == "sgld"].to_dict("records"):
        cell = f"sgld d={row['d']} batch {row['batch']}"
        key = (row["d"], None if row["batch"] == "full" else row["batch"])
        claims = [
            (f"at most {PLAIN} x the fastest plain scan", row["product / plain"] <= PLAIN),
            (f"2 cores at least {SPEED_UP} x", row["2 cores"] >= SPEED_UP),
        ]
        if key in BARS:
            claims.append((f">= {BARS[key]:.0%} of sgemm", row["% gemm"] >= 100 * BARS[key]))
        out += [f"{'met   ' if met else 'MISSED'} {cell}: {claim}" for claim, met in claims]
    return out


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two cells, few variants; a minute")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "out")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        raise SystemExit("bench/speed.py compares one core with two, and this process has one")
    cells: list[Cell] = [
        (sampler, d, batch)
        for sampler, batches in (("sgld", (64, None)), ("nuts", (None,)))
        for d in (1_000, 10_000, 100_000)
        for batch in batches
    ]
    if options.quick:
        cells = [("sgld", 1_000, 64), ("sgld", 10_000, 64)]
    dtypes: list[Dtype] = ["float32"] if options.quick else ["float32", "float64"]
    processes = [
        Process(dtype, affinity) for dtype in dtypes for affinity in ({cores[1]}, set(cores))
    ]
    rounds = 2 if options.quick else options.rounds
    rows = measure(cells, processes, rounds, quick=options.quick)
    for process in processes:
        process.close()
    table = summary(rows)
    options.out.mkdir(parents=True, exist_ok=True)
    rows.to_parquet(options.out / "speed.parquet", index=False)
    print(table.to_string(index=False, float_format=lambda x: f"{x:.3g}"))
    print("\n".join(bars(table)))


if __name__ == "__main__":
    main()
