"""Polynomial potentials in few dimensions whose zero sets are axes, and their exact answers.

L(w) = sum over terms of c prod_i w_i^(p_i), with w* = 0. The terms are data, so that all potentials
of one dimension share one program.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np

HIGHEST, TERMS = 6, 2
GAMMA = 1.0


@dataclasses.dataclass(frozen=True)
class Polynomial:
    has_per_example: bool = False

    def mean(self, w, batch):
        coefficients, chosen = batch
        powers = jnp.stack([w**k for k in range(HIGHEST + 1)], axis=1)
        factors = jnp.sum(chosen * powers, axis=2)
        return jnp.sum(coefficients * jnp.prod(factors, axis=1))

    def per_example(self, w, batch):
        raise ValueError("a potential has no examples")


def data(*terms):
    """Return the coefficients, and a one-hot row for the power of every coordinate."""
    d = len(terms[0])
    coefficients = np.zeros(TERMS)
    coefficients[: len(terms)] = 1.0
    padded = [*terms, *[(0,) * d] * (TERMS - len(terms))]
    return coefficients, np.eye(HIGHEST + 1)[np.array(padded)]


def run(terms, nbeta, sampler, *, seed=0):
    """Return a run of `tempered`."""
    import jax

    from lambda_hat_core.config.posterior import PosteriorSpec
    from lambda_hat_core.config.spec import RunSpec
    from lambda_hat_core.posterior import Posterior
    from lambda_hat_core.sample import sample
    from tests.core import loops

    with jax.enable_x64(True):
        posterior = Posterior(
            w0=jnp.zeros(len(terms[0])),
            data=tuple(map(jnp.asarray, data(*terms))),
            nbeta=jnp.asarray(nbeta),
            gamma=jnp.asarray(GAMMA),
            loss=Polynomial(),
            n=TERMS,
        )
        spec = RunSpec(
            target="tgt_000000000000",
            sampler={"kind": "tempered", **sampler},
            posterior=PosteriorSpec(nbeta=nbeta, gamma=GAMMA),
            seed=seed,
            dtype="float64",
        )
        with loops.optimised("drive", "tempered"):
            return sample(posterior, spec)


_LOG = np.linspace(-24.0, np.log(9.0), 600)
_DENSITY = _LOG - 0.5 * np.exp(2 * _LOG)
_CELL = np.log(2 * (_LOG[1] - _LOG[0]) / np.sqrt(2 * np.pi))


def exact(terms, nbeta):
    """Return nbeta E[L] and log Z(nbeta) / Z(0) in two dimensions, on a grid of log |w|.

    All powers must be even. The integrands are analytic in log |w|, so that the sum over a regular
    grid converges faster than any power of its spacing.
    """
    logs = [a * _LOG[:, None] + b * _LOG for a, b in terms]
    loss = nbeta * sum(np.exp(one) for one in logs)
    log_mass = _DENSITY[:, None] + _DENSITY + 2 * _CELL - loss
    mass = np.exp(log_mass)
    return float(np.sum(mass * loss) / np.sum(mass)), float(np.log(np.sum(mass)))


def exact_product(d, nbeta):
    """Return the same for L = prod_i w_i^2 in d dimensions: log |w| is a sum of d independent."""
    step = 0.01
    grid = np.arange(-40.0, np.log(9.0), step)
    one = np.exp(grid - 0.5 * np.exp(2 * grid))
    total = one
    for _ in range(d - 1):
        total = np.convolve(total, one)
    places = d * grid[0] + step * np.arange(total.size)
    loss = nbeta * np.exp(2 * places)
    mass = total * np.exp(-loss)
    return float(np.sum(mass * loss) / np.sum(mass)), float(np.log(np.sum(mass) / np.sum(total)))
