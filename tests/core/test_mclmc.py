"""MCLMC's guard: a tuning on the way to equilibrium is continued, or the run has failed."""

import jax
import jax.random as jr
import numpy as np
import pytest

from tests.core import mixed


@pytest.fixture
def lost(x64):
    """Set-up of mclmc for chains that stand a hundred widths from where they belong."""
    from lambda_hat_core.config.samplers.exact import Mclmc
    from lambda_hat_core.linalg.spectrum import hessian_spectrum
    from lambda_hat_core.samplers import mclmc

    posterior = mixed.posterior(mixed.quadratic(1e6, noise=0.02))
    spectrum, _ = hessian_spectrum(jr.key(0), posterior)
    start = jr.normal(jr.key(1), (8, mixed.D))
    spec = Mclmc(n_chains=8, n_tune=600)
    return lambda: mclmc.build(jr.key(2), posterior, spec, start=start, spectrum=spectrum)


def test_mclmc_tunes_on_until_it_has_arrived(lost):
    """A first tuning on the way down the hill is not believed."""
    tuned = lost()
    assert tuned.failure is None
    assert tuned.info["n_tuned"] > 600
    assert tuned.work == 8 * (1 + 2 * tuned.info["n_tuned"])
    potential = jax.jit(jax.vmap(tuned.kernel.posterior.potential))(tuned.positions)
    assert np.mean(potential) < 5 * mixed.D


def test_mclmc_that_never_arrives_is_a_failure(lost, monkeypatch):
    from lambda_hat_core.samplers import mclmc

    monkeypatch.setattr(mclmc, "_ROUNDS", 1)
    assert "raise n_tune (now 600)" in lost().failure
