"""Samplers against exact answers, at full size.

`python bench/truth.py [--quick] [--out bench/out]`

Every case has a finite-temperature oracle, or a coefficient that is certain for its w* and a
temperature low enough for the stated bias. A row is right when

    |llc - exact| <= 4 se + bias * exact   and   se <= cap * exact.

The bar is a bias of 2 % for NUTS and of 10 % for SGLD with step_size auto. Coverage counts how
often the 90 % interval of NUTS holds the oracle over 40 seeds.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ["JAX_ENABLE_X64"] = "1"

import pandas as pd

from lambda_hat_core.config.spec import RunSpec, TargetSpec
from lambda_hat_core.stages import analyse_run, build_target, sample_run
from lambda_hat_core.store import Store

BIAS = {"nuts": 0.02, "sgld": 0.10}
CAP = {"nuts": 0.02, "sgld": 0.03}
SETTINGS = {
    "nuts": {"kind": "nuts"},
    "sgld": {"kind": "sgld", "n_draws": 2000, "n_burn": 600},
}
LONGER = {
    "nuts": {"n_draws": 12000, "n_burn": 500},
    "sgld": {"n_draws": 16000, "n_burn": 2000, "thin": 100},
}
"""For potentials in one and two dimensions: their llc is small, so its relative error is large."""
NO_NOISE = {"kind": "synthetic", "noise_scale": 0.0}
SMOOTH = {"nbeta": 1e5, "gamma": 1.0}


def potential(model, n=1000, **posterior):
    return {"model": model, "data": {"kind": "none", "n_data": n}}, posterior


def network(model, n=1000, **posterior):
    data = {**NO_NOISE, "n_data": n, "n_test": 10}
    training = {"start": "truth", "loss": "mse"}
    return {"model": model, "data": data, "training": training}, {**SMOOTH, **posterior}


def quadratic(d, condition, **more):
    return potential({"kind": "quadratic", "d": d, "condition": condition, **more})


CASES = {
    "quadratic d=10 cond=1": quadratic(10, 1.0),
    "quadratic d=100 cond=1e3": quadratic(100, 1e3),
    "quadratic d=100 cond=1e6": quadratic(100, 1e6),
    "quadratic d=100 rank=40": quadratic(100, 10.0, rank=40),
    "quadratic d=1000 cond=1e6": quadratic(1000, 1e6),
    "quadratic d=10000 cond=1e4": quadratic(10000, 1e4),
    "quadratic d=10000 cond=1e6": quadratic(10000, 1e6),
    "crossing w1^2": potential({"kind": "normal_crossing", "powers": [1]}),
    "crossing w1^2 w2^2": potential({"kind": "normal_crossing", "powers": [1, 1]}),
    "crossing w1^2 w2^4": potential({"kind": "normal_crossing", "powers": [1, 2]}),
    "crossing w1^4 w2^6": potential({"kind": "normal_crossing", "powers": [2, 3]}),
    "quadratic activation 6x2 rank 2": network(
        {"kind": "quadratic_activation", "in_dim": 6, "width": 2, "rank": 2}
    ),
    "reduced rank 5-3-5 rank 3": network({"kind": "deep_linear", "widths": [5, 3, 5], "rank": 3}),
    "deep linear 6-8-6 rank 6": network({"kind": "deep_linear", "widths": [6, 8, 6], "rank": 6}),
    "deep linear 6-8-4-6 rank 4": network(
        {"kind": "deep_linear", "widths": [6, 8, 4, 6], "rank": 4}
    ),
}
QUICK = ("quadratic d=100 cond=1e6", "crossing w1^2 w2^2", "deep linear 6-8-6 rank 6")
COVERAGE = ("quadratic d=100 cond=1e3", "crossing w1^2 w2^4")


def run(store, target, sampler, posterior, seed):
    """Return the estimate's record, computed or from the store."""
    spec = TargetSpec.model_validate(target)
    build_target(store, spec, _quiet)
    loss = "own" if spec.data.kind == "none" else "mse"
    run = RunSpec.model_validate(
        {
            "target": spec.id,
            "sampler": SETTINGS[sampler] | (LONGER[sampler] if is_crossing(target) else {}),
            "posterior": {"loss": loss, **posterior},
            "seed": seed,
            "dtype": "float64",
        }
    )
    sample_run(store, run, spec, _quiet)
    return analyse_run(store, run, spec, _quiet).record


def is_crossing(target):
    """Whether the target is a normal crossing."""
    return target["model"]["kind"] == "normal_crossing"


def _quiet(line):
    del line


def judge(name, sampler, record):
    """Return one row of the table."""
    exact = record["llc_oracle"] if record["llc_oracle"] is not None else record["llc_known"]
    if exact is None:
        raise ValueError(f"{name} has neither an oracle nor a known coefficient")
    error, se = record["llc"] - exact, record["llc_se"]
    return {
        "case": name,
        "sampler": sampler,
        "d": record["d"],
        "exact": exact,
        "llc": record["llc"],
        "se": se,
        "error_percent": 100 * error / exact,
        "v_m": record["v_m"],
        "work_fge": record["work_fge"],
        "wall_s": record["wall_s"],
        "verdict": record["verdict"],
        "right": abs(error) <= 4 * se + BIAS[sampler] * exact and se <= CAP[sampler] * exact,
    }


def coverage(store, name, seeds):
    """Return how many of `seeds` intervals hold the oracle."""
    target, posterior = CASES[name]
    held = 0
    for seed in range(seeds):
        record = run(store, target, "nuts", posterior, 100 + seed)
        held += record["llc_lo"] <= record["llc_oracle"] <= record["llc_hi"]
    return held


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="three cases, no coverage")
    parser.add_argument("--out", type=Path, default=Path("bench/out"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        store = Store(Path(home))
        rows = []
        for name in QUICK if options.quick else CASES:
            for sampler in SETTINGS:
                began = time.perf_counter()
                target, posterior = CASES[name]
                rows.append(judge(name, sampler, run(store, target, sampler, posterior, 1)))
                row = rows[-1]
                print(
                    f"{name:32s} {sampler:5s} exact {row['exact']:9.4f}  llc {row['llc']:9.4f} "
                    f"+- {row['se']:7.4f}  {row['error_percent']:+6.2f} %  "
                    f"{time.perf_counter() - began:5.1f} s  {row['verdict']:8s}"
                    f"{'' if row['right'] else '  OUTSIDE THE BAR'}",
                    flush=True,
                )
        held = {}
        if not options.quick:
            for name in COVERAGE:
                held[name] = coverage(store, name, 40)
                print(f"{name}: the 90 % interval holds the oracle in {held[name]} of 40 seeds")
    pd.DataFrame(rows).to_parquet(options.out / "truth.parquet")
    wrong = [f"{row['case']} ({row['sampler']})" for row in rows if not row["right"]]
    wrong += [f"coverage of {name}" for name, count in held.items() if count < 34]
    if wrong:
        raise SystemExit(f"outside the bar: {', '.join(wrong)}")
    print(f"all {len(rows)} rows inside the bar")


if __name__ == "__main__":
    main()
