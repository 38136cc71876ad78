"""Grokking against its published reading: `lambda-hat run grokking; python bench/grokking.py`.

The published curve is the mean over all 500 draws of SGLD chains that begin at w*, as in the
notebook on grokking of devinterp (step size 3e-3, nbeta 2, gamma 5, batches of 128). This makes
the same means at the checkpoints of the experiment `grokking`, in a loop that shares nothing with
the samplers, and compares both curves with what is known of their shape.

`python bench/grokking.py [--home runs] [--docs docs/X.md]`
"""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pandas as pd
from pages import arguments, markdown, rewrite

from lambda_hat_core import targets
from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.config.spec import TargetSpec
from lambda_hat_core.plan.plan import load_plan
from lambda_hat_core.posterior import Loss
from lambda_hat_core.store import sql
from lambda_hat_core.store.store import Store

NBETA, GAMMA, STEP_SIZE, BATCH, DRAWS, CHAINS = 2.0, 5.0, 3e-3, 128, 500, 4
EVERY = 5
"""One in so many checkpoints is in the table."""
LATE = 18_500
"""The step from which the published curve is level."""


@partial(jax.jit, static_argnums=0)
def chain(loss: Loss, w0: jax.Array, x: jax.Array, y: jax.Array, key: jax.Array) -> jax.Array:
    """Return nbeta (L - L(w*)) at every draw of a chain that begins at w*."""

    def step(w: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        rows_key, noise_key = jr.split(key)
        rows = jr.randint(rows_key, (BATCH,), 0, len(x))
        pull = NBETA * jax.grad(loss.mean)(w, (x[rows], y[rows])) + GAMMA * (w - w0)
        w = w - STEP_SIZE / 2 * pull + STEP_SIZE**0.5 * jr.normal(noise_key, w.shape)
        return w, NBETA * loss.mean(w, (x, y))

    return jax.lax.scan(step, w0, jr.split(key, DRAWS))[1] - NBETA * loss.mean(w0, (x, y))


def plain(store: Store, spec: TargetSpec) -> tuple[float, float]:
    """Return the mean over all draws, and over the second half of them."""
    at = targets.load(spec, store.path("targets", spec.id), PosteriorSpec(nbeta=NBETA, gamma=GAMMA))
    assert at.data is not None
    w0 = jnp.asarray(at.w0, jnp.float32)
    found = np.stack([chain(at.loss, w0, *at.data, key) for key in jr.split(jr.key(0), CHAINS)])
    return float(found.mean()), float(found[:, DRAWS // 2 :].mean())


def curve(store: Store) -> pd.DataFrame:
    """Return one row for each checkpoint: ours, the plain mean, and how well it has learned."""
    plan = load_plan("grokking", Path(__file__).parents[1] / "config")
    table = sql.query(
        store,
        "select target_id, step, llc, llc_se as se, verdict, metric as accuracy from llc join "
        "trajectories using (trajectory_id, step, target_id) where sampler = 'sghmc' order by step",
    )
    rows = pd.DataFrame(table.rows, columns=table.names)
    shown = rows[rows.target_id.isin(plan.targets)].iloc[::EVERY]
    means = [plain(store, plan.targets[id]) for id in shown.target_id]
    rows["plain"] = pd.Series([all for all, _ in means], shown.index)
    rows["second half"] = pd.Series([half for _, half in means], shown.index)
    return rows


def main() -> None:
    """Print the table and what is known of the curve's shape."""
    given = arguments(str(__doc__))
    rows = curve(Store(given.home))
    shown = rows.dropna().drop(columns="target_id")
    print(markdown(shown))
    if given.docs:
        rewrite(given.docs, "grokking", markdown(shown))
    late = rows[rows.step >= LATE]
    for name in ("llc", "plain"):
        level, peak = late[name].mean(), rows[name].max()
        near = rows[rows[name] < 1.1 * level].query("step > 5000").iloc[0]
        print(
            f"{name}: peak {peak:.1f} at step {rows.step[rows[name].idxmax()]}, level {level:.1f}, "
            f"peak / level {peak / level:.2f}; within 10 % of the level from step {near.step} on, "
            f"where the test accuracy is {near.accuracy:.3f}"
        )


if __name__ == "__main__":
    main()
