"""The metrics of the samplers, as dense matrices."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

D = 8


NBETA, GAMMA, REST = 30.0, 2.0, 0.05


def known(rank):
    """A posterior, `rank` eigenpairs of a Hessian, and all of its eigenvalues and vectors."""
    from lambda_hat_core.linalg.spectrum import Spectrum
    from lambda_hat_core.posterior import Posterior
    from tests.core.surfaces import DiagonalQuadratic

    vectors = np.linalg.qr(np.random.default_rng(0).normal(size=(D, D)))[0]
    theta = np.concatenate([np.full(D - rank, REST), np.geomspace(0.1, 10, rank)])
    posterior = Posterior(
        w0=jnp.arange(1.0, D + 1),
        data=None,
        nbeta=jnp.asarray(NBETA),
        gamma=jnp.asarray(GAMMA),
        loss=DiagonalQuadratic(tuple(np.ones(D))),
        n=100,
    )
    pairs = (theta[D - rank :], vectors[D - rank :], REST if rank < D else 0.0)
    return posterior, Spectrum(*map(jnp.asarray, pairs)), theta, vectors


@pytest.mark.parametrize("rank", [D, 3])
def test_in_the_metric_of_laplace_the_posterior_is_isotropic(x64, rank):
    """A (nbeta H + gamma) A = 1 with all eigenpairs; with three, if the others have one value."""
    from lambda_hat_core.samplers.coordinates import laplace

    posterior, spectrum, theta, vectors = known(rank)
    found = laplace(posterior, spectrum)

    @jax.jit
    def dense(u):
        w, back = found.to_w(u), found.to_u(found.to_w(u))
        return w, back, jax.jacobian(found.to_w)(u), found.gradient_to_w(u)

    u = np.asarray(jr.normal(jr.key(0), (D,)))
    w, back, a, gradient = map(np.asarray, dense(u))
    np.testing.assert_allclose(w, posterior.w0 + a @ u, rtol=1e-12)
    np.testing.assert_allclose(back, u, rtol=1e-10)
    np.testing.assert_allclose(a.T @ gradient, u, rtol=1e-10)
    precision = NBETA * vectors.T * theta @ vectors + GAMMA * np.eye(D)
    np.testing.assert_allclose(a @ precision @ a.T, np.eye(D), atol=1e-10)


@pytest.mark.parametrize("rank", [D, 6])
def test_powers_of_the_damped_metric_are_those_of_its_matrix(x64, rank):
    """All pairs, or six; what those leave out counts as the flattest of them."""
    from lambda_hat_core.samplers.coordinates import damped

    posterior, spectrum, theta, vectors = known(rank)
    at = damped(posterior, spectrum, 5.0)
    if rank < D:
        theta = np.maximum(theta, theta[D - rank])
    widths = 1 / np.sqrt(NBETA * theta + 6 * GAMMA)
    rng = np.random.default_rng(1)
    vs, sizes = rng.normal(size=(2, D)), rng.uniform(size=rank + 1)

    @jax.jit
    def products(vs, sizes):
        v = vs[0]
        return at.apply(v), at.inverse(v), *at.kick(*vs, sizes)

    applied, back, force, noise = map(np.asarray, products(jnp.asarray(vs), jnp.asarray(sizes)))
    np.testing.assert_allclose(applied, vectors.T * widths @ vectors @ vs[0], rtol=1e-10)
    np.testing.assert_allclose(back, vectors.T / widths @ vectors @ vs[0], rtol=1e-10)
    np.testing.assert_allclose(force, vectors.T * widths**2 @ vectors @ vs[0], rtol=1e-10)
    by_mode = np.concatenate([np.full(D - rank, sizes[-1]), sizes[:rank]])
    expected = vectors.T * (widths * by_mode) @ vectors @ vs[1]
    np.testing.assert_allclose(noise, expected, rtol=1e-10)


def test_the_stiffest_pairs_are_kept_and_the_others_join_the_rest(x64):
    """Of six pairs four are kept, by the size of their curvature; the trace is what it was."""
    from lambda_hat_core.linalg.spectrum import Spectrum, stiffest

    _, spectrum, _, vectors = known(6)
    theta = np.array([-5.0, -0.3, 0.1, 2.0, 3.0, 4.0])
    found = stiffest(Spectrum(jnp.asarray(theta), spectrum.vectors, spectrum.rest))
    np.testing.assert_array_equal(found.theta, theta[[0, 3, 4, 5]])
    np.testing.assert_array_equal(found.vectors, vectors[D - 6 :][[0, 3, 4, 5]])
    # Negative curvature of the pairs that join counts as 0.
    assert float(found.rest) == pytest.approx(((D - 6) * REST + 0.1) / (D - 4), rel=1e-12)


def test_all_pairs_of_a_complete_spectrum_are_kept(x64):
    from lambda_hat_core.linalg.spectrum import stiffest

    _, spectrum, _, vectors = known(D)
    np.testing.assert_array_equal(stiffest(spectrum).vectors, vectors)


def test_a_kick_in_the_identity_is_the_gradient_and_the_noise(x64):
    from lambda_hat_core.samplers.coordinates import identity

    posterior, *_ = known(D)
    gradient, xi = jnp.asarray(np.random.default_rng(1).normal(size=(2, D)))
    force, noise = identity(posterior).kick(gradient, xi, jnp.asarray([0.5]))
    np.testing.assert_array_equal(force, gradient)
    np.testing.assert_array_equal(noise, 0.5 * xi)
