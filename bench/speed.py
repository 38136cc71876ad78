"""What a step of SGLD and a gradient of NUTS cost, beside gemm in the same process and dtype.

`python bench/speed.py [--cells "sgld 1000,nuts"] [--quick] [--rounds N] [--out DIR]`

Each cell is measured by one process on one core, by one process on two cores, and by two processes
on one core each at the same time. This is repeated over several rounds, of which the fastest
counts. On one core CPU seconds are compared, so another program on the machine does little harm. On
two cores wall seconds are compared, so another program distorts them. Two processes at a time show
what the machine can give: two cores that share a cache, a memory bus or an arithmetic unit give
less than twice the speed.
"""

import argparse
import os
import sys
from pathlib import Path

import pandas as pd
from pages import markdown, rewrite
from processes import ROOT, Cell, Clock, Process

BARS = {(10_000, 64): 0.30, (10_000, None): 0.50, (100_000, 64): 0.30, (100_000, None): 0.60}
"""Fraction of sgemm that an SGLD step must reach."""
QUICK = ("threefry", "plain, jax.random, vmap", "plain, our noise, map")
SPEED_UP, PLAIN = 1.5, 1.1
"""Least speed-up of two cores over one; largest ratio of the product to the fastest plain scan."""
KEY = ["sampler", "d", "batch"]


def name_of(cell: Cell) -> str:
    return f"{cell[0]} {cell[1]} {cell[2] or 'full'}"


def keep(best: dict[str, Clock], answer: dict[str, Clock], mark: str) -> None:
    """Update the fastest times with an answer that was measured in the setting `mark`."""
    for name, (cpu, wall) in answer.items():
        seen = best.get(f"{mark}{name}", (float("inf"), float("inf")))
        best[f"{mark}{name}"] = (min(seen[0], cpu), min(seen[1], wall))


def measure(cell: Cell, processes: list[Process], rounds: int, *, quick: bool) -> pd.DataFrame:
    """Return one row per variant, the fastest of `rounds`.

    Rows marked `2 cores` or `2 at a time` do not measure the plain scans. The unit of `gemm` is
    one floating-point operation.
    """
    one, other, two = processes
    product = ("threefry",) if cell[0] == "sgld" else ("nuts",)
    best: dict[str, Clock] = {}
    work = 0.0
    for _ in range(rounds):
        one.ask(cell, QUICK if quick else ())
        answer = one.answer()
        work = answer.pop("flops")
        keep(best, answer, "")
        two.ask(cell, product)
        answer = two.answer()
        del answer["flops"]
        keep(best, answer, "2 cores, ")
        for process in (one, other):
            process.ask(cell, product)
        answers = [process.answer() for process in (one, other)]
        slower = {
            name: [max(a[name][i] for a in answers) for i in (0, 1)] for name in (*product, "gemm")
        }
        keep(best, slower, "2 at a time, ")
    gemm = best["gemm"][0]
    rows = [
        {
            **dict(zip(KEY, (cell[0], cell[1], str(cell[2] or "full")), strict=True)),
            "variant": name,
            "cpu_us": 1e6 * cpu,
            "wall_us": 1e6 * wall,
            "gemm_gflops": 1e-9 / gemm,
            "gemm_fraction": work / cpu * gemm,
        }
        for name, (cpu, wall) in best.items()
    ]
    return pd.DataFrame(rows)


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one line per cell."""
    lines = []
    for (sampler, d, batch), cell in rows.groupby(KEY, sort=False):
        at = cell.set_index("variant")
        name = "threefry" if sampler == "sgld" else "nuts"
        by_hand = at[at.index.str.startswith("plain")]
        line = {
            "sampler": sampler,
            "d": d,
            "batch": batch,
            "gemm GFLOP/s": at.gemm_gflops[name],
            "us": at.cpu_us[name],
            "% of gemm": 100 * at.gemm_fraction[name],
            "plain us": by_hand.cpu_us.min(),
            "product/plain": at.cpu_us[name] / by_hand.cpu_us.min(),
            "2 cores": at.wall_us[name] / at.wall_us[f"2 cores, {name}"],
            "2 at a time": 2 * at.wall_us[name] / at.wall_us[f"2 at a time, {name}"],
        }
        for variant in ("philox", "recorded"):
            if variant in at.index:
                line |= {f"{variant} us": at.cpu_us[variant]}
        bare = at[at.index.str.startswith("gradient")]
        if len(bare):
            line |= {"bare gradient us": bare.cpu_us.min()}
        lines.append(line)
    return pd.DataFrame(lines)


def bars(table: pd.DataFrame) -> list[str]:
    """Return one sentence per bar."""
    out = []
    for row in table.to_dict("records"):
        cell = f"{row['sampler']} d={row['d']} batch {row['batch']}"
        key = (row["d"], None if row["batch"] == "full" else int(row["batch"]))
        claims = [
            (f"at most {PLAIN} x the fastest plain scan", row["product/plain"] <= PLAIN),
            (f"2 cores at least {SPEED_UP} x", row["2 cores"] >= SPEED_UP),
        ]
        if row["sampler"] == "sgld" and key in BARS:
            claims.append((f">= {BARS[key]:.0%} of sgemm", row["% of gemm"] >= 100 * BARS[key]))
        out += [f"{'met   ' if met else 'MISSED'} {cell}: {claim}" for claim, met in claims]
    return out


def merged(file: Path, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the stored rows, with new cells replacing old ones."""
    if not file.exists():
        return rows
    old = pd.read_parquet(file)
    fresh = set(rows[KEY].itertuples(index=False, name=None))
    kept = [key not in fresh for key in old[KEY].itertuples(index=False, name=None)]
    return pd.concat([old[kept], rows], ignore_index=True).sort_values(
        KEY, ascending=[False, True, True], kind="stable"
    )


def time_cells(options: argparse.Namespace, cells: list[Cell], file: Path) -> None:
    """Measure cells and write each as soon as it is done."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        raise SystemExit("bench/speed.py compares one core with two, and this process has one")
    for sampler, dtype in (("sgld", "float32"), ("nuts", "float64")):
        mine = [cell for cell in cells if cell[0] == sampler]
        if not mine:
            continue
        processes = [Process(dtype, own) for own in ({cores[1]}, {cores[0]}, set(cores))]
        for cell in mine:
            rows = measure(cell, processes, options.rounds, quick=options.quick)
            merged(file, rows).to_parquet(file, index=False)
            print(f"measured {name_of(cell)}", file=sys.stderr, flush=True)
        for process in processes:
            process.close()


def main() -> None:
    """Measure the cells, and print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", default="", help="cells whose name starts with one of these")
    parser.add_argument("--quick", action="store_true", help="few variants")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "out")
    parser.add_argument("--docs", type=Path, help="a page with a place for the table")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    cells: list[Cell] = [
        (sampler, d, batch)
        for sampler, batches in (("sgld", (64, None)), ("nuts", (None,)))
        for d in (1_000, 10_000, 100_000)
        for batch in batches
    ]
    parts = [part.split() for part in options.cells.split(",")]
    cells = [c for c in cells if any(name_of(c).split()[: len(part)] == part for part in parts)]
    file = options.out / "speed.parquet"
    time_cells(options, cells, file)
    table = summary(pd.read_parquet(file))
    print(table.to_string(index=False, float_format=lambda x: f"{x:.3g}"))
    if options.docs:
        rewrite(options.docs, "speed", markdown(table.dropna(axis=1), 3))
    lines = bars(table)
    print("\n".join(lines))
    if any(line.startswith("MISSED") for line in lines):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
