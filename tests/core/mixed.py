"""One loss for every test of a sampler, so that each sampler is compiled once for all of them.

L(w) = mean over rows of  (x . phi(w) - y)^2 / 2  +  q (w_0 w_1)^2  +  a (exp(w_2) - w_2 - 1).

phi(w) is w, then the entries of A B C with w = (A, B, C) of 2 x 2, then those of W W^T with w = W
of 6 x 2. The rows x select a linear model, a deep linear network or one with quadratic activation.
If q or a is not 0, the rows use only the last coordinates, so the parts are independent and the
exact answer is a sum: rotated quadratic of any spectrum, normal crossing of degree 4, one-sided
wall.
"""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from tests.core import loops

D, N = 12, 48
NBETA = 1e4


def phi(w):
    first, second, third = w.reshape(3, 2, 2)
    product = _times(_times(first, second), third)
    wide = w.reshape(6, 2)
    return jnp.concatenate([w, product.ravel(), _times(wide, wide.T).ravel()])


def _times(a, b):
    """Return a matrix product without calling a library, since the call takes longer."""
    return jnp.sum(a[:, :, None] * b[None, :, :], axis=1)


@dataclasses.dataclass(frozen=True)
class Mixed:
    has_per_example: bool = True

    def per_example(self, w, batch):
        x, y, q, a = batch
        residual = x @ phi(w) - y
        return 0.5 * residual**2 + q * (w[0] * w[1]) ** 2 + a * (jnp.exp(w[2]) - w[2] - 1)

    def mean(self, w, batch):
        return jnp.mean(self.per_example(w, batch))


class Case(NamedTuple):
    """The parts of a posterior, and nbeta (E[L] - L(w*)) computed without sampling."""

    data: tuple
    nbeta: float
    gamma: float
    oracle: float
    w0: np.ndarray = np.zeros(D)


def data(*, linear=0.0, product=0.0, squares=0.0, y=0.0, q=0.0, a=0.0):
    """Return the data; parts of the loss that are not given are switched off."""
    wide = (linear, D), (product, 4), (squares, 36)
    x = np.concatenate([np.broadcast_to(value, (N, size)) for value, size in wide], axis=1)
    return x, *(np.broadcast_to(value, N) for value in (y, q, a))


def _rows(h, rng, noise):
    """Return rows with second moment Q diag(h) Q^T, and labels for which w* = 0 is the minimum."""
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
    return Case(data(linear=x, y=y), NBETA, gamma, oracles.quadratic(h, NBETA, gamma))


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
    oracle = crossing + wall + oracles.quadratic(h, NBETA, gamma)
    return Case(data(linear=x, q=1.0, a=1e-3, y=y), NBETA, gamma, oracle)


def deep_linear(gamma=100.0):
    """Three layers at a truth of full rank, cold: the posterior's answer is lambda itself."""
    from lambda_hat_core.truth import coefficients

    u, v = np.random.default_rng(2).normal(size=(2, N, 2))
    w0 = np.tile(np.eye(2).ravel(), 3)
    llc, _ = coefficients.deep_linear((2, 2, 2, 2), 2)
    rows = data(product=(u[:, :, None] * v[:, None, :]).reshape(N, 4), y=np.sum(u * v, axis=1))
    return Case(rows, NBETA, gamma, llc, w0)


def quadratic_activation(gamma=10.0):
    """Two hidden units of six inputs at a truth of rank 2, cold as well."""
    from lambda_hat_core.truth import coefficients

    z = np.random.default_rng(3).normal(size=(N, 6))
    w0 = np.eye(6)[:, :2].ravel()
    llc, _ = coefficients.quadratic_activation(6, 2, 2)
    squares = (z[:, :, None] * z[:, None, :]).reshape(N, 36)
    return Case(data(squares=squares, y=np.sum(z[:, :2] ** 2, axis=1)), NBETA, gamma, llc, w0)


def posterior(case):
    from lambda_hat_core.posterior import Posterior

    return Posterior(
        w0=jnp.asarray(case.w0),
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
    from lambda_hat_core.sample import sample

    spec = RunSpec(
        target="tgt_000000000000",
        sampler=sampler,
        posterior=PosteriorSpec(nbeta=case.nbeta, gamma=case.gamma),
        seed=seed,
        dtype="float64" if jax.config.jax_enable_x64 else "float32",
    )
    with loops.optimised("drive"):
        return sample(posterior(case), spec, **kwargs)
