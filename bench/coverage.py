"""How often the 90 % interval holds the exact value, with the rule that ends a run in force.

`python bench/coverage.py [--targets a,b] [--samplers c,d] [--seeds 40] [--rel-se 0.05] [--out DIR]`

Every run is one call of `estimate_llc` with a sampler's defaults. A seed makes its own data, except
where the exact value is expensive, so all runs on a target share its programs. The targets have
labels with noise, w* is their exact minimum, and batches are real:

* `quadratic`: 30 parameters, condition 1e4;
* `linear regression`: 20 features whose scales span a factor of 10;
* `two weights`: y = w1 tanh(w0 x) at the singular point w* = 0, exact by quadrature;
* `reduced rank`: a product of matrices 5-3-5 at a truth of rank 1, exact by Gibbs sampling.

The bar is that at least 85 % of the intervals of runs whose verdict is ok hold the value. Runs are
kept in --out, so a bench may be made in parts: the table holds all of the selected ones.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import pandas as pd
from pages import markdown, rewrite
from references import gibbs

from lambda_hat_core import estimate_llc
from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.posterior import Target
from lambda_hat_core.targets.losses import Supervised
from lambda_hat_core.targets.networks import DeepLinearNetwork
from lambda_hat_core.truth import quadrature

BAR = 0.85
SAMPLERS = ("nuts", "sgld", "sghmc", "mclmc")
CURVATURES = np.geomspace(1e-2, 1e2, 30)
"""Eigenvalues of the Hessian of `quadratic`."""
SCALES = np.geomspace(0.1, 1.0, 20)
"""Standard deviations of the features of `linear regression`."""
POSTERIOR = PosteriorSpec()


class Problem(NamedTuple):
    """A loss at its minimum, and the exact value of its estimate."""

    loss: Callable[[Any, Any], Any]
    params: np.ndarray
    data: Any
    exact: float


def half_sum(curvatures: np.ndarray, n: int) -> float:
    """Return the exact value for a quadratic: half the sum of nbeta h / (nbeta h + gamma)."""
    stiffness = POSTERIOR.resolved_nbeta(n) * curvatures
    return float(0.5 * np.sum(stiffness / (stiffness + POSTERIOR.gamma)))


def _quadratic_loss(w: Any, points: Any) -> Any:
    return jnp.mean(0.5 * jnp.sum(CURVATURES * (w - points) ** 2, axis=1))


def quadratic(seed: int, n: int = 1000) -> Problem:
    """Return the mean distance to points whose covariance is the inverse of the Hessian."""
    points = np.random.default_rng(seed).normal(size=(n, CURVATURES.size)) / CURVATURES**0.5
    return Problem(_quadratic_loss, points.mean(0), points, half_sum(CURVATURES, n))


def _squares(w: Any, data: Any) -> Any:
    x, y = data
    return jnp.mean((x @ w - y) ** 2)


def regression(seed: int, n: int = 2000) -> Problem:
    """Return least squares with unit noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, SCALES.size)) * SCALES
    y = x @ rng.normal(size=SCALES.size) + rng.normal(size=n)
    curvatures = np.linalg.eigvalsh(2 * x.T @ x / n)
    return Problem(_squares, np.linalg.lstsq(x, y)[0], (x, y), half_sum(curvatures, n))


def _two_weights_loss(w: Any, data: Any) -> Any:
    x, y = data
    return jnp.mean((w[1] * jnp.tanh(w[0] * x) - y) ** 2)


