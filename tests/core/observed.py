"""A linear regression whose observables have exact means and covariances, and runs of it."""

import jax.numpy as jnp
import numpy as np

from lambda_hat_core import estimate_llc

ROWS, N, D = 20, 500, 10


def regression():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, D)) * np.linspace(0.5, 2.0, D)
    y = x @ rng.normal(size=D) + rng.normal(size=N)
    return x, y, np.linalg.lstsq(x, y)[0]


def loss(w, batch):
    return 0.5 * jnp.mean((batch["x"] @ w - batch["y"]) ** 2)


class Exact:
    """Means and covariances of 1/2 (x.w - y)^2 under N(w*, (nbeta H + gamma)^-1)."""

    def __init__(self, nbeta, gamma=1.0):
        self.x, self.y, self.w = regression()
        self.nbeta = nbeta
        self.s = np.linalg.inv(nbeta * self.x.T @ self.x / N + gamma * np.eye(D))

    def form(self, rows):
        """Return gradient and Hessian at w* of the mean loss of some rows."""
        x, y = self.x[rows], self.y[rows]
        return x.T @ (x @ self.w - y) / len(x), x.T @ x / len(x)

    def covariance(self, one, other):
        (g, h), (k, m) = one, other
        return g @ self.s @ k + 0.5 * np.trace(h @ self.s @ m @ self.s)

    def covariances(self, forms):
        return np.array([[self.covariance(a, b) for a in forms] for b in forms])

    def rise(self, form):
        return 0.5 * np.trace(form[1] @ self.s)


def run(sampler="nuts", first=0, **others):
    """Estimate on rows that begin with the row `first`; the loss is the same in every order."""
    x, y, w = regression()
    data = {"x": np.roll(x, -first, axis=0), "y": np.roll(y, -first)}
    return estimate_llc(loss, w, data, sampler=sampler, progress=False, **others)
