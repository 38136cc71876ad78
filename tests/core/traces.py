"""Synthetic traces whose exact answers are known."""

from typing import Any

import numpy as np
from scipy.signal import lfilter


def ar1(rng: np.random.Generator, n_chains: int, n_draws: int, rho: float) -> np.ndarray:
    """Return stationary AR(1) chains with mean 0 and variance 1."""
    noise = rng.normal(size=(n_chains, n_draws))
    noise[:, :1] /= np.sqrt(1 - rho**2)
    return np.sqrt(1 - rho**2) * lfilter([1.0], [1.0, -rho], noise, axis=1)


def trace(
    seed: int = 0,
    *,
    n_chains: int = 4,
    n_draws: int = 500,
    rho: float = 0.5,
    d: int = 10,
    **changes: Any,
):
    """Return a trace whose LLC draws are half a chi-squared variable, so that the LLC is d / 2."""
    from lambda_hat_core.samplers.trace import Trace

    rng = np.random.default_rng(seed)
    points = np.stack([ar1(rng, n_chains, n_draws, rho) for _ in range(d)])
    nbeta, loss0, work = 200.0, 0.125, 40.0 + 10.0 * np.arange(1.0, n_draws + 1)
    llc = 0.5 * np.sum(points**2, axis=0)
    made = Trace(
        loss=loss0 + llc / nbeta,
        dist2=np.sum(points**2, axis=0) / nbeta,
        projections=np.moveaxis(points[:2], 0, 2) / np.sqrt(nbeta),
        virial=2 * llc / d,
        virial_m=2 * llc / d,
        cumulative_fge=work,
        seconds=0.5 + 0.01 * np.arange(1.0, n_draws + 1),
        stats={
            "energy": 2 * llc + rng.normal(size=llc.shape),
            "diverging": np.zeros_like(llc),
            "acceptance_rate": np.full_like(llc, 0.8),
        },
        loss0=loss0,
        nbeta=nbeta,
        gamma=1.0,
        n=1000,
        d=d,
        work={"adaptation": 40.0, "sampling": 10.0 * n_draws},
        seconds_total=7.5,
        info={"step_size": 0.25, "metric": "lanczos"},
    )
    return made._replace(**changes)


def quadratic_at_several_nbeta(n_draws=2000, rates=0.4, trips=1.0):
    """Return a trace of independent draws with replicas, and the llc and log evidence of each."""
    rng, h, gamma = np.random.default_rng(0), np.array([0.1, 1.0, 3.0]), 2.0
    ladder = np.array([1000.0, 200.0, 30.0, 4.0, 0.0])
    w = rng.normal(size=(4, n_draws, 5, 3)) / np.sqrt(ladder[:, None] * h + gamma)
    loss = 0.125 + 0.5 * np.sum(h * w**2, axis=-1)
    plain = trace(n_draws=n_draws)
    made = plain._replace(
        loss=loss[:, :, 0],
        nbeta=1000.0,
        gamma=gamma,
        d=3,
        stats={
            "replica_loss": loss,
            "replica_acceptance": np.full(loss.shape, 0.7),
            "exchange_rate": np.full((4, n_draws, 4), rates),
            "round_trips": np.full((4, n_draws), trips),
        },
        info={**plain.info, "nbeta": ladder.tolist()},
    )
    evidence = -0.5 * np.sum(np.log1p(ladder[:, None] * h / gamma), axis=1)
    return made, 0.5 * np.sum(ladder[:, None] * h / (ladder[:, None] * h + gamma), 1), evidence


def replicated():
    """Return a trace with replicas."""
    return quadratic_at_several_nbeta(200)[0]
