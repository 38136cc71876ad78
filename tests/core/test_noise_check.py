"""Noise of batches that grows after the set-up has measured it: rare features, control variates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lambda_hat_core import Sghmc, estimate_llc
from lambda_hat_core.analysis.correction import predicted
from lambda_hat_core.analysis.means import mean_llc
from lambda_hat_core.linalg.kronecker import Block, ProductBasis
from lambda_hat_core.posterior import Posterior
from lambda_hat_core.samplers import coordinates, noise_check, sghmc
from lambda_hat_core.samplers.alternating import alternation
from lambda_hat_core.samplers.gradients import control_variate
from lambda_hat_core.samplers.product_metric import ProductMetric
from lambda_hat_core.streams import stream
from lambda_hat_core.types import constant
from tests.core import traces

N, D, RARE = 20_000, 100, 30
VARIED = Sghmc(n_draws=80, n_burn=20, gradient="control_variate", batch_size=512)


def regression(seed, rare=RARE):
    """Return rows, of which 10 to 40 have each of the rare features, and the minimum."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, D)).astype(np.float32)
    for j in range(rare):
        x[:, j] = 0.0
        x[rng.choice(N, rng.integers(10, 41), replace=False), j] = 1.0
    y = x @ rng.normal(size=D).astype(np.float32) + rng.normal(size=N).astype(np.float32)
    wide = x.astype(np.float64)
    w = np.linalg.solve(wide.T @ wide, wide.T @ y)
    return (x, y), w.astype(np.float32)


def loss(w, batch):
    x, y = batch
    return jnp.mean((x @ w - y) ** 2)


def exact(x, nbeta, gamma):
    h = np.linalg.eigvalsh(2 * x.astype(np.float64).T @ x / len(x))
    return 0.5 * np.sum(nbeta * h / (nbeta * h + gamma))


def answer(seed, sampler, rare=RARE):
    data, w = regression(seed, rare)
    with jax.enable_x64(False):
        found = estimate_llc(loss, jnp.asarray(w), data, sampler=sampler, seed=seed, progress=False)
    assert found.trace is not None and found.llc is not None and found.se is not None
    return found, exact(data[0], found.nbeta, found.gamma)


def relative(found, right):
    """Return the relative error, which is within 4 standard errors."""
    assert abs(found.llc - right) <= 4 * found.se
    return (found.llc - right) / right


def causes(found):
    return [one["cause"] for one in found.trace.info.get("attempts", ())]


def test_rare_features_do_not_heat_the_answer():
    """Four runs, so that a bias of 8 %, as large as each one's interval, cannot hide."""
    off, again = [], []
    for seed in range(4):
        found, right = answer(seed, "sghmc")
        assert found.verdict == "ok"
        off.append(relative(found, right))
        again += causes(found)
    assert abs(np.mean(off)) < 0.045
    assert "heated" in again


def test_noise_that_is_as_it_was_changes_nothing():
    found, right = answer(0, "sghmc", rare=0)
    assert causes(found) == []
    assert abs(found.trace.info["heated"]) < 0.05 * right
    assert found.trace.work["check"] > 0
    assert abs(relative(found, right)) < 0.2


def test_a_run_of_a_given_length_has_wider_errors_instead():
    """As wide as two step sizes make them if a bias of that size is to be expected."""
    found, _ = answer(1, VARIED)
    trace = found.trace
    assert causes(found) == []
    heated = 0.3 * (found.llc or 0.0)
    wide = mean_llc(trace._replace(info={**trace.info, "heated": heated}))
    blind = mean_llc(trace._replace(info={**trace.info, "heated": 0.0}))
    assert wide.se is not None and blind.se is not None and wide.se > 1.05 * blind.se


@pytest.mark.parametrize(("heated", "taken_off"), [(0.4, 0.5), (0.7, 1.2), (-0.7, -0.2)])
def test_without_two_step_sizes_it_is_taken_off(heated, taken_off):
    ledger = {"llc": 10.0, "error": {"absolute": 0.5, "relative": 0.05}}
    trace = traces.trace(d=20)._replace(info={"ledger": ledger, "heated": heated})
    assert predicted(trace) == pytest.approx({"absolute": taken_off, "relative": taken_off / 10})


@pytest.mark.parametrize(
    ("info", "heating"),
    [
        ({"precond": "kronecker"}, 3.0),
        ({"precond": "kronecker", "step_order": 1}, None),
        ({"precond": "lanczos"}, None),
    ],
)
def test_batches_that_may_heat_are_told_where_nothing_measures_it(info, heating):
    """Two step sizes do, and in the metric of Ritz pairs little of what is foretold was seen."""
    from lambda_hat_core.analysis.estimate import estimate

    plain = traces.trace(d=40)
    stats = plain.stats | {"step_size": np.tile([0.1, 0.05], (4, plain.loss.shape[1] // 2))}
    trace = plain._replace(info=dict(plain.info) | info | {"heating": 3.0}, stats=stats)
    found = estimate(trace)
    assert found.heating == heating
    assert any("may heat" in reason for reason in found.reasons) == (heating is not None)


class Squares:
    """(x . w)^2 / 2, whose rows are data."""

    has_per_example = True

    def per_example(self, w, batch):
        return 0.5 * (batch @ w) ** 2

    def mean(self, w, batch):
        return jnp.mean(self.per_example(w, batch))


def _metric(name, posterior, d):
    """Return the metric (2 I)^(-1/2) of either kind."""
    if name == "lanczos":
        return coordinates.diagonal(posterior, 2**-0.5)
    basis = ProductBasis((Block(1, d),), (None,), (None,))
    return ProductMetric(basis, constant(np.full(d, 2**-0.5), posterior.w0))


@pytest.mark.parametrize("name", ["lanczos", "kronecker"])
@pytest.mark.parametrize("seen", [0.0, 0.75])
def test_a_heating_whose_size_is_known(name, seen, x64):
    """Five rows each have all curvature along one axis, so all noise is that of the distance.

    A row's gradient is delta with probability q = 5/n, else 0, so the mean of a batch of B has the
    variance q (1 - q) delta^2 / B.
    """
    n, d, size, eps, alpha, nbeta = 1000, 200, 50, 0.1, 0.1, 400.0
    rows = np.zeros((n, d))
    rows[np.arange(n), np.arange(n) // 5] = 1.0
    at = np.random.default_rng(0).normal(size=(64, d))
    q = 5 / n
    noise = nbeta**2 / 2 * q * (1 - q) / size
    posterior = Posterior(
        jnp.zeros(d), jnp.asarray(rows), jnp.asarray(nbeta), jnp.asarray(1.0), Squares(), n
    )
    metric = _metric(name, posterior, d)
    directions = 1 if name == "lanczos" else d
    kernel = sghmc.SghmcKernel(
        posterior,
        control_variate(posterior, size),
        metric,
        alternation(eps, 1, jnp.zeros(1), extrapolate=False),
        jnp.asarray(alpha),
        jnp.full(directions, seen * noise),
        "threefry",
    )
    info = {"step_size": eps, "alpha": alpha}
    found = noise_check.heated(stream(0, "noise"), Sghmc(), kernel, info, jnp.asarray(at))
    expected = 0.5 * d * (1 - seen) * noise * eps**2 / (1 - (1 - alpha) ** 2)
    assert expected > 0.2
    # 64 x 15 differences of batches in 200 directions, whose fourth moment is 1 / (5 B / n) times
    # that of a Gaussian's.
    assert found == pytest.approx(expected, abs=0.06 * expected / (1 - seen))
