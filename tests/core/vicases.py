"""One loss of one shape for every variational test, so that one compilation serves them all."""

import dataclasses

import jax.numpy as jnp
import numpy as np

N, D = 2000, 10


@dataclasses.dataclass(frozen=True)
class Features:
    """L(w) = mean of (x . phi(w) - y)^2 / 2, phi linear, w^2, or w times its neighbour.

    The data choose: rows are (x, y, weights of the three).
    """

    has_per_example: bool = True

    def per_example(self, w, batch):
        x, y, mix = batch
        phi = mix @ jnp.stack([w, w**2, w * jnp.roll(w, -1)])
        return 0.5 * (jnp.sum(x * phi, axis=1) - y) ** 2

    def mean(self, w, batch):
        return jnp.mean(self.per_example(w, batch))


def posterior(x, y, w0, kind, *, nbeta=None, gamma=1.0):
    """Return a posterior around w0; `kind` is 0, 1 or 2."""
    from lambda_hat_core.posterior import Posterior

    mix = np.tile(np.eye(3)[kind], (len(x), 1))
    return Posterior(
        w0=jnp.asarray(w0, float),
        data=tuple(jnp.asarray(array, float) for array in (x, y, mix)),
        nbeta=jnp.asarray(N / np.log(N) if nbeta is None else nbeta, float),
        gamma=jnp.asarray(gamma, float),
        loss=Features(),
        n=len(x),
    )


def regression(seed=0):
    """Return least squares at its minimum, and the exact estimate there."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, D))
    y = x @ rng.normal(size=D) + rng.normal(size=N)
    h = np.linalg.eigvalsh(x.T @ x / N)
    s = h * N / np.log(N)
    return posterior(x, y, np.linalg.lstsq(x, y)[0], 0), 0.5 * np.sum(s / (s + 1))


def quadratic(condition, *, rank=D):
    """Return L = 1/2 w^T H w with eigenvalues 1 .. 1/condition, then zeros, and its answer."""
    rng = np.random.default_rng(1)
    h = np.where(np.arange(D) < rank, float(condition) ** (-np.arange(D) / (D - 1)), 0.0)
    rows, _ = np.linalg.qr(rng.normal(size=(N, D)))
    turn, _ = np.linalg.qr(rng.normal(size=(D, D)))
    s = h * N / np.log(N)
    x = np.sqrt(N) * rows * np.sqrt(h) @ turn
    return posterior(x, np.zeros(N), np.zeros(D), 0), 0.5 * np.sum(s / (s + 1))


def _axes(used):
    """Return data for which the mean of (x . phi)^2 is the sum of phi_j^2 over the axes used."""
    x = np.zeros((N, D))
    rows = np.arange(N)
    x[rows, used[rows % len(used)]] = np.sqrt(len(used))
    return x


def quartic():
    """Return L = 1/2 sum w_j^4, flat to second order, and its answer by quadrature."""
    w = np.linspace(-3, 3, 20001)
    nbeta = N / np.log(N)
    p = np.exp(-0.5 * nbeta * w**4 - 0.5 * w**2)
    exact = D * 0.5 * nbeta * np.sum(p * w**4) / np.sum(p)
    return posterior(_axes(np.arange(D)), np.zeros(N), np.zeros(D), 1), exact


def crossings():
    """Return five normal crossings, L = 1/2 sum (w_2i w_2i+1)^2, and the answer by quadrature."""
    w = np.linspace(-6, 6, 1501)
    potential = 0.5 * N / np.log(N) * np.outer(w, w) ** 2
    p = np.exp(-potential - 0.5 * w[:, None] ** 2 - 0.5 * w**2)
    exact = D / 2 * np.sum(p * potential) / np.sum(p)
    return posterior(_axes(np.arange(0, D, 2)), np.zeros(N), np.zeros(D), 2), exact


def run(target, algo="mfa", *, seed=0, until=None, how=None, **fields):
    """Return the trace of a small run of 700 draws per restart, or one that `until` ends.

    `how` has arguments of `sample`.
    """
    import jax

    from lambda_hat_core.config.posterior import PosteriorSpec
    from lambda_hat_core.config.samplers.vi import Vi
    from lambda_hat_core.config.spec import RunSpec
    from lambda_hat_core.sample import sample

    length = {"n_draws": 700} if until is None else {"until": until}
    spec = Vi(**{"algo": algo, "n_chains": 3, "steps": 800, "lr": 0.02, **length, **fields})
    return sample(
        target,
        RunSpec(
            target="tgt_000000000000",
            sampler=spec,
            posterior=PosteriorSpec(),
            seed=seed,
            dtype="float64" if jax.config.jax_enable_x64 else "float32",
        ),
        **(how or {}),
    )
