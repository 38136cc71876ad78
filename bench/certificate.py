"""The virial certificate against the truth, over two decades of SGLD's step size.

`python bench/certificate.py [--out bench/out]`

On a deep linear net 6-6-6-6 of rank 3 (n = 2000, gamma 10), whose posterior is singular, |V_M - 1|
must rank the step sizes as their true error does, with a Spearman correlation above 0.9. The truth
is taken from NUTS.
"""

import argparse
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from lambda_hat_core import targets
from lambda_hat_core.analysis.diagnostics import mcmc_mean
from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.config.spec import RunSpec, TargetSpec
from lambda_hat_core.posterior import localised
from lambda_hat_core.sample import sample

TARGET = {
    "model": {"kind": "deep_linear", "widths": [6, 6, 6, 6], "rank": 3},
    "data": {"kind": "synthetic", "n_data": 2000, "n_test": 10},
    "training": {"start": "truth"},
}
GAMMA = 10.0
NUTS = {"kind": "nuts", "n_chains": 8, "n_warmup": 200, "n_draws": 4000}
SGLD = {"kind": "sgld", "n_chains": 32, "batch_size": 2}
FACTORS = 3.0 * 10 ** np.linspace(-2, 0, 9)
"""Step sizes in units of `auto`; at 6 times `auto` chains leave the neighbourhood."""
DRAWS, THIN = 6000, 20
"""Draws per chain, and steps per draw at `auto`. Smaller step sizes take more steps per draw, so
that every run covers the same distance. Draws are not more frequent, because each costs a
full-data loss."""


def run(folder, spec, sampler, dtype):
    posterior = PosteriorSpec(gamma=GAMMA)
    made = RunSpec(target=spec.id, sampler=sampler, posterior=posterior, dtype=dtype)
    with jax.enable_x64(dtype == "float64"):
        trace = sample(localised(targets.load(spec, folder, posterior), posterior), made)
    if trace.failure:
        raise SystemExit(f"{sampler}: {trace.failure}")
    return trace


def measure(folder, spec, factor, auto):
    """Sample at one step size and return the mean llc and the mean V_M."""
    settings = {"n_draws": DRAWS, "n_burn": DRAWS // 20, "thin": max(1, round(THIN / factor))}
    trace = run(folder, spec, {**SGLD, **settings, "step_size": factor * auto}, "float32")
    return mcmc_mean(trace.llc), mcmc_mean(trace.virial_m)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("bench/out"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    spec = TargetSpec.model_validate(TARGET)
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        with jax.enable_x64(True):
            targets.save(targets.build(spec, print), folder)
        nuts = run(folder, spec, NUTS, "float64")
        truth, certificate = mcmc_mean(nuts.llc), mcmc_mean(nuts.virial_m)
        print(f"nuts: llc {truth.mean:.4f} +- {truth.se:.4f}, V_M {certificate.mean:.4f}")
        short = {**SGLD, "n_draws": 20, "n_burn": 10}
        auto = run(folder, spec, short, "float32").info["step_size"]
        rows = []
        for factor in FACTORS:
            began = time.perf_counter()
            llc, v_m = measure(folder, spec, float(factor), auto)
            row = {"step / auto": factor, "error": llc.mean / truth.mean - 1}
            row |= {"se": llc.se / truth.mean, "v_m": v_m.mean, "v_m_se": v_m.se}
            rows.append(row)
            print(
                f"{factor:6.3f} auto: error {100 * row['error']:+6.2f} +- {100 * row['se']:.2f} %, "
                f"V_M {v_m.mean:.4f} +- {v_m.se:.4f}, {time.perf_counter() - began:.0f} s",
                flush=True,
            )
    frame = pd.DataFrame(rows)
    frame.to_parquet(options.out / "certificate.parquet")
    rank = spearmanr(np.abs(frame["v_m"] - 1), np.abs(frame["error"])).statistic
    print(f"rank correlation of |V_M - 1| and |error| over {len(frame)} steps: {rank:.3f}")
    if abs(certificate.mean - 1) > 0.05 or rank <= 0.9:
        raise SystemExit("outside the bar")


if __name__ == "__main__":
    main()
