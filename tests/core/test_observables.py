"""Observables of a linear regression, whose means and covariances are known exactly."""

import numpy as np
import pytest

from tests.core.observed import ROWS, Exact, N, regression, run


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
    assert np.linalg.norm(each.value[:, 0] - truth) < 0.07 * np.linalg.norm(truth)
    influence = found.observed.influence("per_example", of="loss")
    total = exact.form(range(N))
    truth = np.array([-exact.covariance(form, total) for form in forms])
    assert np.max(np.abs(influence.value[:, 0] - truth) / influence.se[:, 0]) < 5


def test_intervals_of_covariances_hold_them_in_nine_of_ten_cases():
    """Twenty runs, in each of which ten covariances of rows that no other run uses are looked at.

    Covariances of one run are correlated: they are functions of 55 moments. The rows of a run are
    brought to the places 20 to 39, since observables of other places would be another program.
    """
    from lambda_hat_core import Nuts

    held = []
    for seed in range(20):
        sampler = Nuts(n_draws=250, n_burn=50)
        first = 20 * (seed - 1)
        found = run(sampler, first, observables=["per_example[20:40]"], seed=seed)
        exact, made = Exact(found.nbeta), found.observed.covariance("per_example")
        index = found.observed.index("per_example")
        assert index.tolist() == [*range(20, 40)]
        for k in range(0, 20, 2):
            i, j = first + index[k : k + 2]
            truth = exact.covariance(exact.form([i]), exact.form([j]))
            held.append(abs(made.value[k, k + 1] - truth) <= made.half_width[k, k + 1])
    assert len(held) == 200 and 0.85 <= np.mean(held) <= 0.95


def test_without_the_loss_the_covariances_are_those_of_the_localiser():
    from lambda_hat_core import Nuts

    nuts = Nuts(n_draws=800, n_burn=100)
    found = run(nuts, posterior={"nbeta": 0, "gamma": 4.0}, observables="per_example[0:20]")
    assert found.llc == 0 and found.verdict == "ok", found
    exact = Exact(0.0, gamma=4.0)
    forms = [exact.form([i]) for i in range(ROWS)]
    truth, made = exact.covariances(forms), found.observed.covariance("per_example")
    assert np.all(np.abs(made.value - truth) < 4.5 * made.se)
    rises = np.array([row.mean - row.at_minimum for row in found.observed.rows()[1:]])
    ses = np.array([row.se for row in found.observed.rows()[1:]])
    assert np.all(np.abs(rises - [exact.rise(form) for form in forms]) < 4.5 * ses)
    assert found.observed.susceptibility("per_example", "loss").value == pytest.approx(0.0)


@pytest.mark.parametrize("sampler", ["sgld", "sghmc", "vi"])
def test_samplers_with_biases_that_are_taken_off_record_the_same(sampler):
    found = run(sampler, observables=["per_example[0:20]"], max_fge=12000.0)
    exact, made = Exact(found.nbeta), found.observed.covariance("per_example")
    truth = exact.covariances([exact.form([i]) for i in range(ROWS)])
    scale = np.sqrt(np.outer(np.diag(truth), np.diag(truth)))
    assert np.all(np.abs(made.value - truth) < 5 * made.se + 0.05 * scale)
    assert np.mean(np.abs(made.value - truth) / scale) < 0.2


def test_waic_of_a_posterior_at_temperature_one():
    found = run(posterior={"nbeta": float(N)}, observables=["per_example"], rel_se=0.02)
    exact, made = Exact(float(N)), found.observed
    variances = sum(exact.covariance(f, f) for f in (exact.form([i]) for i in range(N)))
    draws = np.random.default_rng(1).multivariate_normal(exact.w, exact.s, size=20000)
    losses = 0.5 * (draws @ exact.x.T - exact.y) ** 2
    truth = -np.log(np.exp(-losses).mean(axis=0)).mean() + variances / N
    assert made.waic() == pytest.approx(truth, abs=0.001)
