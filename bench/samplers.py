"""The leaderboard: every sampler at its defaults on six targets, against exact answers.

`python bench/samplers.py [--targets a,b] [--samplers c,d] [--out DIR] [--table FILE.md]`

Where no exact value exists the reference is the mean of NUTS over six other seeds. Rows are kept in
samplers.parquet as they are made, so a run may be repeated in parts; figure and table show
all of them. `fge_5` is the work after which sqrt(bias^2 + se^2) is 5 % of the answer, a bias being
what exceeds two standard errors; none where the bias alone is larger.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("JAX_ENABLE_X64", "1")

import jax
import numpy as np
import pandas as pd

from lambda_hat_core import targets
from lambda_hat_core.analysis.estimate import estimate
from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.config.samplers import DEFAULT_DTYPE
from lambda_hat_core.config.spec import RunSpec, TargetSpec
from lambda_hat_core.posterior import localised
from lambda_hat_core.samplers import sample

GOAL = 0.05
REFERENCE_SEEDS = range(101, 107)
NO_DATA = {"kind": "none", "n_data": 1000}
TARGETS = {
    "quadratic, condition 1e4, d 50": (
        {"model": {"kind": "quadratic", "d": 50, "condition": 1e4}, "data": NO_DATA},
        {},
    ),
    "crossing w0^2 w1^4": (
        {"model": {"kind": "normal_crossing", "powers": [1, 2]}, "data": NO_DATA},
        {},
    ),
    "deep linear 6-6-6-6, rank 3": (
        {
            "model": {"kind": "deep_linear", "widths": [6, 6, 6, 6], "rank": 3},
            "data": {"kind": "synthetic", "n_data": 2000, "n_test": 10},
            "training": {"start": "truth"},
        },
        {"gamma": 10.0},
    ),
    "tanh MLP on diabetes, d 97": (
        {
            "model": {"kind": "mlp", "widths": [8], "activation": "tanh"},
            "data": {"kind": "diabetes"},
        },
        {},
    ),
    "ReLU MLP, d 161": (
        {
            "model": {"kind": "mlp", "widths": [10, 9], "activation": "relu"},
            "data": {"kind": "synthetic", "n_data": 1000, "n_test": 10},
        },
        {},
    ),
    "MLP on digits, d 760": (
        {
            "model": {"kind": "mlp", "widths": [10], "activation": "tanh"},
            "data": {"kind": "digits", "n_data": 600},
        },
        {},
    ),
}
METRICS = ("lanczos", "diagonal", "identity")
SAMPLERS = {
    **{
        f"{kind} {metric}": {"kind": kind, "metric": metric}
        for kind in ("nuts", "hmc", "mala", "mclmc")
        for metric in METRICS
    },
    "adjusted_mclmc lanczos": {"kind": "adjusted_mclmc"},
    "sgld": {"kind": "sgld"},
    "sgld rmsprop": {"kind": "sgld", "precond": "rmsprop"},
    "sgld adam": {"kind": "sgld", "precond": "adam"},
    "sghmc": {"kind": "sghmc"},
    "sgnht": {"kind": "sgnht"},
    "vi mfa": {"kind": "vi", "algo": "mfa"},
    "vi flow": {"kind": "vi", "algo": "flow"},
}


def run(folder, spec, posterior, sampler, *, seed=0):
    dtype = DEFAULT_DTYPE[sampler["kind"]]
    made = RunSpec(target=spec.id, sampler=sampler, posterior=posterior, seed=seed, dtype=dtype)
    with jax.enable_x64(dtype == "float64"):
        return sample(localised(targets.load(spec, folder, posterior), posterior), made)


def answer(folder, spec, posterior):
    """The finite-temperature value, its standard error, and where both come from."""
    target = targets.load(spec, folder, posterior)
    nbeta, gamma = posterior.resolved_nbeta(target.n), posterior.resolved_gamma(target.w0.size)
    value, reason = targets.oracle(spec, target, nbeta, gamma)
    if value is not None:
        return value, 0.0, reason
    means = [
        run(folder, spec, posterior, {"kind": "nuts"}, seed=seed).llc.mean()
        for seed in REFERENCE_SEEDS
    ]
    return float(np.mean(means)), float(np.std(means, ddof=1) / len(means) ** 0.5), "NUTS"


def row(target, name, trace, reference, reference_se, seconds):
    found = estimate(trace)
    facts = {
        "target": target,
        "sampler": name,
        "reference": reference,
        "reference_se": reference_se,
        "llc": found.llc,
        "se": found.llc_se,
        "fge": found.work_fge,
        "seconds": seconds,
        "ess": found.ess_bulk,
        "acceptance": found.acceptance,
        "v_m": found.v_m,
        "verdict": found.verdict,
        "reasons": "; ".join(found.reasons),
    }
    if found.llc is None or found.llc_se is None:
        return facts | {"bias": None, "rmse": None, "fge_5": None}
    bias, noise = found.llc - reference, np.hypot(found.llc_se, reference_se)
    certain = max(0.0, abs(bias) - 2 * noise)
    room = (GOAL * reference) ** 2 - certain**2
    sampling = trace.work.get("sampling", found.work_fge)
    needed = found.work_fge - sampling + sampling * found.llc_se**2 / room if room > 0 else None
    return facts | {
        "bias": bias / reference,
        "rmse": np.hypot(bias, found.llc_se) / reference,
        "fge_5": needed,
    }


def table(frame):
    """Markdown: work to 5 % of each sampler and target, with the bias in parentheses."""

    def cell(at):
        if at is None or at["bias"] is None or not np.isfinite(at["bias"]):
            return "-" if at is None else at["verdict"]
        work = "never" if not np.isfinite(at["fge_5"]) else f"{at['fge_5']:,.0f}"
        mark = "" if at["verdict"] == "ok" else "?"
        return f"{work} ({100 * at['bias']:+.1f} ± {100 * at['se'] / at['reference']:.1f} %){mark}"

    columns = [name for name in TARGETS if name in set(frame["target"])]
    lines = ["| sampler | " + " | ".join(columns) + " |", "|---" * (1 + len(columns)) + "|"]
    for name in SAMPLERS:
        mine = frame[frame["sampler"] == name].set_index("target")
        if len(mine):
            cells = [cell(mine.loc[c] if c in mine.index else None) for c in columns]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write_table(path, text):
    begin, end = "<!-- leaderboard -->", "<!-- /leaderboard -->"
    before, _, rest = path.read_text().partition(begin)
    _, _, after = rest.partition(end)
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def draw(frame, path):
    from matplotlib.figure import Figure

    names = [name for name in TARGETS if name in set(frame["target"])]
    figure = Figure(figsize=(4 * len(names), 7), layout="constrained")
    for axes, name in zip(
        np.atleast_1d(figure.subplots(1, len(names), sharey=True)), names, strict=True
    ):
        mine = frame[frame["target"] == name].set_index("sampler").reindex(list(SAMPLERS))
        axes.errorbar(
            100 * mine["bias"].astype(float),
            np.arange(len(mine)),
            xerr=200 * mine["se"].astype(float) / mine["reference"].astype(float),
            fmt="o",
            markersize=4,
        )
        axes.axvspan(-100 * GOAL, 100 * GOAL, color="0.9", zorder=0)
        axes.set_xscale("symlog", linthresh=10)
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("error of llc, % (bars: 2 se)")
        axes.set_yticks(np.arange(len(mine)), list(SAMPLERS))
        axes.invert_yaxis() if axes is figure.axes[0] else None
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--targets", default="")
    parser.add_argument("--samplers", default="")
    parser.add_argument("--out", type=Path, default=Path("bench/out"))
    parser.add_argument("--table", type=Path)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    file = arguments.out / "samplers.parquet"
    wanted = [part for part in arguments.samplers.split(",") if part]
    places = [part for part in arguments.targets.split(",") if part]
    for target, (fields, localiser) in TARGETS.items():
        if places and not any(part in target for part in places):
            continue
        spec, posterior = TargetSpec.model_validate(fields), PosteriorSpec(**localiser)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            targets.save(targets.build(spec, lambda line: None), folder)
            old = pd.read_parquet(file) if file.exists() else None
            known = old[old["target"] == target] if old is not None else []
            if len(known):
                reference, error = known.iloc[0][["reference", "reference_se"]]
            else:
                reference, error, _ = answer(folder, spec, posterior)
            print(f"{target}: {reference:.4g} +- {error:.2g}", flush=True)
            for sampler, settings in SAMPLERS.items():
                if wanted and not any(part in sampler for part in wanted):
                    continue
                began = time.perf_counter()
                trace = run(folder, spec, posterior, settings)
                seconds = time.perf_counter() - began
                made = row(target, sampler, trace, reference, error, seconds)
                print({k: v for k, v in made.items() if k != "target"}, flush=True)
                rows = pd.DataFrame([made])
                if file.exists():
                    old = pd.read_parquet(file)
                    same = (old["target"] == target) & (old["sampler"] == sampler)
                    rows = pd.concat([old[~same], rows], ignore_index=True)
                rows.to_parquet(file)
    if file.exists():
        frame = pd.read_parquet(file)
        draw(frame, arguments.out / "samplers.png")
        if arguments.table:
            write_table(arguments.table, table(frame))


if __name__ == "__main__":
    main()
