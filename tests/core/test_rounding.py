"""Losses in float32 at a large nbeta: what is averaged, what is not, and what is said."""

import jax.numpy as jnp
import numpy as np
import pytest


def regression():
    """Return w*, data and loss of a regression with 4 weights; its llc is 2 at a large nbeta."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4)).astype(np.float32)
    y = (x @ np.ones(4) + 0.3 * rng.normal(size=300)).astype(np.float32)
    w = np.linalg.lstsq(x, y, rcond=None)[0].astype(np.float32)
    return w, (x, y), lambda w, rows: jnp.mean((rows[0] @ w - rows[1]) ** 2)


def answer(nbeta, **more):
    from lambda_hat_core import estimate_llc

    w, data, loss = regression()
    given = {"posterior": {"nbeta": nbeta}, "sampler": "sghmc", "progress": False}
    return estimate_llc(loss, w, data, **given | more)


def test_the_loss_at_the_minimum_is_exact_where_its_rounding_would_be_seen():
    """Of the same rows in float32 it is 8.5e-9 off, which is 0.85 nats here."""
    w, (x, y), _ = regression()
    found = answer(1e8)
    exact = np.mean((x.astype(float) @ w.astype(float) - y) ** 2)
    assert abs(found.trace.loss0 - exact) < 1e-15
    assert found.verdict == "ok" and found.se < 0.12
    assert abs(found.llc - 2) < 4 * found.se


def test_losses_that_are_too_coarse_are_suspect_and_not_in_float64():
    coarse, fine = answer(1e9), answer(1e9, dtype="float64")
    assert coarse.verdict == "suspect"
    assert "their rounding errors are 2.6 nats" in coarse.reasons[0]
    assert coarse.advice == ("dtype: float64",)
    assert fine.verdict == "ok" and abs(fine.llc - 2) < 4 * fine.se < 0.5


def test_a_potential_is_evaluated_in_float64_and_is_not_coarse():
    """Single losses would be: those of rows in float32 are told apart by .24 nats there."""
    from lambda_hat_core import estimate_llc

    found = estimate_llc(
        lambda w, _: 5.0 + w[0] ** 2 + 2 * w[1] ** 2,
        np.zeros(2, np.float32),
        None,
        n=100,
        posterior={"nbeta": 1e6},
        sampler="sghmc",
        progress=False,
    )
    assert found.settings["dtype"] == "float32" and found.verdict == "ok"
    assert abs(found.llc - 1) < 4 * found.se < 0.25


def test_an_nbeta_beyond_all_digits_is_named():
    with pytest.raises(FloatingPointError, match="nbeta is 1e\\+30, at which the rounding"):
        answer(1e30)
