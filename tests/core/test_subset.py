"""Where samplers set themselves up, and the gradients that they take: subsets and batches."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from tests.core import mixed

ROWS = 16
AWAY = np.linspace(0.03, 0.09, mixed.D)


@pytest.fixture
def posterior(x64):
    """Label noise, so that w* is no minimum of the loss of a few rows."""
    return mixed.posterior(mixed.quadratic(100.0, noise=0.5))


def chosen(found, posterior):
    """The row of the data that each row of a subset is."""
    x, few = np.asarray(posterior.data[0]), np.asarray(found.posterior.data[0])
    same = (few[:, None] == x[None]).all(axis=2)
    assert (same.sum(axis=1) == 1).all()
    return same.argmax(axis=1)


def test_the_tilted_loss_of_a_subset_has_the_gradient_of_all_examples_at_the_minimum(posterior):
    from lambda_hat_core.samplers.subset import subset

    found = subset(jr.key(0), posterior, ROWS)
    few = found.posterior
    index = chosen(found, posterior)
    assert len(set(index)) == ROWS == few.n
    grad = jax.jit(jax.grad(posterior.loss.mean))
    ours, whole = grad(posterior.w0, few.data), grad(posterior.w0, posterior.data)
    assert np.abs(ours - whole).max() > 0.01
    np.testing.assert_allclose(ours + found.tilt, whole, atol=1e-14)
    assert (found.cost, found.work) == (ROWS / mixed.N, 1 + ROWS / mixed.N)


def test_the_curvature_is_that_of_the_rows_drawn(posterior):
    from lambda_hat_core.samplers.subset import subset

    found = subset(jr.key(0), posterior, ROWS)
    x = np.asarray(posterior.data[0])[chosen(found, posterior), : mixed.D]
    hessian = jax.jit(jax.hessian(found.posterior.potential))(posterior.w0 + AWAY)
    expected = mixed.NBETA * x.T @ x / ROWS + np.eye(mixed.D)
    np.testing.assert_allclose(hessian, expected, atol=1e-8 * mixed.NBETA)


@pytest.mark.parametrize("rows", [mixed.N, mixed.N + 1, None])
def test_examples_that_are_few_enough_are_all_taken(posterior, rows):
    from lambda_hat_core.samplers.subset import subset

    found = subset(jr.key(0), posterior, rows)
    assert found.posterior is posterior
    assert (found.tilt.size, found.cost, found.work) == (0, 1.0, 0.0)


def test_a_control_variate_is_unbiased_and_less_noisy_near_the_minimum(posterior):
    from lambda_hat_core.samplers.gradients import control_variate, plain

    w, keys = posterior.w0 + AWAY, jr.split(jr.key(1), 4000)
    exact = np.asarray(jax.jit(jax.grad(posterior.potential))(w))
    errors = []
    for estimate in (plain(posterior, 8), control_variate(posterior, 8)):
        draws = np.asarray(jax.jit(jax.vmap(estimate, (0, None)))(keys, w))
        se = draws.std(axis=0, ddof=1) / np.sqrt(len(draws))
        assert (se < 0.1 * np.abs(exact).max()).all()
        assert (np.abs(draws.mean(axis=0) - exact) < 5 * se).all()
        errors.append(se)
    assert (errors[1] < 0.2 * errors[0]).all()


def test_a_control_variate_is_exact_at_the_minimum_and_costs_two_gradients(posterior):
    from lambda_hat_core.samplers.gradients import control_variate, plain

    estimate = control_variate(posterior, 8)
    found = jax.jit(jax.vmap(estimate, (0, None)))(jr.split(jr.key(1), 16), posterior.w0)
    exact = jax.jit(jax.grad(posterior.potential))(posterior.w0)
    np.testing.assert_allclose(found, np.broadcast_to(exact, (16, mixed.D)), atol=1e-9)
    assert estimate.work == 2 * 8 / mixed.N
    assert not estimate.is_exact
    assert estimate.on(12).work == 2 * 12 / mixed.N
    full = estimate.on(None)
    assert full.is_exact
    assert full.work == plain(posterior, None).work == 1
    assert full.tilt.size == 0


@pytest.mark.parametrize("condition", [1.0, 1e6])
def test_the_peak_of_a_quadratic_is_its_largest_curvature_in_the_metric(x64, condition):
    """And with fewer Lanczos steps than dimensions it is found to a percent, from below."""
    from lambda_hat_core.linalg.spectrum import hessian_spectrum
    from lambda_hat_core.samplers.coordinates import damped, identity
    from lambda_hat_core.samplers.peaks import peak_curvature

    posterior = mixed.posterior(mixed.quadratic(condition, gamma=2.0))
    spectrum, _ = hessian_spectrum(jr.key(0), posterior)
    points = posterior.w0 + jr.normal(jr.key(1), (3, mixed.D))
    for at, largest in (
        (identity(posterior), mixed.NBETA + 2.0),
        (damped(posterior, spectrum, 5.0), (mixed.NBETA + 2.0) / (mixed.NBETA + 12.0)),
    ):
        peak, work = peak_curvature(jr.key(2), posterior, at, points)
        assert 0.99 * largest < peak < (1 + 1e-9) * largest
        assert work == 2 * 8 * 3


def test_the_peak_is_that_of_the_stiffest_point(x64):
    """On (w_0 w_1)^2 the curvature at (r, 0) is 2 r^2 along w_1, and 0 at w*."""
    from lambda_hat_core.samplers.coordinates import identity
    from lambda_hat_core.samplers.peaks import peak_curvature

    case = mixed.singular()
    posterior = mixed.posterior(case._replace(data=mixed.data(q=1.0)))
    points = jnp.zeros((3, mixed.D)).at[:, 0].set(jnp.asarray([0.0, 0.5, 0.2]))
    peak, _ = peak_curvature(jr.key(2), posterior, identity(posterior), points)
    assert peak == pytest.approx(mixed.NBETA * 2 * 0.5**2 + 1.0, rel=1e-9)


def test_a_control_variate_is_chosen_where_it_spares_examples():
    """Of a regression with 20 weights the noise of residuals asks for thousands of examples."""
    from lambda_hat_core import Sghmc, estimate_llc

    n, d = 20_000, 20
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(n, d)), rng.normal(size=n)
    w = np.linalg.lstsq(x, y, rcond=None)[0]
    stiff = n / np.log(n) * 2 * np.linalg.eigvalsh(x.T @ x / n)

    def loss(w, batch):
        return jnp.mean((batch[0] @ w - batch[1]) ** 2)

    exact = 0.5 * np.sum(stiff / (stiff + 1.0))
    work = {}
    for gradient, batch in (("auto", 128), ("plain", None)):
        found = estimate_llc(
            loss, w, (x, y), sampler=Sghmc(gradient=gradient, until={}), posterior={"gamma": 1.0},
            progress=False,
        )  # fmt: skip
        assert found.verdict == "ok" and abs(found.llc - exact) < 4 * found.se < 0.25 * exact
        chosen = "control_variate" if gradient == "auto" else gradient
        assert (found.settings["gradient"], found.settings["batch_size"]) == (chosen, batch)
        work[gradient] = found.work_fge
    assert work["auto"] < 0.2 * work["plain"]
