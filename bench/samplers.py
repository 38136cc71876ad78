"""The leaderboard: every sampler at its defaults on six targets, against exact answers.

`python bench/samplers.py [--targets a,b] [--samplers c,d] [--out DIR] [--docs FILE.md]`

If there is neither an exact value nor one from an independent exact sampler, the reference is the
mean of NUTS over other seeds. Runs are kept in --out, so a bench may be made in parts: only the
selected runs are computed, and the parquet file, figure and tables hold all runs in --out.

`fge_5` is the work after which sqrt(bias^2 + se^2) is 5 % of the answer. The bias is the part of
the error that exceeds two standard errors; if it alone is larger than 5 %, `fge_5` is None. The bar
is that no run whose verdict is ok is off by more than 4 se + 10 %, or 4 se + 2 % for exact
samplers.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from board import draw, leaderboard, metrics
from pages import rewrite
from runs import Answer, answer, is_made, problem, run

GOAL = 0.05
NO_DATA = {"kind": "none", "n_data": 1000}
TARGETS = {
    "quadratic, d 50": problem(
        {"model": {"kind": "quadratic", "d": 50, "condition": 1e4}, "data": NO_DATA}
    ),
    "crossing w0² w1⁴": problem(
        {"model": {"kind": "normal_crossing", "powers": [1, 2]}, "data": NO_DATA}
    ),
    "deep linear, d 108": problem(
        {
            "model": {"kind": "deep_linear", "widths": [6, 6, 6, 6], "rank": 3},
            "data": {"kind": "synthetic", "n_data": 2000, "n_test": 10},
            "training": {"start": "truth"},
        },
        gamma=10.0,
    ),
    "tanh MLP on diabetes, d 97": problem(
        {
            "model": {"kind": "mlp", "widths": [8], "activation": "tanh"},
            "data": {"kind": "diabetes"},
        }
    ),
    "ReLU MLP, d 159": problem(
        {
            "model": {"kind": "mlp", "widths": [10, 9], "activation": "relu"},
            "data": {"kind": "synthetic", "n_data": 1000, "n_test": 10},
        }
    ),
    "tanh MLP on digits, d 760": problem(
        {
            "model": {"kind": "mlp", "widths": [10], "activation": "tanh"},
            "data": {"kind": "digits", "n_data": 600},
        }
    ),
}
METRICS = ("lanczos", "diagonal", "identity")
WITH_METRIC = ("nuts", "hmc", "mala", "mclmc")
_SETTINGS: dict[str, dict[str, Any]] = {
    **{kind: {"kind": kind} for kind in (*WITH_METRIC, "adjusted_mclmc")},
    "sgld": {"kind": "sgld"},
    "sgld rmsprop": {"kind": "sgld", "precond": "rmsprop"},
    "sgld adam": {"kind": "sgld", "precond": "adam"},
    "sghmc": {"kind": "sghmc"},
    "sgnht": {"kind": "sgnht"},
    "vi mfa": {"kind": "vi", "algo": "mfa"},
    "vi flow": {"kind": "vi", "algo": "flow"},
    **{
        f"{kind} {metric}": {"kind": kind, "metric": metric}
        for kind in WITH_METRIC
        for metric in METRICS[1:]
    },
}
SAMPLERS = {name: {**settings, "until": {}} for name, settings in _SETTINGS.items()}
"""Every run ends at the default precision. The first twelve are the leaderboard, in the default
metric; the others are comparisons."""
EXACT = ("nuts", "hmc", "mala", "adjusted_mclmc")


def row(target: str, name: str, record: dict[str, Any], reference: Answer) -> dict[str, Any]:
    """Return the row of a run; its errors are relative to the reference."""
    value = reference.value
    facts = {
        "target": target,
        "sampler": name,
        "reference": value,
        "reference_se": reference.se,
        "reference_from": reference.source,
        "llc": record["llc"],
        "llc_se": record["llc_se"],
        "fge": record["work_fge"],
        "seconds": record["again_s"],
        **{key: record[key] for key in ("ess_bulk", "r_hat", "acceptance", "v_m", "khat")},
        "verdict": record["verdict"],
        "reasons": "; ".join(record["reasons"]),
        "within": True,
    }
    if record["llc"] is None or record["llc_se"] is None:
        return facts | dict.fromkeys(("bias", "se", "rmse", "fge_5"))
    bias, noise = record["llc"] - value, np.hypot(record["llc_se"], reference.se)
    certain = max(0.0, abs(bias) - 2 * noise)
    allowed = 0.02 if name.split()[0] in EXACT else 0.1
    return facts | {
        "bias": bias / value,
        "se": noise / value,
        "rmse": float(np.hypot(bias, record["llc_se"])) / value,
        "fge_5": _work_to(GOAL * value, certain, record),
        "within": record["verdict"] != "ok" or bool(abs(bias) <= 4 * noise + allowed * value),
    }


def _work_to(goal: float, bias: float, record: dict[str, Any]) -> float | None:
    """Return the work at which sqrt(bias^2 + se^2) is `goal`; a fit's error does not change."""
    room = goal**2 - bias**2
    share = record["llc_se"] ** 2 / room if room > 0 else np.inf
    if "sampling" not in record["work"]:
        return record["work_fge"] if share <= 1 else None
    sampling = record["work"]["sampling"]
    return record["work_fge"] - sampling + sampling * share if room > 0 else None


def collect(out: Path, places: list[str], wanted: list[str]) -> pd.DataFrame:
    """Compute the selected runs and return one row per run that has been made."""
    rows = []
    for target, of in TARGETS.items():
        chosen = any(part in target for part in places)
        for name, settings in SAMPLERS.items():
            now = chosen and any(name.startswith(part) for part in wanted)
            if now or is_made(out, of, settings):
                record = run(out, of, settings, again=settings.get("metric") is None)
                found = row(target, name, record, answer(out, of))
                rows.append(found)
            if now:
                llc, se = found["llc"] or np.nan, found["llc_se"] or np.nan
                print(
                    f"{target:26s} {name:16s} {found['reference']:8.4g} {llc:8.4g} ± {se:7.3g} "
                    f"{found['fge']:10.0f} FGE {record['cpu_s']:6.1f} s  {found['verdict']}",
                    flush=True,
                )
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--targets", default="", help="names that hold one of these")
    parser.add_argument("--samplers", default="", help="names that start with one of these")
    parser.add_argument("--out", type=Path, default=Path("bench/out"))
    parser.add_argument("--docs", type=Path, help="a page for both tables, and the figure beside")
    options = parser.parse_args()
    frame = collect(options.out, options.targets.split(","), options.samplers.split(","))
    frame.to_parquet(options.out / "samplers.parquet", index=False)
    places = [name for name in TARGETS if name in set(frame["target"])]
    names = [name for name in SAMPLERS if "diagonal" not in name and "identity" not in name]
    draw(frame, places, names, options.out / "samplers.png")
    tables = {
        "leaderboard": leaderboard(frame, places, names),
        "metrics": metrics(frame, places, WITH_METRIC, METRICS),
    }
    for name, text in tables.items():
        print(f"\n{text}")
        if options.docs:
            rewrite(options.docs, name, text)
    if options.docs:
        draw(frame, places, names, options.docs.with_name("leaderboard.png"))
    outside = frame[~frame["within"]]
    if len(outside):
        lines = [f"{at.sampler} on {at.target}" for at in outside.itertuples()]
        raise SystemExit(f"outside the bar: {', '.join(lines)}")


if __name__ == "__main__":
    main()
