"""MCLMC's check for equilibrium: until a tuning is confirmed it is continued, or the run fails."""

import jax
import jax.random as jr
import numpy as np
import pytest

from tests.core import mixed


@pytest.fixture
def lost(x64):
    """Return the set-up of mclmc for chains that start a hundred widths from the posterior."""
    from lambda_hat_core.config.samplers.exact import Mclmc
    from lambda_hat_core.linalg.spectrum import hessian_spectrum
    from lambda_hat_core.samplers import mclmc

    posterior = mixed.posterior(mixed.quadratic(1e6, noise=0.02))
    spectrum, _ = hessian_spectrum(jr.key(0), posterior)
    start = jr.normal(jr.key(1), (8, mixed.D))
    spec = Mclmc(n_chains=8, n_tune=600)
    return lambda: mclmc.build(jr.key(2), posterior, spec, start=start, spectrum=spectrum)


def test_mclmc_continues_its_tuning_until_equilibrium(lost):
    """A first tuning, made on the way to equilibrium, is not accepted."""
    tuned = lost()
    assert tuned.failure is None
    assert tuned.info["n_tuned"] > 600
    assert tuned.work == 8 * (1 + 2 * tuned.info["n_tuned"])
    turns = 4 * tuned.info["step_size"] / tuned.info["L"]
    assert tuned.info["turns_per_draw"] == pytest.approx(turns)
    potential = jax.jit(jax.vmap(tuned.kernel.posterior.potential))(tuned.positions)
    assert np.mean(potential) < 5 * mixed.D


def test_mclmc_that_never_reaches_equilibrium_is_a_failure(lost, monkeypatch):
    from lambda_hat_core.samplers import mclmc

    monkeypatch.setattr(mclmc, "_ROUNDS", 1)
    assert "raise n_tune (now 600)" in lost().failure
