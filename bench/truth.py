"""NUTS and SGLD against exact answers, at full size.

`python bench/truth.py [--cases SUBSTRING,..] [--quick] [--coverage] [--out bench/out]`

A row is inside the bar when

    |llc - exact| <= 4 hypot(se, se of exact) + bias * exact   and   se <= cap * exact

with a bias of 2 % for NUTS and of 10 % for SGLD with step_size auto. Coverage counts how often the
90 % interval of NUTS contains the exact value over 40 seeds. Runs are kept in --out, so the cases
can be run one by one; the tables show all cases that have been run.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pages import markdown, rewrite
from references import verify
from runs import Case, answer, known, problem, run

from lambda_hat_core.config.model import NormalCrossing, Quadratic

BIAS = {"nuts": 0.02, "sgld": 0.10}
CAP = {"nuts": 0.02, "sgld": 0.03}
SAMPLERS: dict[str, dict[str, Any]] = {
    "nuts": {"kind": "nuts"},
    "sgld": {"kind": "sgld", "n_draws": 2000, "n_burn": 600},
}
LONGER: dict[str, dict[str, Any]] = {
    "nuts": {"n_draws": 40000, "n_burn": 500, "target_acceptance": 0.99},
    "sgld": {"n_draws": 60000, "n_burn": 4000, "thin": 100, "step_fraction": 0.003},
}
"""Settings for potentials in one and two dimensions. Their llc is small, so its relative error is
large. Their curvature grows without bound along the ridges, where SGLD at its default step size
leaves them."""
SHORTER: dict[str, dict[str, Any]] = {
    "nuts": {"n_chains": 2, "n_warmup": 100, "n_draws": 100, "n_burn": 30},
    "sgld": {},
}
"""Settings for 1e4 dimensions, where the llc of a draw scatters by 2 % and a NUTS tree has hundreds
of gradients."""
SEEDS, HOLD = 40, 34
COLD = {"nbeta": 1e5, "gamma": 10.0}
"""Posterior settings at which the exact llc equals lambda up to the allowed bias."""


def potential(model: dict[str, Any]) -> Case:
    return problem({"model": model, "data": {"kind": "none", "n_data": 1000}})


def quadratic(d: int, condition: float, **more: Any) -> Case:
    return potential({"kind": "quadratic", "d": d, "condition": condition, **more})


def crossing(*powers: int) -> Case:
    return potential({"kind": "normal_crossing", "powers": powers})


def network(model: dict[str, Any], n: int = 1000, **posterior: Any) -> Case:
    """Return a network at the true weights, without label noise."""
    data = {"kind": "synthetic", "noise_scale": 0.0, "n_data": n, "n_test": 10}
    training = {"start": "truth", "loss": "mse"}
    return problem({"model": model, "data": data, "training": training}, **posterior)


def product(*widths: int, rank: int, n: int = 1000, **posterior: Any) -> Case:
    return network({"kind": "deep_linear", "widths": widths, "rank": rank}, n, **posterior)


def squares(width: int, rank: int, n: int = 1000, **posterior: Any) -> Case:
    model = {"kind": "quadratic_activation", "in_dim": 6, "width": width, "rank": rank}
    return network(model, n, **posterior)


CASES = {
    "quadratic d=10 condition 1": quadratic(10, 1.0),
    "quadratic d=100 condition 1e3": quadratic(100, 1e3),
    "quadratic d=100 condition 1e6": quadratic(100, 1e6),
    "quadratic d=100 rank 40": quadratic(100, 10.0, rank=40),
    "quadratic d=1000 condition 1e6": quadratic(1000, 1e6),
    "quadratic d=10000 condition 1e6": quadratic(10000, 1e6),
    "crossing w1^2": crossing(1),
    "crossing w1^2 w2^2": crossing(1, 1),
    "crossing w1^2 w2^4": crossing(1, 2),
    "crossing w1^4 w2^6": crossing(2, 3),
    "squares 6x2 rank 2, cold": squares(2, 2, **COLD),
    "reduced rank 5-3-5 rank 3, cold": product(5, 3, 5, rank=3, **COLD),
    "deep linear 6-8-6 rank 6, cold": product(6, 8, 6, rank=6, **COLD),
    "squares 6x2 rank 1": squares(2, 1, 300, gamma=10.0),
    "reduced rank 5-3-5 rank 1": product(5, 3, 5, rank=1, gamma=10.0),
    "reduced rank 5-3-5 rank 0": product(5, 3, 5, rank=0, gamma=10.0),
    "deep linear 6-8-4-6 rank 4": product(6, 8, 4, 6, rank=4, gamma=10.0),
    "deep linear 6-6-6-6 rank 3": product(6, 6, 6, 6, rank=3, n=2000, gamma=10.0),
}
"""Cold networks are compared with lambda, all other cases with the value at their temperature."""
QUICK = ("quadratic d=100 condition 1e6", "crossing w1^2 w2^2", "deep linear 6-8-6 rank 6, cold")
COVERAGE: dict[str, dict[str, Any]] = {
    "quadratic d=100 condition 1e3": {"kind": "nuts"},
    "crossing w1^2 w2^4": {"kind": "nuts", "n_draws": 4000, "target_acceptance": 0.99},
}


def settings(case: Case, sampler: str) -> dict[str, Any]:
    """Return the sampler with the run length that a case needs for its standard error."""
    of = case.target.model
    if isinstance(of, NormalCrossing):
        return SAMPLERS[sampler] | LONGER[sampler]
    large = isinstance(of, Quadratic) and of.d >= 10_000
    return SAMPLERS[sampler] | (SHORTER[sampler] if large else {})


def check(out: Path, name: str, sampler: str) -> dict[str, Any]:
    """Return one row of the table.

    Raises:
        ValueError: if the case has no exact value.
    """
    case = CASES[name]
    exact, exact_se, source = known(out, case), 0.0, "lambda"
    if not name.endswith("cold"):
        exact, exact_se, source = answer(out, case)
    if exact is None:
        raise ValueError(f"{name} has no coefficient that is certain for its w*")
    made = run(out, case, settings(case, sampler), seed=1)
    row = {
        "case": name,
        "sampler": sampler,
        "d": made["d"],
        "exact": exact,
        "exact_se": exact_se,
        "source": source,
        **{key: made[key] for key in ("llc", "llc_se", "v_m", "work_fge", "cpu_s", "verdict")},
        "reasons": "; ".join(made["reasons"]),
    }
    if made["llc"] is None:
        return row | {"error_percent": None, "inside": False}
    error, se = made["llc"] - exact, np.hypot(made["llc_se"], exact_se)
    inside = abs(error) <= 4 * se + BIAS[sampler] * exact and se <= CAP[sampler] * exact
    return row | {"error_percent": 100 * error / exact, "inside": bool(inside)}


def coverage(out: Path, name: str) -> dict[str, Any]:
    """Count the intervals of NUTS that contain the exact value."""
    case = CASES[name]
    exact = answer(out, case).value
    records = [run(out, case, COVERAGE[name], seed=100 + seed) for seed in range(SEEDS)]
    held = sum(r["llc_lo"] <= exact <= r["llc_hi"] for r in records)
    errors = np.array([r["llc"] - exact for r in records])
    return {
        "case": name,
        "exact": exact,
        "seeds": SEEDS,
        "held": held,
        "ok": sum(r["verdict"] == "ok" for r in records),
        "mean error %": 100 * errors.mean() / exact,
        "spread of llc": errors.std(ddof=1),
        "mean se": np.mean([r["llc_se"] for r in records]),
        "inside": held >= HOLD,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="three cases, no coverage")
    parser.add_argument("--cases", default="", help="only those whose name holds one of these")
    parser.add_argument("--coverage", action="store_true", help="the 40 seeds alone")
    parser.add_argument("--out", type=Path, default=Path("bench/out"))
    parser.add_argument("--docs", type=Path, help="a page with places for the tables")
    options = parser.parse_args()
    parts = options.cases.split(",")
    names = [name for name in CASES if any(part in name for part in parts)]
    if options.quick:
        names = list(QUICK)
    tables = {}
    if not (options.coverage or options.quick or options.cases):
        tables["references"] = pd.DataFrame(verify())
    if not options.coverage:
        rows = []
        for name in names:
            for sampler in SAMPLERS:
                rows.append(check(options.out, name, sampler))
                print(f"measured {name}, {sampler}", flush=True)
        tables["truth"] = pd.DataFrame(rows)
    if not options.quick:
        held = [coverage(options.out, name) for name in COVERAGE if name in names]
        tables["coverage"] = pd.DataFrame(held)
    missed = []
    for title, table in tables.items():
        if len(table):
            table.to_parquet(options.out / f"{title}.parquet", index=False)
            shown = table.drop(columns=["reasons", "source"], errors="ignore")
            print(shown.to_string(index=False, float_format=lambda x: f"{x:.4g}"))
            if options.docs:
                rewrite(options.docs, title, markdown(shown))
            missed += table[~table.inside].case.tolist()
    if missed:
        raise SystemExit(f"outside the bar: {', '.join(missed)}")


if __name__ == "__main__":
    main()
