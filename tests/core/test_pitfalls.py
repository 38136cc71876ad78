"""Mistakes that give plausible numbers: starts, burn-in, digits of the loss, uncounted work."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from tests.core import mixed
from tests.core.test_samplers import begun


def test_chains_start_with_the_spread_of_the_posterior(x64):
    """The loss at the starts has the posterior's distribution for any d and H."""
    from lambda_hat_core.linalg.spectrum import hessian_spectrum
    from lambda_hat_core.samplers.start import laplace_start

    case = mixed.quadratic(1e3)
    posterior = mixed.posterior(case)
    spectrum, _ = hessian_spectrum(jr.key(0), posterior)
    start = laplace_start(jr.key(1), posterior, spectrum, 2000)
    losses = jax.jit(jax.vmap(lambda w: posterior.loss.mean(w, posterior.data)))(start)
    llc = case.nbeta * np.asarray(losses)
    assert np.std(llc) / 2000**0.5 < 0.01 * case.oracle
    assert abs(np.mean(llc) - case.oracle) < 0.04 * case.oracle
    along = np.asarray(start) @ np.asarray(spectrum.vectors).T
    apart = np.corrcoef(along, rowvar=False) - np.eye(mixed.D)
    assert np.abs(apart).max() < 5 / 2000**0.5


def test_exactly_the_burn_in_is_discarded(x64, monkeypatch):
    case, sampler = mixed.quadratic(1.0), begun("mala", 1, monkeypatch)
    whole = mixed.run(case, {**sampler, "n_burn": 0})
    kept = mixed.run(case, {**sampler, "n_burn": 15})
    np.testing.assert_array_equal(kept.loss, whole.loss[:, 15:])
    np.testing.assert_array_equal(kept.virial_m, whole.virial_m[:, 15:])
    assert kept.work == whole.work


def test_all_chains_contribute_to_the_adapted_step(x64):
    """One chain at another point changes the step size of all chains."""
    from lambda_hat_core.samplers import coordinates, mala
    from lambda_hat_core.samplers.averaging import dual_averaging

    posterior = mixed.posterior(mixed.quadratic(1e3))
    first, goal = jnp.asarray(np.float64(0.01)), 0.574
    kernel = mala.MalaKernel(posterior, coordinates.identity(posterior), first)
    start, other = np.zeros((2, 2, mixed.D))
    other[1] += 1
    sizes = [
        float(dual_averaging(jr.key(0), kernel, jnp.asarray(at), 90, goal).step_size)
        for at in (start, other)
    ]
    assert abs(sizes[1] / sizes[0] - 1) > 1e-3


def test_the_loss_keeps_digits_that_float32_would_lose():
    """The sum over examples is in float64 also in a float32 process, at w* and at every draw."""
    case = mixed.quadratic(1.0, noise=0.02)
    many = case._replace(data=tuple(np.repeat(array, 400, axis=0) for array in case.data))
    posterior = mixed.posterior(many)
    w = posterior.w0 + 0.01
    assert w.dtype == jnp.float32
    (high, low), examples = jax.jit(
        lambda w: (posterior.full_loss(w), posterior.loss.per_example(w, posterior.data))
    )(w)
    exact = np.mean(np.asarray(examples, np.float64))
    assert float(high) + float(low) == pytest.approx(exact, rel=1e-12)
    assert float(high) != pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize(("name", "fresh"), [("sgld", 0), ("sgld rmsprop", 1)])
def test_work_counts_all_chains_draws_and_recorded_scalars(name, fresh, monkeypatch):
    """A draw costs its steps, its loss with a derivative, and a gradient where no step has one."""
    sampler = {**begun(name, 1, monkeypatch), "n_burn": 10}
    trace = mixed.run(mixed.quadratic(1.0, noise=0.02), sampler)
    share, thin = 24 / mixed.N, sampler["thin"]
    each = (thin + fresh) * share + 2 / 3
    assert trace.work["sampling"] == pytest.approx(8 * sampler["n_draws"] * each, rel=1e-6)
