"""The pilot: what it flies by, and where it arrives."""

import dataclasses

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

ROWS = 256
SHAPES = {"in": (6, 16), "bias": (16,), "out": (16,)}


def output(params, x):
    return jnp.tanh(x @ params["in"] + params["bias"]) @ params["out"]


@dataclasses.dataclass(frozen=True)
class Squared:
    """Mean squared errors of the network."""

    has_per_example = True

    def per_example(self, w, batch):
        cuts = np.cumsum([np.prod(shape) for shape in SHAPES.values()])[:-1]
        parts = zip(SHAPES, jnp.split(w, cuts), strict=True)
        params = {name: part.reshape(SHAPES[name]) for name, part in parts}
        return (output(params, batch[0]) - batch[1]) ** 2

    def mean(self, w, batch):
        return jnp.mean(self.per_example(w, batch))


loss = jax.jit(Squared().mean)


def flown(monkeypatch, *, n=20_000, rows=ROWS, coldest=None):
    """Fly at w*, the minimum of all examples: each input has two labels of opposite errors."""
    from lambda_hat_core.config.samplers.exact import Nuts
    from lambda_hat_core.linalg.spectrum import hessian_spectrum
    from lambda_hat_core.posterior import Posterior
    from lambda_hat_core.samplers import pilot
    from lambda_hat_core.samplers.start import laplace_start
    from lambda_hat_core.samplers.subset import subset

    if coldest is not None:
        monkeypatch.setattr(pilot, "_COLDEST", coldest)
    rng = np.random.default_rng(0)
    params = {name: rng.normal(size=shape) for name, shape in SHAPES.items()}
    x = rng.normal(size=(n // 2, 6))
    out, error = np.asarray(output(params, x)), rng.normal(size=n // 2)
    data = (np.concatenate([x, x]), np.concatenate([out + error, out - error]))
    w = np.concatenate([value.ravel() for value in params.values()])
    posterior = Posterior(
        w0=jnp.asarray(w),
        data=jax.tree.map(jnp.asarray, data),
        nbeta=jnp.asarray(n / np.log(n)),
        gamma=jnp.asarray(1.0),
        loss=Squared(),
        n=n,
    )
    few = subset(jr.key(0), posterior, rows)
    spectrum, _ = hessian_spectrum(jr.key(1), few.posterior, beside=4)
    start = laplace_start(jr.key(2), posterior, spectrum, 4)
    found = pilot.fly(jr.key(3), few, Nuts(), start, spectrum)
    rises = [float(loss(at, data) - loss(w, data)) for at in found.positions]
    return found, float(posterior.nbeta) * np.mean(rises)


def test_chains_do_not_fly_to_where_the_examples_of_the_set_up_are_fitted_best(monkeypatch, x64):
    """By new batches they arrive as high above w* as by the gradient of all examples."""
    exact, of_exact = flown(monkeypatch, rows=None)
    found, height = flown(monkeypatch)
    assert exact.llc == pytest.approx(of_exact) and 20 < of_exact < 129 / 2
    assert height == pytest.approx(of_exact, rel=0.3) and found.llc > 0
    trapped, _ = flown(monkeypatch, coldest=np.inf)
    assert trapped.llc < 0
    # 61 gradients per chain on 4,096 of 20,000 examples, and all 128 Hessian products on 256.
    assert found.work == pytest.approx(4 * 61 * 0.2048 + 0.0128 * (4 / 3 + 256))


def test_a_posterior_that_is_warm_enough_needs_no_new_batches(monkeypatch, x64):
    warm, _ = flown(monkeypatch, n=1_000, rows=512)
    same, _ = flown(monkeypatch, n=1_000, rows=512, coldest=np.inf)
    np.testing.assert_array_equal(warm.positions, same.positions)


def test_with_very_many_examples_they_fly_by_a_control_variate(monkeypatch, x64):
    """Two gradients on 4,096 examples are then cheaper than one on a sixteenth of all."""
    found, height = flown(monkeypatch, n=200_000)
    assert 20 < height < 129 / 2
    share = 4096 / 200_000
    products = 0.00128 * (4 / 3 + 2 * 128)
    assert found.work == pytest.approx(1 + 4 * 61 * 2 * share + products)


def test_on_a_share_of_the_examples_more_pairs_cost_as_many_passes():
    from lambda_hat_core.posterior import Posterior
    from lambda_hat_core.samplers.pilot import rank_for
    from lambda_hat_core.samplers.subset import Subset

    def rank(d, rows, n):
        one, w0 = jnp.ones(()), jnp.zeros(d)
        whole, few = (Posterior(w0, jnp.ones(1), one, one, Squared(), m) for m in (n, rows))
        tilt = jnp.zeros(0 if rows == n else d)
        return rank_for(Subset(few, tilt, rows / n, 0.0, whole))

    assert rank(5000, 1000, 1000) == 128
    assert rank(5000, 1024, 2048) == 256
    assert rank(5000, 1024, 20_000) == 1024 // 3
    assert rank(1093, 4096, 100_000) == 1093
    assert rank(20_000, 4096, 10**6) == int((2e9 / 20_000) ** 0.5)
    assert rank(10**6, 4096, 10**6) == 128
