"""One loss for every test of a sampler, so that each sampler is compiled once for all of them.

L(w) = mean over rows of  (x . w - y)^2 / 2  +  q (w_0 w_1)^2  +  a (exp(w_2) - w_2 - 1).
The rows' x see only the last coordinates where q or a is on, so the parts are independent and the
exact answer is a sum: rotated quadratic of any spectrum, normal crossing of degree 4, one-sided
wall.
"""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

D, N = 12, 48
NBETA = 1e4


@dataclasses.dataclass(frozen=True)
class Mixed:
    has_per_example: bool = True

    def per_example(self, w, batch):
        x, y, q, a = batch
        return 0.5 * (x @ w - y) ** 2 + q * (w[0] * w[1]) ** 2 + a * (jnp.exp(w[2]) - w[2] - 1)

    def mean(self, w, batch):
        return jnp.mean(self.per_example(w, batch))


class Case(NamedTuple):
    """A posterior's ingredients, and nbeta (E[L] - L(w*)) computed without sampling."""

    data: tuple
    nbeta: float
    gamma: float
    oracle: float


def _rows(h, rng, noise):
    """Rows whose second moment is Q diag(h) Q^T, and labels that leave w* = 0 the minimum."""
    d = len(h)
    basis, _ = np.linalg.qr(rng.normal(size=(N, d)))
    rotation, _ = np.linalg.qr(rng.normal(size=(d, d)))
    x = np.sqrt(N) * basis * np.sqrt(h) @ rotation.T
    y = noise * rng.normal(size=N)
    return x, y - basis @ (basis.T @ y)


def quadratic(condition, *, rank=D, gamma=1.0, noise=0.0, seed=0):
    from lambda_hat_core.truth import oracles

    h = np.zeros(D)
    h[:rank] = condition ** -np.linspace(0, 1, rank)
    x, y = _rows(h, np.random.default_rng(seed), noise)
    zero = np.zeros(N)
    return Case((x, y, zero, zero), NBETA, gamma, oracles.quadratic(h, NBETA, gamma))


def singular(gamma=1.0):
    """A crossing in (w_0, w_1), a wall in w_2, a quadratic of condition 100 in the rest."""
    from lambda_hat_core.truth import oracles, quadrature

    h = 100 ** -np.linspace(0, 1, D - 3)
    x, y = _rows(h, np.random.default_rng(1), 0.0)
    x = np.concatenate([np.zeros((N, 3)), x], axis=1)
    crossing = quadrature.potential(lambda w: (w[:, 0] * w[:, 1]) ** 2, np.zeros(2), NBETA, gamma)
    wall = quadrature.potential(
        lambda w: 1e-3 * (np.exp(w[:, 0]) - w[:, 0] - 1), np.zeros(1), NBETA, gamma
    )
    ones = np.ones(N)
    oracle = crossing + wall + oracles.quadratic(h, NBETA, gamma)
    return Case((x, y, ones, 1e-3 * ones), NBETA, gamma, oracle)


def posterior(case):
    from lambda_hat_core.posterior import Posterior

    return Posterior(
        w0=jnp.asarray(np.zeros(D)),
        data=tuple(map(jnp.asarray, case.data)),
        nbeta=jnp.asarray(np.float64(case.nbeta)),
        gamma=jnp.asarray(np.float64(case.gamma)),
        loss=Mixed(),
        n=N,
    )


def run(case, sampler, *, seed=0, **kwargs):
    import jax

    from lambda_hat_core.config.posterior import PosteriorSpec
    from lambda_hat_core.config.spec import RunSpec
    from lambda_hat_core.samplers import sample

    spec = RunSpec(
        target="tgt_000000000000",
        sampler=sampler,
        posterior=PosteriorSpec(nbeta=case.nbeta, gamma=case.gamma),
        seed=seed,
        dtype="float64" if jax.config.jax_enable_x64 else "float32",
    )
    return sample(posterior(case), spec, **kwargs)
