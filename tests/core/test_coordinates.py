"""The metric of the exact samplers, as a dense matrix."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

D = 8


@pytest.mark.parametrize("rank", [D, 3])
def test_in_the_metric_of_laplace_the_posterior_is_isotropic(x64, rank):
    """A (nbeta H + gamma) A = 1 with all eigenpairs; with three, if the others have one value."""
    from lambda_hat_core.linalg.spectrum import Spectrum
    from lambda_hat_core.posterior import Posterior
    from lambda_hat_core.samplers.coordinates import laplace
    from tests.core.surfaces import DiagonalQuadratic

    nbeta, gamma, rest = 30.0, 2.0, 0.05
    vectors = np.linalg.qr(np.random.default_rng(0).normal(size=(D, D)))[0]
    theta = np.concatenate([np.full(D - rank, rest), np.geomspace(0.1, 10, rank)])
    hessian = vectors.T * theta @ vectors
    w0 = np.arange(1.0, D + 1)
    posterior = Posterior(
        w0=jnp.asarray(w0),
        data=None,
        nbeta=jnp.asarray(nbeta),
        gamma=jnp.asarray(gamma),
        loss=DiagonalQuadratic(tuple(np.ones(D))),
        n=100,
    )
    known = (theta[D - rank :], vectors[D - rank :], rest if rank < D else 0.0)
    found = laplace(posterior, Spectrum(*map(jnp.asarray, known)))

    @jax.jit
    def dense(u):
        w, back = found.to_w(u), found.to_u(found.to_w(u))
        return w, back, jax.jacobian(found.to_w)(u), found.gradient_to_w(u)

    u = np.asarray(jr.normal(jr.key(0), (D,)))
    w, back, a, gradient = map(np.asarray, dense(u))
    np.testing.assert_allclose(w, w0 + a @ u, rtol=1e-12)
    np.testing.assert_allclose(back, u, rtol=1e-10)
    np.testing.assert_allclose(a.T @ gradient, u, rtol=1e-10)
    precision = nbeta * hessian + gamma * np.eye(D)
    np.testing.assert_allclose(a @ precision @ a.T, np.eye(D), atol=1e-10)
