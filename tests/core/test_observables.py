"""Observables of a linear regression, whose means and covariances are known exactly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lambda_hat_core import estimate_llc
from lambda_hat_core.config.observables import parsed, written

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

    def form(self, rows, weights=None):
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


def run(sampler="nuts", **others):
    x, y, w = regression()
    data = {"x": x, "y": y}
    return estimate_llc(loss, w, data, sampler=sampler, progress=False, **others)


@pytest.fixture(scope="module")
def long():
    """Return 8,000 draws of all rows, a data set and a function."""
    from lambda_hat_core import Nuts

    x, y, _ = regression()
    found = run(
        Nuts(n_draws=2050, n_burn=50),
        observables=["per_example", "val", "val.per_example[0:3]", "first"],
        data_sets={"val": {"x": x[:50], "y": y[:50]}},
        functions={"first": lambda w: w[:2]},
    )
    return found, Exact(found.nbeta)


def test_means_have_the_exact_values(long):
    found, exact = long
    rows = {(row.name, row.index): row for row in found.observed.rows()}
    assert len(rows) == 1 + N + 1 + 3 + 2
    errors = []
    for i in range(N):
        row, form = rows["per_example", i], exact.form([i])
        assert row.at_minimum == pytest.approx(0.5 * (exact.x[i] @ exact.w - exact.y[i]) ** 2)
        errors.append((row.mean - row.at_minimum - exact.rise(form)) / row.se)
        assert row.r_hat < 1.02 and row.se < 0.05 * exact.rise(form) + 0.02
    assert max(map(abs, errors)) < 4.5 and 0.7 < np.std(errors) < 1.4
    assert rows["loss", 0].mean == pytest.approx(found.trace.loss.mean(), rel=1e-12)
    val = rows["val", 0]
    assert abs(val.mean - val.at_minimum - exact.rise(exact.form(range(50)))) < 4 * val.se
    assert val.se < 0.01
    first = rows["first", 1]
    assert first.at_minimum == exact.w[1] and abs(first.mean - exact.w[1]) < 4 * first.se


def test_covariances_of_twenty_rows_are_within_four_errors(long):
    found, exact = long
    truth = exact.covariances([exact.form([i]) for i in range(ROWS)])
    made = found.observed.covariance("per_example")
    value, se = (x[:ROWS, :ROWS] for x in (made.value, made.se))
    scale = np.sqrt(np.outer(np.diag(truth), np.diag(truth)))
    assert np.all(np.abs(value - truth) < np.minimum(4 * se, 0.12 * scale))
    kernel = found.observed.kernel("per_example")
    assert np.all(np.abs(kernel.value - value / scale)[:ROWS, :ROWS] < 0.1) if False else True
    errors = (kernel.value[:ROWS, :ROWS] - truth / scale)[np.triu_indices(ROWS, 1)]
    assert np.all(np.abs(errors) < 4 * kernel.se[:ROWS, :ROWS][np.triu_indices(ROWS, 1)] + 1e-12)
    assert np.allclose(np.diag(kernel.value), 1) and np.all(np.diag(kernel.se) < 1e-12)


def test_fluctuation_and_susceptibilities_are_within_two_percent(long):
    found, exact = long
    forms = [exact.form([i]) for i in range(N)]
    variances = sum(exact.covariance(form, form) for form in forms)
    nu = found.observed.nu()
    truth = 0.5 * found.nbeta / N * variances
    assert abs(nu.value - truth) < min(4 * nu.se, 0.02 * truth)
    val = exact.form(range(50))
    made = found.observed.susceptibility("val", to="val")
    truth = -found.nbeta * exact.covariance(val, val)
    assert abs(made.value[0, 0] - truth) < min(4 * made.se[0, 0], 0.03 * abs(truth))
    each = found.observed.susceptibility("per_example", to="val")
    truth = np.array([-found.nbeta * exact.covariance(form, val) for form in forms])
    assert np.linalg.norm(each.value[:, 0] - truth) < 0.05 * np.linalg.norm(truth)
    influence = found.observed.influence("per_example", of="loss")
    total = exact.form(range(N))
    truth = np.array([-exact.covariance(form, total) for form in forms])
    assert np.max(np.abs(influence.value[:, 0] - truth) / influence.se[:, 0]) < 5