def two_weights(seed: int, n: int = 1000) -> Problem:
    """Return labels that are noise; every input occurs twice, with opposite labels."""
    rng = np.random.default_rng(seed)
    x, noise = rng.normal(size=(2, n // 2))
    w = np.zeros(2)

    def excess(points: np.ndarray) -> np.ndarray:
        """Return the loss but for a constant; it depends on w0 through one function alone."""
        firsts, places = np.unique(points[:, 0], return_inverse=True)
        squares = np.array([np.mean(np.tanh(first * x) ** 2) for first in firsts])
        return points[:, 1] ** 2 * squares[places]

    exact = quadrature.potential(excess, w, POSTERIOR.resolved_nbeta(n), POSTERIOR.gamma)
    assert exact is not None
    data = (np.concatenate([x, x]), np.concatenate([noise, -noise]))
    return Problem(_two_weights_loss, w, data, exact)


_RANKED = DeepLinearNetwork((5, 3, 5))


def _ranked_loss(w: Any, data: Any) -> Any:
    x, y = data
    return jnp.mean((_RANKED.apply(w, x) - y) ** 2)


@cache
def reduced_rank(n: int = 1000) -> Problem:
    """Return a balanced product of rank 1; every input occurs twice, with opposite noise."""
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=5), rng.normal(size=5)
    first, second = np.zeros((5, 3)), np.zeros((3, 5))
    first[:, 0], second[0] = left / np.linalg.norm(left), right / np.linalg.norm(right)
    w = np.concatenate([first.ravel(), second.ravel()])
    x, noise = rng.normal(size=(n // 2, 5)), 0.5 * rng.normal(size=(n // 2, 5))
    out = x @ first @ second
    data = (np.concatenate([x, x]), np.concatenate([out + noise, out - noise]))
    target = Target(jnp.asarray(w), data, Supervised(_RANKED, "mse"), n)
    exact, se = gibbs(target, POSTERIOR.resolved_nbeta(n), POSTERIOR.gamma)
    print(f"reduced rank: exact {exact:.4g} ± {se:.2g} (Gibbs)", file=sys.stderr, flush=True)
    return Problem(_ranked_loss, w, data, exact)


TARGETS: dict[str, Callable[[int], Problem]] = {
    "quadratic": quadratic,
    "linear regression": regression,
    "two weights": two_weights,
    "reduced rank": lambda seed: reduced_rank(),
}


def run(target: str, sampler: str, seed: int, rel_se: float) -> dict[str, Any]:
    """Return one row; its error is in units of the run's own standard error."""
    problem = TARGETS[target](seed)
    began = time.process_time()
    found = estimate_llc(
        problem.loss, problem.params, problem.data,
        sampler=sampler, rel_se=rel_se, seed=seed, progress=False,
    )  # fmt: skip
    low, high = found.interval or (np.nan, np.nan)
    known = found.llc is not None and found.se is not None
    return {
        "target": target,
        "sampler": sampler,
        "seed": seed,
        "rel_se": rel_se,
        "exact": problem.exact,
        "llc": found.llc,
        "se": found.se,
        "covered": bool(low <= problem.exact <= high),
        "verdict": found.verdict,
        "reasons": found.reasons,
        "error": (found.llc - problem.exact) / found.se if known else None,
        "draws": int(found.trace.loss.shape[1]),
        "gradients": found.work_fge,
        "seconds": time.process_time() - began,
    }


def summary(runs: pd.DataFrame) -> pd.DataFrame:
    """Return one line per target and sampler."""
    lines = []
    for (target, sampler), cell in runs.groupby(["target", "sampler"], sort=False):
        ok = cell[cell.verdict == "ok"]
        lines.append(
            {
                "target": target,
                "sampler": sampler,
                "runs": len(cell),
                "covered %": 100 * cell.covered.mean(),
                "ok %": 100 * len(ok) / len(cell),
                "covered of ok %": 100 * ok.covered.mean() if len(ok) else np.nan,
                "gradients": cell.gradients.mean(),
                "error in se": cell.error.mean(),
                "its spread": cell.error.std(ddof=1),
                "mean error %": 100 * (cell.llc / cell.exact - 1).mean(),
                "CPU s": cell.seconds.median(),
            }
        )
    return pd.DataFrame(lines)


def collect(
    out: Path, targets: list[str], samplers: list[str], seeds: int, rel_se: float
) -> pd.DataFrame:
    """Make the selected runs that are not in the file yet, and return all selected ones."""
    file = out / "stopped.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    kept = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    key = ("target", "sampler", "seed", "rel_se")
    made = {tuple(row[name] for name in key): row for row in kept}
    rows = []
    for target in targets:
        for sampler in samplers:
            for seed in range(seeds):
                at = (target, sampler, seed, rel_se)
                if at not in made:
                    made[at] = run(*at)
                    with file.open("a") as lines:
                        lines.write(json.dumps(made[at]) + "\n")
                rows.append(made[at])
            print(f"made {target}, {sampler}", file=sys.stderr, flush=True)
    return pd.DataFrame(rows)


def _chosen(names: Any, wanted: str) -> list[str]:
    return [name for name in names if any(part in name for part in wanted.split(","))]


def main() -> None:
    """Measure the cells, print a table and hold it against the bar."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--targets", default="", help="names that hold one of these")
    parser.add_argument("--samplers", default="", help="names that hold one of these")
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--rel-se", type=float, default=0.05)
    parser.add_argument("--out", type=Path, default=Path("bench/out"))
    parser.add_argument("--docs", type=Path, help="a page with a place for the table")
    given = parser.parse_args()
    targets, samplers = _chosen(TARGETS, given.targets), _chosen(SAMPLERS, given.samplers)
    table = summary(collect(given.out, targets, samplers, given.seeds, given.rel_se))
    print(markdown(table, 3))
    if given.docs:
        rewrite(given.docs, "stopped", markdown(table, 3))
    low = table[table["covered of ok %"] < 100 * BAR]
    if len(low):
        cells = [f"{at.sampler} on {at.target}" for at in low.itertuples()]
        raise SystemExit(f"outside the bar: {', '.join(cells)}")


if __name__ == "__main__":
    main()
