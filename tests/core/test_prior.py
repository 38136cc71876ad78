"""A Gaussian prior about 0 beside the localiser, on a linear regression with known answers."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from lambda_hat_core import Mala, Posterior, Sghmc, Vi, estimate_llc
from lambda_hat_core.config.base import content_hash
from lambda_hat_core.config.errors import ConfigError
from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.linalg.spectrum import Spectrum
from lambda_hat_core.posterior import Target, localised
from lambda_hat_core.samplers.exchange import Rungs, TemperedKernel
from lambda_hat_core.samplers.modes import middle
from lambda_hat_core.targets.finite import Held, _gaussian, _quadrature
from lambda_hat_core.truth import gibbs

N, NBETA, GAMMA, PRECISION = 60, 40.0, 2.0, 6.0


def regression():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, 3)) * [0.3, 1.0, 1.5]
    y = x @ [1.0, -2.0, 1.5] + 0.3 * rng.normal(size=N)
    return x, y, np.linalg.lstsq(x, y)[0]


def loss(w, batch):
    x, y = batch
    return 0.5 * jnp.mean((x @ w - y) ** 2)


@dataclass(frozen=True)
class Squares:
    """The same loss as `posterior.Loss`."""

    has_per_example: bool = True

    def mean(self, w, batch):
        return loss(w, batch)

    def per_example(self, w, batch):
        x, y = batch
        return 0.5 * (x @ w - y) ** 2


def exact():
    """Return the llc and E|w - w*|^2 of the Gaussian posterior."""
    x, _, w = regression()
    hessian = x.T @ x / N
    spread = np.linalg.inv(NBETA * hessian + (GAMMA + PRECISION) * np.eye(3))
    shift = -PRECISION * spread @ w
    llc = 0.5 * NBETA * (shift @ hessian @ shift + np.trace(hessian @ spread))
    return llc, shift @ shift + np.trace(spread)


SAMPLERS = {
    "mala": Mala(n_draws=2000, n_burn=200),
    "sghmc": Sghmc(n_draws=4000, n_burn=400, batch_size=30),
    "vi": Vi(n_draws=1000, steps=800, M=1, r=1),
}
"""One for each way to the prior: the density, gradients of batches, and its own energy. The other
samplers move in the density too, whose value and gradient are compared with those by hand below."""


@pytest.mark.parametrize("name", SAMPLERS)
def test_samplers_find_the_shifted_gaussian(name):
    x, y, w = regression()
    posterior = Posterior(nbeta=NBETA, gamma=GAMMA, prior={"precision": PRECISION})
    found = estimate_llc(
        loss, w, (x, y), sampler=SAMPLERS[name], posterior=posterior, progress=False
    )
    llc, dist2 = exact()
    assert llc > 2 * 1.5
    assert found.se < 0.05 * llc and found.verdict == "ok"
    below, above = found.interval if name == "vi" else (found.llc, found.llc)
    assert below - 4 * found.se < llc * 1.01 and llc * 0.99 < above + 4 * found.se
    assert abs(found.trace.dist2.mean() / dist2 - 1) < 0.1
    assert found.gamma == pytest.approx(GAMMA) and found.settings["prior"] == PRECISION
    assert abs(found.trace.virial_m.mean() - 1) < 0.15


SPEC = PosteriorSpec(nbeta=NBETA, gamma=GAMMA, prior={"precision": PRECISION})


@pytest.fixture
def posterior(x64):
    x, y, w = regression()
    data = (jnp.asarray(x), jnp.asarray(y))
    return localised(Target(jnp.asarray(w), data, Squares(), N), SPEC)


def test_the_density_and_its_gradient_have_the_prior(posterior):
    w, direction = posterior.w0 + jnp.array([0.3, -0.2, 0.1]), jnp.array([1.0, 2.0, -1.0])
    by_hand = NBETA * loss(w, posterior.data) + 0.5 * PRECISION * jnp.sum(w**2)
    by_hand += 0.5 * GAMMA * jnp.sum((w - posterior.w0) ** 2)
    at_w0 = 0.5 * PRECISION * jnp.sum(posterior.w0**2)
    assert posterior.potential(w) == pytest.approx(float(by_hand - at_w0), rel=1e-12)
    gradient = jax.grad(posterior.potential)(w)
    assert np.allclose(posterior.potential_grad(w, posterior.data), gradient, rtol=1e-12)
    along = NBETA * posterior.loss_grad(w, posterior.data) @ direction
    along += posterior.tether_along(w - posterior.w0, direction)
    assert float(along) == pytest.approx(float(gradient @ direction), rel=1e-12)
    assert np.allclose(posterior.tether_grad(posterior.centre - posterior.w0), 0, atol=1e-12)
    assert float(posterior.localiser) == GAMMA and posterior.prior_precision == PRECISION


def test_a_replica_keeps_its_loss_and_the_hottest_is_drawn_around_the_centre(posterior):
    ones = jnp.ones(3)
    rungs = Rungs(jnp.array([NBETA, 5.0, 0.0]), jnp.full((3, 3), 0.2), 0.2 * ones, 0.5 * ones)
    kernel = TemperedKernel(posterior, rungs, jnp.eye(3), "mala", 1, True)
    state = kernel.init(jr.key(0), posterior.w0)
    (w, values, slopes), _, accepted = kernel._moved(jr.key(1), jr.key(2), state)
    assert float(jnp.sum(jnp.abs(w[:2] - posterior.w0))) > 0, accepted
    for row, value, slope in zip(w, values, slopes, strict=True):
        expected = jax.value_and_grad(loss)(row, posterior.data)
        assert np.allclose(value, expected[0]) and np.allclose(slope, expected[1], atol=1e-9)
    noise = jr.normal(jr.key(2), (3,), w.dtype)
    width = (GAMMA + PRECISION) ** -0.5
    assert np.allclose(w[2], GAMMA / (GAMMA + PRECISION) * posterior.w0 + width * noise)
    gradient = jax.grad(posterior.potential)(w[0])
    moved = state._replace(w=w, loss=values, slope=slopes)
    assert np.allclose(kernel.gradient(jr.key(0), moved)[0], gradient)


def test_the_ledger_counts_from_the_shifted_mean(posterior):
    x, _, w = regression()
    theta, columns = np.linalg.eigh(x.T @ x / N)
    spread = columns @ np.diag(1 / (NBETA * theta + GAMMA + PRECISION)) @ columns.T
    whole = Spectrum(jnp.asarray(theta), jnp.asarray(columns.T), jnp.zeros(()))
    assert np.allclose(middle(posterior, whole), w - PRECISION * spread @ w)
    # What the vectors leave out counts as having the mean curvature.
    part = Spectrum(whole.theta[1:], whole.vectors[1:], whole.theta[0])
    assert np.allclose(middle(posterior, part), w - PRECISION * spread @ w)


def test_the_exact_values(x64):
    x, y, w = regression()
    held = Held(GAMMA + PRECISION, GAMMA / (GAMMA + PRECISION))
    whole = Target(jnp.asarray(w), (jnp.asarray(x), jnp.asarray(y)), Squares(), N)
    assert _gaussian(whole, NBETA, held) == pytest.approx(exact()[0], rel=1e-9)
    two = Target(whole.w0[:2], (whole.data[0][:, :2], whole.data[1]), Squares(), N)
    found = _quadrature(two, NBETA, held)
    assert found.value == pytest.approx(_gaussian(two, NBETA, held), rel=1e-5)
    product = gibbs.Product([np.array([[1.5]])], np.array([[0.8]]), np.array([[1.5]]), NBETA)
    draws = gibbs.sample(product, held.gamma, held=held.at)
    stiff = 0.8 * NBETA
    shift = PRECISION * 1.5 / (stiff + held.gamma)
    mean = 0.5 * stiff * (shift**2 + 1 / (stiff + held.gamma))
    assert draws.mean() == pytest.approx(mean, rel=0.02)


def test_without_a_prior_the_id_is_the_old_one():
    assert content_hash(PosteriorSpec(prior=None)) == content_hash(PosteriorSpec())
    assert "prior" not in PosteriorSpec().model_dump()
    assert content_hash(SPEC) != content_hash(SPEC.model_copy(update={"prior": None}))
    PosteriorSpec(nbeta=0, gamma=0, prior={"mean": "zero", "precision": 1})


@pytest.mark.parametrize(
    ("posterior", "words"),
    [
        ({"prior": {"precision": 0}}, "precision"),
        ({"prior": {"mean": "minimum", "precision": 1}}, "zero"),
        ({"prior": {"std": 1}}, "write precision, which is 1 / std"),
        ({"prior": 0.5}, "a mapping"),
        ({"box": 0.1}, "no box"),
        ({"bounding_box_size": 0.1}, "certificate does not hold at its walls"),
    ],
)
def test_mistakes_are_one_line(posterior, words):
    x, y, w = regression()
    with pytest.raises(ConfigError, match=words):
        estimate_llc(loss, w, (x, y), posterior=posterior, progress=False)


def test_experiments_have_priors(plan_of):
    plan = plan_of(
        """
        experiment: e
        targets: [{model: {kind: quadratic, d: 3}, seed: 0}]
        samplers: [{name: nuts}, {name: nuts, posterior: {prior: null}}]
        posterior: {prior: {mean: zero, precision: 0.5}, gamma: [1, 2]}
        """
    )
    priors = [run.posterior.prior and run.posterior.prior.precision for run in plan.runs.values()]
    assert sorted(map(str, priors)) == ["0.5", "0.5", "None", "None"]
    assert any("prior precision 0.5" in label for label in plan.labels.values())
