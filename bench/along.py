"""The LLC of a deep linear net along its training: `python bench/along.py [--docs docs/X.md]`.

Trained from small weights, a linear net of two layers learns one singular direction of its truth
after the other, and waits in between. At a plateau it has rank r; under its own labels every
checkpoint is an exact minimum, whose coefficient is that of reduced-rank regression at rank r
(Aoyagi & Watanabe 2005). Every estimate is compared with the mean of the posterior itself, by Gibbs
sampling, and the estimates at two nbeta with the exact coefficient.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from pages import markdown, rewrite
from references import gibbs

from lambda_hat_core import Nuts, llc_along
from lambda_hat_core.analysis.figures import style
from lambda_hat_core.analysis.figures.curve import CurveSeries, along_figure
from lambda_hat_core.analysis.figures.style import ReferenceLine
from lambda_hat_core.posterior import Target
from lambda_hat_core.targets.losses import Supervised
from lambda_hat_core.targets.networks import DeepLinearNetwork
from lambda_hat_core.truth.coefficients import reduced_rank

WIDTHS = (5, 6)
STRENGTHS = 2.0 ** -np.arange(8.0) * 4
"""Singular values of the truth, each half of the one before, so that there is a plateau between."""
SMALL = 1e-12
RATE, EVERY = 0.05, 10
AFTER = 1.1
"""When a plateau is looked at, in units of the time at which its last direction was learnt."""

NBETAS = (300.0, 3000.0)
"""Ascending: the coefficient is judged at the last."""
GAMMA = 1.0
SAMPLER = Nuts(n_chains=4, n_draws=600, n_burn=100, n_warmup=150, target_acceptance=0.9)
FROM_POSTERIOR, FROM_EXACT = 0.02, 0.05
"""Largest relative distance of an estimate from the posterior's own value, beyond 4 se, and of the
coefficient fitted at the largest nbeta from the exact one."""


class Plateau(NamedTuple):
    """A checkpoint in the middle of a plateau."""

    rank: int
    step: int
    params: list[np.ndarray]


def trained(width: int) -> tuple[np.ndarray, np.ndarray, list[Plateau]]:
    """Return inputs, labels, checkpoints by step, and one checkpoint of every plateau.

    The loss depends on the inputs only by their second moments, which are those of any number of
    whitened examples, so there are as many examples as inputs.
    """
    rng = np.random.default_rng(0)
    x = np.eye(width) * width**0.5
    left, right = (np.linalg.qr(rng.normal(size=(width, width)))[0] for _ in range(2))
    truth = left * STRENGTHS[:width] @ right
    # Balanced small weights, in which the directions of the truth are there from the beginning.
    turn = np.linalg.qr(rng.normal(size=(width, width)))[0]
    layers = [SMALL**0.5 * left @ turn, SMALL**0.5 * turn.T @ right]
    plateaus, step = [], 0
    until = [0.25 * _learnt(STRENGTHS[0]), *(AFTER * _learnt(s) for s in STRENGTHS[:width])]
    for rank, end in enumerate(until):
        while step < end:
            for _ in range(EVERY):
                miss = layers[0] @ layers[1] - truth
                pull = miss @ layers[1].T, layers[0].T @ miss
                layers = [w - RATE * p for w, p in zip(layers, pull, strict=True)]
            step += EVERY
        plateaus.append(Plateau(rank, step, layers))
    return x, x @ truth, plateaus


def _learnt(strength: float) -> float:
    """Return the step at which a direction is learnt: it grows by exp(2 strength RATE) a step."""
    return float(np.log(strength / SMALL) / (2 * strength * RATE))


def outputs(params: Any, batch: Any) -> Any:
    """Return the outputs of the net."""
    return batch[0] @ params[0] @ params[1]


def loss(params: Any, batch: Any) -> Any:
    """Return the mean squared error."""
    return jnp.mean((outputs(params, batch) - batch[1]) ** 2)


def exact(width: int, params: list[np.ndarray], x: np.ndarray, nbeta: float) -> tuple[float, float]:
    """Return the posterior's own value around a checkpoint under its own labels."""
    with jax.enable_x64(True):
        w = jnp.asarray(np.concatenate([layer.ravel() for layer in params]))
        network, inputs = DeepLinearNetwork((width,) * 3), jnp.asarray(x)
        data = (inputs, network.apply(w, inputs))
        return gibbs(Target(w, data, Supervised(network, "mse"), width), nbeta, GAMMA)


def ladder(width: int, nbetas: Sequence[float]) -> tuple[list[dict[str, Any]], list[CurveSeries]]:
    """Return one row for each plateau and nbeta, and the curves."""
    x, y, plateaus = trained(width)
    rows, series = [], []
    for nbeta in nbetas:
        posterior = {"loss": "self_labelled", "nbeta": nbeta, "gamma": GAMMA}
        found = llc_along(
            loss,
            ((at.step, at.params) for at in plateaus),
            (x, y),
            sampler=SAMPLER,
            posterior=posterior,
            outputs=outputs,
        )
        beside = {"loss": ([at.step for at in plateaus], [c.loss for c in found.checkpoints])}
        shown = {} if series else beside
        series.append(CurveSeries(f"nβ = {nbeta:g}", found.curve, shown))
        for at, checkpoint in zip(plateaus, found.checkpoints, strict=True):
            known = reduced_rank(width, width, width, at.rank)
            own, own_se = exact(width, at.params, x, nbeta)
            llc, se = checkpoint.found.llc, checkpoint.found.se
            assert llc is not None and se is not None
            room = 4 * (se**2 + own_se**2) ** 0.5 + FROM_POSTERIOR * own
            fitted = llc + (known.multiplicity - 1) / np.log(nbeta)
            rows.append(
                {
                    "net": "-".join([str(width)] * 3),
                    "rank": at.rank,
                    "step": at.step,
                    "nbeta": nbeta,
                    "llc": llc,
                    "se": se,
                    "verdict": checkpoint.found.verdict,
                    "posterior": own,
                    "fitted": fitted,
                    "lambda": float(known.llc),
                    "inside": abs(llc - own) <= room,
                }
            )
            print(rows[-1], flush=True)
    return rows, series


def main() -> None:
    """Run the ladders, write their table and figure, and compare them with the exact values."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n\n")[0])
    parser.add_argument("--docs", type=Path, help="a page with a place for the table")
    options = parser.parse_args()
    rows = []
    for width in WIDTHS:
        found, series = ladder(width, NBETAS)
        rows += found
        if options.docs and width == WIDTHS[0]:
            values = dict.fromkeys(row["lambda"] for row in found)
            lines = [ReferenceLine(v, "_" if i else "exact λ", ":") for i, v in enumerate(values)]
            title = f"Linear net {found[0]['net']} from small weights, under its own labels"
            said = "one checkpoint at the plateau of each rank"
            figure = along_figure(series, title, said=said, axis="log", lines=lines)
            style.save(figure, options.docs.with_name("ladder.png"))
    table = pd.DataFrame(rows)
    if options.docs:
        rewrite(options.docs, "ladder", markdown(table.drop(columns="inside")))
    outside = table.query("not inside")
    off = (table["fitted"] / table["lambda"] - 1).abs()
    far = table.assign(off=off).query("nbeta == @NBETAS[-1] and off > @FROM_EXACT")
    if len(outside) or len(far):
        raise SystemExit(
            f"not the posterior's own value:\n{outside.to_string()}\n"
            f"not the exact coefficient:\n{far.to_string()}"
        )


if __name__ == "__main__":
    main()
