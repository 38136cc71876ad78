"""L-BFGS, Newton steps and the audit on losses with known minima."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from lambda_hat_core.config.training import Training
from lambda_hat_core.targets import lbfgs
from lambda_hat_core.targets.audit import audit
from lambda_hat_core.targets.infinity import separated
from lambda_hat_core.targets.losses import Supervised
from lambda_hat_core.targets.networks import MlpNetwork
from lambda_hat_core.targets.newton import newton_step
from lambda_hat_core.targets.polish import polish
from lambda_hat_core.targets.potentials import Potential, QuadraticPotential
from lambda_hat_core.targets.problem import Problem


@dataclass(frozen=True)
class Rosenbrock(Potential):
    def mean(self, w, batch):
        return jnp.sum(100 * (w[1:] - w[:-1] ** 2) ** 2 + (1 - w[:-1]) ** 2)


@dataclass(frozen=True)
class Saddle(Potential):
    """Minima at (+-1, 0); the origin is a saddle with gradient 0."""

    def mean(self, w, batch):
        return (w[0] ** 2 - 1) ** 2 + w[1] ** 2


@dataclass(frozen=True)
class Kink(Potential):
    """Mean over the batch of |w0 - a_i| + w1^2 - w1: a median, where the gradient jumps."""

    def mean(self, w, batch):
        return jnp.mean(jnp.abs(w[0] - batch[0])) + w[1] ** 2 - w[1]


@dataclass(frozen=True)
class Given(Potential):
    """A potential that is given as a function."""

    function: Callable

    def mean(self, w, batch):
        return self.function(w)


def problem(loss, start, data=None, n=1000):
    start = jnp.asarray(np.array(start, float))
    return Problem(loss, data, n, start, (("w", start.shape),))


def settle(loss, start, data=None, n=1000, **fields):
    at = problem(loss, start, data, n)
    found = polish(jr.key(0), at, at.start, Training(**fields), 144.8, lambda line: None)
    return found, audit(jr.key(1), at, found.w, nbeta=144.8, gamma=1.0)


def test_lbfgs_finds_the_minimum_of_a_curved_valley(x64):
    loss = Rosenbrock()
    state = lbfgs.start(loss, jnp.asarray(np.array([2.0, *[-1.0] * 5])), None)
    state = lbfgs.advance(loss, state, None, 500, jnp.asarray(1e-10))
    np.testing.assert_allclose(state.w, 1.0, atol=1e-8)
    assert int(state.evaluations) < 400


def test_lbfgs_copes_with_kinks(x64):
    loss, a = Kink(), (jnp.array([-3.0, 0.0, 0.5, 1.0, 7.0]),)
    state = lbfgs.start(loss, jnp.array([30.0, 4.0]), a)
    state = lbfgs.advance(loss, state, a, 200, jnp.asarray(1e-10))
    np.testing.assert_allclose(state.w, 0.5, atol=1e-5)


def test_one_newton_step_minimises_a_quadratic(x64):
    loss = QuadraticPotential(6, condition=1e6, seed=1)
    start, radius = jnp.ones(6), 10.0
    step = newton_step(jr.key(0), loss, start, None, radius, rank=6)
    np.testing.assert_allclose(step.w, 0.0, atol=1e-8)
    short = newton_step(jr.key(0), loss, start, None, 0.5, rank=6)
    assert float(jnp.linalg.norm(short.w - start)) == pytest.approx(0.5, rel=1e-6)
    krylov = newton_step(jr.key(0), loss, start, None, radius, rank=3)
    assert 0 < float(krylov.loss) < float(loss.mean(start, None))


def test_a_newton_step_escapes_from_a_saddle(x64):
    start = jnp.array([0.0, 1e-3])
    step = newton_step(jr.key(0), Saddle(), start, None, 0.5, rank=2)
    assert float(step.loss) < 0.7 and abs(float(step.w[0])) > 0.4


def test_a_newton_step_uphill_is_rejected(x64):
    step = newton_step(jr.key(0), Saddle(), jnp.array([3.0, 0.0]), None, 9.0, rank=2)
    assert float(step.loss) <= 64.0 and float(step.radius) <= 9.0


@pytest.mark.parametrize("how", ["newton_cg", "lbfgs"])
def test_polish_ends_at_a_minimum_that_passes_the_audit(x64, how):
    found, seen = settle(Rosenbrock(), [-1.2, 1.0, -0.5], polish=how)
    np.testing.assert_allclose(found.w, 1.0, atol=1e-7)
    assert found.stopped == "gradient below grad_tol"
    assert seen.reasons == () and seen.exact and seen.off_centre_bias < 1e-12


@pytest.mark.parametrize("grad_tol", [1e-5, 1e-9])
def test_the_polish_reaches_the_requested_gradient_norm(x64, grad_tol):
    """L-BFGS converges slowly enough to stop just below the tolerance."""
    loss, start = QuadraticPotential(20, condition=1e4, seed=1), np.full(20, 0.1)
    found, seen = settle(loss, start, polish="lbfgs", grad_tol=grad_tol)
    assert found.stopped == "gradient below grad_tol"
    assert 1e-3 * grad_tol < seen.grad_norm <= grad_tol


def test_a_polish_that_reaches_its_step_limit_says_so(x64):
    found, seen = settle(Rosenbrock(), [-1.2, 1.0, -0.5], polish_steps=0)
    assert found.stopped == "polish_steps reached"
    assert "falls by" in seen.reasons[0]


def test_the_audit_measures_the_off_centre_bias(x64):
    h, gamma, nbeta = np.array([4.0, 1.0]), 1.0, 50.0
    delta = np.array([0.02, 0.03])
    at = problem(QuadraticPotential(2, spectrum=(4.0, 1.0), seed=2), [0.0, 0.0])
    centred = audit(jr.key(0), at, at.start, nbeta=nbeta, gamma=gamma)
    np.testing.assert_allclose(centred.spectrum, [1.0, 4.0], rtol=1e-12)
    axis = problem(QuadraticPotential(2, spectrum=(4.0, 1.0)), delta)
    seen = audit(jr.key(0), axis, axis.start, nbeta=nbeta, gamma=gamma)
    expected = 0.5 * nbeta**2 * np.sum((h * delta) ** 2 / (nbeta * h + gamma))
    assert seen.off_centre_bias == pytest.approx(expected, rel=1e-9)
    assert expected > 0.05 and len(seen.reasons) == 1


@pytest.mark.parametrize(("fall", "passes"), [(0.049, True), (0.051, False)])
@pytest.mark.parametrize("kind", ["off centre", "saddle"])
def test_the_audit_accepts_a_fall_of_at_most_a_twentieth(x64, kind, fall, passes):
    nbeta, gamma, h = 50.0, 2.0, 3.0
    if kind == "saddle":
        curvature, point = -2 * fall * gamma / nbeta, 0.0
    else:
        curvature, point = 1.0, np.sqrt(2 * fall * (nbeta + gamma)) / nbeta
    at = problem(QuadraticPotential(2, spectrum=(h, curvature)), [0.0, point])
    seen = audit(jr.key(0), at, at.start, nbeta=nbeta, gamma=gamma)
    assert (seen.reasons == ()) == passes
    assert f"falls by {fall}" in "".join(seen.reasons) or passes


def test_the_audit_detects_a_saddle_without_gradient(x64):
    at = problem(Saddle(), [0.0, 0.0])
    seen = audit(jr.key(0), at, at.start, nbeta=100.0, gamma=1.0)
    assert seen.off_centre_bias == 0 and seen.spectrum[0] == pytest.approx(-4.0)
    assert "eigenvalue -4" in seen.reasons[0]
    assert abs(float(seen.lowest_vector[0])) == pytest.approx(1.0)


def test_the_audit_of_many_dimensions_agrees_with_the_exact_one(x64):
    loss = QuadraticPotential(900, condition=1e3, seed=1)
    at = problem(loss, 1e-2 * np.random.default_rng(0).normal(size=900))
    seen = audit(jr.key(1), at, at.start, nbeta=100.0, gamma=1.0)
    h = loss.eigenvalues()
    slopes = jax.jit(lambda w: (jax.grad(loss.mean)(w, None), jax.hessian(loss.mean)(w, None)))
    gradient, dense = map(np.asarray, slopes(at.start))
    exact = 0.5 * 100.0**2 * gradient @ np.linalg.solve(100 * dense + np.eye(900), gradient)
    assert not seen.exact
    assert seen.off_centre_bias == pytest.approx(exact, rel=1e-3)
    assert seen.spectrum[-1] == pytest.approx(h.max(), rel=1e-6)


def test_a_minimum_at_a_kink_passes_the_audit(x64):
    a = (jnp.array([-3.0, 0.0, 0.5, 1.0, 7.0]),)
    at = problem(Kink(), [0.5 + 1e-9, 0.5], a, n=5)
    seen = audit(jr.key(0), at, at.start, nbeta=30.0, gamma=1.0)
    assert seen.grad_norm == pytest.approx(0.2) and seen.kinked and seen.reasons == ()
    beside = problem(Kink(), [0.8, 0.5], a, n=5)
    away = audit(jr.key(0), beside, beside.start, nbeta=30.0, gamma=1.0)
    assert not away.kinked and len(away.reasons) == 1


POTENTIALS = {
    "sum of |w|": (lambda w: jnp.sum(jnp.abs(w)), [0.0, 0.0, 0.0], ()),
    "|w0 w1|": (lambda w: jnp.abs(w[0] * w[1]), [0.0, 0.0], ()),
    "|w| aside": (lambda w: jnp.sum(jnp.abs(w - 0.3)), [0.0, 0.0], ("to the minimum",)),
    "|w| aside in one": (
        lambda w: jnp.abs(w[0] - 0.3) + w[1] ** 2,
        [0.0, 0.0],
        ("to the minimum",),
    ),
    "-|w|": (lambda w: -jnp.sum(jnp.abs(w)), [0.0, 0.0], ("to the minimum",)),
    "|w0| - |w1|": (lambda w: jnp.abs(w[0]) - jnp.abs(w[1]), [0.0, 0.0], ("to the minimum",)),
    "saddle": (lambda w: w[0] * w[1] + w[1] ** 4, [0.0, 0.0], ("has eigenvalue",)),
    "bent valley": (
        lambda w: 1e3 * (w[1] - w[0] ** 2) ** 2 - 0.1 * w[0] ** 2 / 2,
        [0.0, 0.0],
        ("has eigenvalue",),
    ),
}


@pytest.mark.parametrize("name", POTENTIALS)
def test_what_the_audit_says_of_a_potential_with_kinks(x64, name):
    """Derivatives at a kink are those of one side, so the loss around it decides."""
    function, w, reasons = POTENTIALS[name]
    at = problem(Given(function), w, None, n=1000)
    seen = audit(jr.key(0), at, at.start, nbeta=145.0, gamma=1.0)
    assert len(seen.reasons) == len(reasons), seen.reasons
    assert all(words in why for words, why in zip(reasons, seen.reasons, strict=True))


def test_the_descent_stops_as_soon_as_the_classes_are_separated(x64):
    rows = np.random.default_rng(0).normal(size=(60, 2))
    x, y = jnp.asarray(rows), jnp.asarray((rows[:, 0] > 0).astype(int))
    loss = Supervised(MlpNetwork((2, 2)), "cross_entropy")
    start = jnp.asarray(np.zeros(6))
    assert not separated(loss, start, (x, y))
    found, seen = settle(loss, start, (x, y), n=60)
    assert found.stopped.startswith("classes separated") and separated(loss, found.w, (x, y))
    assert 144.8 * seen.loss0 > 0.05


def test_polish_rejects_a_non_finite_loss(x64):
    with pytest.raises(FloatingPointError, match="not finite at the end of training"):
        settle(Rosenbrock(), [np.nan, 1.0])
