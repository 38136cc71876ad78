"""The posterior's own value: every way to it against an independent computation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lambda_hat_core.truth.exact import UNKNOWN, Exact


def custom(loss, w, data, n=None):
    from lambda_hat_core.posterior import Target
    from lambda_hat_core.targets.custom import CustomTarget, problem_of

    n = len(data[0]) if n is None else n
    made = problem_of(CustomTarget(w, loss, data, n), "a test")
    return Target(made.start, made.data, made.loss, made.n)


def found(target, nbeta, gamma):
    from lambda_hat_core.config.data import NoData
    from lambda_hat_core.config.model import Quadratic
    from lambda_hat_core.config.spec import TargetSpec
    from lambda_hat_core.targets.finite import oracle

    return oracle(TargetSpec(model=Quadratic(d=2), data=NoData()), target, nbeta, gamma)


def squares(w, batch):
    x, y = batch
    return jnp.mean((x @ w - y) ** 2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("away", [0.0, 0.3])
def test_linear_regression_has_the_formula_of_a_gaussian(dtype, away):
    """Against the moments of the posterior, from its covariance and mean."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 5)) * np.geomspace(0.1, 3, 5), rng.normal(size=200)
    best = np.linalg.lstsq(x, y)[0]
    w, nbeta, gamma = best + away, 40.0, 2.0
    h = 2 * x.T @ x / len(x)
    covariance = np.linalg.inv(nbeta * h + gamma * np.eye(5))
    mean = covariance @ (nbeta * h @ best + gamma * w)
    centred = 0.5 * (mean - best) @ h @ (mean - best) + 0.5 * np.trace(h @ covariance)
    expected = nbeta * (centred - 0.5 * (w - best) @ h @ (w - best))
    with jax.enable_x64(dtype == "float64"):
        exact = found(custom(squares, w, (x, y)), nbeta, gamma)
    assert exact.value == pytest.approx(expected, rel=1e-9 if dtype == "float64" else 1e-4)
    assert exact.se is None and "Gaussian" in exact.source and exact.word == "exact"
    assert (expected < 0) == (away > 0)


def test_a_quadratic_loss_whose_derivatives_are_not_its_own_has_no_formula(x64):
    """As jnp.abs(z) ** 2 of complex numbers that are 0 at w*: JAX finds no curvature there."""

    def powers(w, batch):
        return jnp.mean(jnp.abs(jnp.fft.fft(w)) ** 2) * jnp.mean(batch[0])

    exact = found(custom(powers, np.ones(3), (np.ones((50, 1)),)), 10.0, 1.0)
    assert exact.value is None and "d is 3" in exact.source


def test_a_loss_that_is_nearly_quadratic_is_not_taken_for_one(x64):
    def bent(w, batch):
        return squares(w, batch) + 1e-3 * jnp.sum(w**4)

    x = np.random.default_rng(0).normal(size=(50, 3))
    exact = found(custom(bent, np.zeros(3), (x, np.zeros(50))), 10.0, 1.0)
    assert exact.value is None and "d is 3" in exact.source


def test_two_parameters_on_data_are_integrated(x64):
    """Against a sum over a fine grid."""
    x = np.random.default_rng(1).normal(size=80)
    w, nbeta, gamma = np.array([0.7, 0.7]), 30.0, 2.0
    y = np.tanh(x * w[0]) * w[1]

    def loss(w, batch):
        x, y = batch
        return jnp.mean((jnp.tanh(x * w[0]) * w[1] - y) ** 2)

    exact = found(custom(loss, w, (x, y)), nbeta, gamma)
    grid = np.linspace(-6, 6, 601)
    a, b = np.meshgrid(w[0] + grid, w[1] + grid, indexing="ij")
    rise = sum((np.tanh(xi * a) * b - yi) ** 2 for xi, yi in zip(x, y, strict=True)) / len(x)
    mass = np.exp(-nbeta * rise - 0.5 * gamma * ((a - w[0]) ** 2 + (b - w[1]) ** 2))
    assert exact.value == pytest.approx(float(np.sum(mass * nbeta * rise) / np.sum(mass)), rel=1e-5)
    assert exact.source == "quadrature in 2 dimensions"


@pytest.mark.parametrize("beyond", [np.inf, np.nan])
def test_a_loss_may_be_infinite_where_there_is_no_mass_but_must_be_known_there(beyond):
    from lambda_hat_core.truth import quadrature

    def loss(points):
        return np.where(np.abs(points[:, 0]) > 5, beyond, points[:, 0] ** 2)

    value = quadrature.potential(loss, np.zeros(1), 50.0, 1.0)
    assert value == (None if np.isnan(beyond) else pytest.approx(0.5 * 100 / 101, rel=1e-6))


