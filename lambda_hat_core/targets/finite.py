"""The exact expectation at a finite temperature, for targets for which it can be computed."""

import jax
import jax.numpy as jnp
import numpy as np

from lambda_hat_core.config.spec import TargetSpec
from lambda_hat_core.posterior import Target
from lambda_hat_core.targets.potentials import QuadraticPotential
from lambda_hat_core.targets.restricted import Restricted
from lambda_hat_core.truth import oracles, quadrature


def oracle(
    spec: TargetSpec, target: Target, nbeta: float, gamma: float
) -> tuple[float | None, str]:
    """Return nbeta (E_p[L] - L(w*)), or None, and how it was found or why it was not found."""
    if isinstance(target.loss, QuadraticPotential):
        value = oracles.quadratic(target.loss.eigenvalues(), nbeta, gamma)
        return value, "exact: half the sum of nbeta h / (nbeta h + gamma)"
    if isinstance(target.loss, Restricted) and isinstance(target.loss.inner, QuadraticPotential):
        with jax.enable_x64(True):
            w = jnp.asarray(np.asarray(target.w0, np.float64))
            block = jax.jit(jax.hessian(lambda w: target.loss.mean(w, None)))(w)
            value = oracles.quadratic(np.linalg.eigvalsh(np.asarray(block)), nbeta, gamma)
        return value, "exact: half the sum of nbeta h / (nbeta h + gamma) of the block"
    if target.data is not None:
        return None, f"{spec.model.kind} with data: no finite-temperature value is computable"
    if target.w0.size > 2:
        return None, f"quadrature is limited to d <= 2, but d is {target.w0.size}"
    if gamma <= 0:
        return None, "quadrature needs gamma > 0: without it the posterior need not be proper"
    loss = target.loss
    with jax.enable_x64(True):
        many = jax.jit(jax.vmap(lambda w: loss.mean(w, None)))

        def losses(points: np.ndarray) -> np.ndarray:
            return np.asarray(many(jnp.asarray(points)))

        value = quadrature.potential(losses, np.asarray(target.w0, np.float64), nbeta, gamma)
    if value is None:
        return None, "quadrature did not converge"
    return value, f"quadrature in {target.w0.size} dimensions"
