"""Lanczos against prescribed spectra."""

import dataclasses

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest


def rotated(d, eigenvalues):
    q, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(d, d)))
    return jnp.asarray(q * eigenvalues @ q.T), q


@pytest.fixture(params=["numpy", "jax.numpy"])
def namespace(request, monkeypatch):
    """Both kinds of arrays: those of a CPU, and those of an accelerator."""
    from lambda_hat_core.linalg import host

    if request.param != "numpy":
        monkeypatch.setattr(host, "on_cpu", lambda: False)


def pairs(seed, matrix, d, k, start=None):
    from lambda_hat_core.linalg.lanczos import lanczos

    like = jnp.zeros(d)
    rng = np.random.default_rng(seed)
    return lanczos(rng, lambda v: v if matrix is None else matrix @ v, k, like=like, start=start)


@pytest.mark.parametrize("eigenvalues", [np.logspace(-6, 0, 12), np.r_[np.zeros(7), np.ones(5)]])
def test_full_rank_gives_the_eigenpairs(x64, namespace, eigenvalues):
    matrix, _ = rotated(12, eigenvalues)
    theta, vectors, matrix = map(np.asarray, (*pairs(0, matrix, 12, 12), matrix))
    np.testing.assert_allclose(theta, np.sort(eigenvalues), atol=1e-12)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(12), atol=1e-12)
    np.testing.assert_allclose(vectors @ matrix, theta[:, None] * vectors, atol=1e-10)


def test_both_ends_converge_long_before_full_rank(x64, namespace):
    eigenvalues = np.r_[-0.5, np.linspace(0.1, 1, 398), 3.0]
    matrix, q = rotated(400, eigenvalues)
    theta, vectors = map(np.asarray, pairs(1, matrix, 400, 40))
    assert abs(theta[-1] - 3.0) < 1e-10
    assert abs(theta[0] + 0.5) < 1e-8
    assert abs(abs(vectors[-1] @ q[:, -1]) - 1) < 1e-8


def test_identity_breaks_down_and_restarts(dtype, namespace):
    theta, vectors = map(np.asarray, pairs(2, None, 30, 10))
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(theta, 1.0, atol=tolerance)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(10), atol=tolerance)


def test_a_low_rank_is_found_to_its_end(dtype, namespace):
    """The recurrence breaks down beyond the rank, and what follows is the null space."""
    eigenvalues = np.r_[np.zeros(27), 1.0, 2.0, 3.0]
    matrix, _ = rotated(30, eigenvalues)
    theta, vectors = map(np.asarray, pairs(3, matrix, 30, 10))
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(theta, np.r_[np.zeros(7), 1.0, 2.0, 3.0], atol=tolerance)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(10), atol=tolerance)
    np.testing.assert_allclose(vectors @ matrix, theta[:, None] * vectors, atol=tolerance)


def test_a_start_along_an_eigenvector_is_a_pair_and_others_are_found(dtype, namespace):
    """It couples to nothing; the five vectors after it span a Krylov space of their own."""
    eigenvalues = np.r_[np.full(26, 0.5), 1.0, 2.0, 3.0, 4.0]
    matrix, q = rotated(30, eigenvalues)
    theta, vectors = map(np.asarray, pairs(4, matrix, 30, 6, jnp.asarray(2 * q[:, 28])))
    tolerance = 1e-5 if dtype == "float32" else 1e-10
    expected = np.r_[0.5, 0.5, 1.0, 2.0, 3.0, 4.0]
    np.testing.assert_allclose(theta, expected, atol=tolerance)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(6), atol=tolerance)
    assert abs(abs(vectors[4] @ q[:, 28]) - 1) < tolerance


def test_more_pairs_than_dimensions_are_refused(x64, namespace):
    with pytest.raises(ValueError, match="k is 4, but the operator has d = 3"):
        pairs(0, None, 3, 4)


def test_an_operator_that_is_not_finite_has_no_values(x64, namespace):
    theta, _ = pairs(0, jnp.full((9, 9), jnp.inf), 9, 4)
    assert np.isnan(theta).all()


def test_spectrum_rest_is_the_mean_of_the_other_eigenvalues(x64, namespace):
    from lambda_hat_core.linalg.spectrum import hessian_spectrum
    from lambda_hat_core.posterior import Posterior
    from tests.core.surfaces import DiagonalQuadratic

    h = tuple([5.0, 4.0, 3.0] + [0.25] * 197)
    posterior = Posterior(
        w0=jnp.zeros(200),
        data=None,
        nbeta=jnp.asarray(10.0),
        gamma=jnp.asarray(1.0),
        loss=DiagonalQuadratic(h),
        n=100,
    )
    spectrum, work = hessian_spectrum(jr.key(0), posterior, rank=8)
    np.testing.assert_allclose(spectrum.theta[-3:], [3.0, 4.0, 5.0], atol=1e-10)
    assert abs(spectrum.rest - 0.25) < 1e-10
    assert work == 2 * (8 + 4)
    np.testing.assert_allclose(spectrum.shrinkage(10.0, 1.0)[-1], 50 / 51)


def test_both_kinds_of_arrays_make_the_same_set_up(monkeypatch, x64):
    """What an accelerator would do, operation by operation, on this machine's CPU."""
    from lambda_hat_core.config.samplers.stochastic import Sghmc
    from lambda_hat_core.linalg import host
    from lambda_hat_core.linalg.spectrum import hessian_spectrum
    from lambda_hat_core.samplers.pilot import fly
    from lambda_hat_core.samplers.start import laplace_start
    from lambda_hat_core.samplers.subset import subset
    from tests.core import mixed

    found = []
    for is_cpu in (True, False):
        monkeypatch.setattr(host, "on_cpu", lambda is_cpu=is_cpu: is_cpu)
        posterior = mixed.posterior(mixed.deep_linear())
        posterior = dataclasses.replace(posterior, shapes=((2, 4), (4,)))
        few = subset(jr.key(0), posterior, None)
        spectrum, work = hessian_spectrum(jr.key(1), posterior, beside=4)
        start = laplace_start(jr.key(2), posterior, spectrum, 4)
        pilot = fly(jr.key(3), few, Sghmc(precond="kronecker"), start, spectrum)
        assert isinstance(pilot.positions, jax.Array) and work > 0
        factors = pilot.spectrum.factors
        assert factors is not None
        measured = (factors.norms, factors.diagonal, pilot.llc)
        found.append((spectrum.theta, pilot.positions, pilot.spectrum.theta, *measured))
    for here, there in zip(*found, strict=True):
        np.testing.assert_allclose(here, there, rtol=1e-8, atol=1e-10)