def network(widths, rank, *, loss="mse", sigma=1.0, n=300, scale=1.0):
    from lambda_hat_core.posterior import Target
    from lambda_hat_core.targets.losses import Supervised
    from lambda_hat_core.targets.networks import DeepLinearNetwork

    rng = np.random.default_rng(0)
    net = DeepLinearNetwork(widths)
    true = rng.normal(size=(widths[0], rank)) @ rng.normal(size=(rank, widths[-1])) * scale
    w = net.factor(jnp.asarray(true), rank)
    x = rng.normal(size=(n, widths[0]))
    data = (jnp.asarray(x), jnp.asarray(x @ true))
    return Target(w, data, Supervised(net, loss, sigma), n)


@pytest.mark.parametrize("loss", ["mse", "gaussian"])
def test_gibbs_sampling_agrees_with_quadrature_on_a_product_of_two_numbers(x64, loss):
    from lambda_hat_core.targets.finite import _held, _product

    target = network((1, 1, 1), 1, loss=loss, sigma=0.5)
    nbeta, gamma = 12.0, 3.0
    exact = found(target, nbeta, gamma)
    sampled = _product(target, target.loss, target.loss.network, nbeta, _held(gamma, 0.0))
    assert exact.se is None and sampled.se < 0.015 * exact.value
    assert abs(sampled.value - exact.value) < 4 * sampled.se


def test_gibbs_sampling_of_cold_matrices_gives_the_learning_coefficient(x64):
    """At nbeta 1e7 and rank 3 the exact expectation is lambda, half the rank of the product map."""
    exact = found(network((5, 3, 5), 3), 1e7, 1.0)
    assert exact.se < 0.005 * 10.5
    assert abs(exact.value - 10.5) < 4 * exact.se
    assert exact.word == "exact, by Gibbs sampling" and "19200 draws" in exact.source


def test_what_would_take_too_long_is_left_out_with_the_reason(x64):
    assert "would take too long" in found(network((80, 80, 80), 1, n=90), 10.0, 1.0).source
    robust = found(network((3, 2, 3), 1, loss="student_t"), 10.0, 1.0)
    assert robust.value is None and "squared errors" in robust.source


def profile(verdict="ok", gamma=1.0):
    replicas = [
        {"nbeta": nbeta, "llc": llc, "llc_se": se}
        for nbeta, llc, se in [
            (100.0, 2.0, 0.1),
            (10.0, 1.0, 0.2),
            (1.0, 0.5, 0.1),
            (0.0, None, None),
        ]
    ]
    facts = {"verdict": verdict, "loss": "own", "gamma": gamma, "run_id": "run_tempered_0"}
    return facts | {"tempered": {"replicas": replicas}}


def test_a_profile_of_tempered_tells_the_value_at_every_nbeta_in_its_range():
    from lambda_hat_core.analysis.temperature import from_profiles

    at = {"gamma": 1.0 + 1e-7, "loss": "own"}
    assert from_profiles([profile()], nbeta=100.0, **at)[:2] == (2.0, 0.1)
    between = from_profiles([profile()], nbeta=10**1.5, **at)
    assert between.value == pytest.approx(1.5) and between.se == 0.2
    assert between.word == "profile of tempered" and "run_tempered_0" in between.source
    for runs, nbeta in [([profile()], 101.0), ([profile()], 0.5), ([profile("suspect")], 100.0)]:
        assert from_profiles(runs, nbeta=nbeta, **at) is None
    assert from_profiles([profile(gamma=2.0)], nbeta=100.0, **at) is None
    assert from_profiles([profile(gamma=2.0), profile()], nbeta=100.0, **at) is not None


SENTENCES = {
    "nothing known": (None, UNKNOWN, None),
    "exact": (
        16.0,
        Exact(13.4312, None, ""),
        "finite temperature: the posterior's own value at this nbeta and gamma is 13.43 (exact), "
        "lambda is 16",
    ),
    "far": (
        None,
        Exact(11.0, None, ""),
        "finite temperature: the posterior's own value at this nbeta and gamma is 11 (exact), "
        "12 se from the estimate",
    ),
    "no lambda": (
        None,
        Exact(13.4312, 0.02, "", "exact, by Gibbs sampling"),
        "finite temperature: the posterior's own value at this nbeta and gamma is 13.431 ± 0.020 "
        "(exact, by Gibbs sampling)",
    ),
    "lambda alone": (
        16.0,
        Exact(None, None, "d is 97"),
        "finite temperature: lambda = 16, 13 se from the estimate, is the value at infinite nbeta "
        "without a localiser; the posterior's own value at this nbeta and gamma is not known "
        "(d is 97); a run of tempered, or one at a larger posterior.nbeta, tells",
    ),
}


@pytest.mark.parametrize("name", SENTENCES)
def test_the_sentence_about_a_finite_temperature(name):
    from lambda_hat_core.analysis.temperature import finite_temperature

    known, exact, words = SENTENCES[name]
    assert finite_temperature(13.4, 0.2, known, exact) == words
