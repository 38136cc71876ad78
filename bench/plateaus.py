"""One point, two coefficients: `python bench/plateaus.py [--docs docs/theory.md]`.

The potential |B A|^2 with A 4 x 5 and B 4 x 4 is reduced-rank regression towards zero, whose
coefficient is 7 (Aoyagi & Watanabe 2005, case 1, rank 0). At w* = (2 Q, 0), Q with orthonormal
rows, the fibre is smooth and the local coefficient is 16 / 2 = 8. NUTS in float64 must find 8 at
large gamma and 7 at small gamma, and the profile two plateaus.
"""

import argparse
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pandas as pd
from pages import markdown, rewrite

from lambda_hat_core import Nuts, estimate_llc
from lambda_hat_core.analysis.figures.profiles import gamma_figure
from lambda_hat_core.analysis.figures.style import ReferenceLine
from lambda_hat_core.analysis.profiles import Point, gamma_profile

GAMMAS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
NBETA = 1e5
SAMPLER = Nuts(n_draws=2000, n_burn=500, n_warmup=500, target_acceptance=0.95)
GLOBAL, LOCAL = 7.0, 8.0
TOLERANCE = 0.25
"""Tolerance of each plateau, a quarter of the gap between them. The correction (m - 1) / log nbeta
is 0.09 at the deepest point, where m = 2."""


def potential(w, batch):
    """Return the squared Frobenius norm of B A."""
    del batch
    return jnp.sum((w["b"] @ w["a"]) ** 2)


def main() -> None:
    """Run the profile, write its table and figure, and compare both plateaus with their values."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--docs", type=Path, help="a page with a place for the table")
    options = parser.parse_args()
    left, _, right = np.linalg.svd(
        np.random.default_rng(0).normal(size=(4, 5)), full_matrices=False
    )
    minimum = {"a": 2 * left @ right, "b": np.zeros((4, 4))}
    rows, points = [], []
    for gamma in GAMMAS:
        posterior = {"nbeta": NBETA, "gamma": gamma}
        found = estimate_llc(potential, minimum, None, n=1000, sampler=SAMPLER, posterior=posterior)
        rows.append([gamma, found.llc, found.se, found.r_hat, found.v_m, found.verdict])
        points.append(Point(gamma, found.llc, found.se, found.verdict))
        print(rows[-1], flush=True)
    profile = gamma_profile(points)
    print(profile.note)
    if options.docs:
        columns = ["gamma", "llc", "se", "R-hat", "V_M", "verdict"]
        rewrite(options.docs, "plateaus", markdown(pd.DataFrame(rows, columns=columns)))
        lines = [ReferenceLine(GLOBAL, "global", "--"), ReferenceLine(LOCAL, "local at w*", ":")]
        figure = gamma_figure(profile, "|B A|² at A of full rank, B = 0", lines)
        figure.savefig(options.docs.with_name("plateaus.png"))
    values = [plateau.llc for plateau in profile.plateaus]
    if len(values) != 2 or not np.allclose(values, [GLOBAL, LOCAL], atol=TOLERANCE):
        raise SystemExit(f"the plateaus are {values}, not {GLOBAL} and {LOCAL}")


if __name__ == "__main__":
    main()
