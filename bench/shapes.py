"""The networks on which speed is measured: sizes, posteriors and floating-point operations."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.posterior import Posterior, Target, localised
from lambda_hat_core.targets.losses import Supervised
from lambda_hat_core.targets.networks.mlp import MlpNetwork

WIDTHS = {
    1_000: (8, 28, 28, 1),
    10_000: (16, 92, 92, 1),
    100_000: (32, 300, 300, 1),
    1_000_000: (64, 965, 965, 1),
}
"""Layer widths of tanh MLPs with 1093, 10213, 100501 and 995881 weights."""
N, CHAINS, RANK = 1000, 4, 64


def flops(widths: tuple[int, ...], rows: int) -> float:
    """Return the additions and multiplications of a gradient, without the first input gradient."""
    products = [a * b for a, b in pairwise(widths)]
    return 2.0 * rows * (3 * sum(products) - products[0])


def posterior_of(d: int) -> Posterior:
    """Return a regression MLP's posterior at random weights; speed does not need a minimum."""
    network = MlpNetwork(WIDTHS[d], "tanh")
    keys = jr.split(jr.key(0), 3)
    data = (jr.normal(keys[0], (N, network.in_dim)), jr.normal(keys[1], (N, 1)))
    target = Target(network.init(keys[2]), data, Supervised(network, "mse"), N)
    return localised(target, PosteriorSpec())


def basis(d: int) -> jax.Array:
    """Return RANK orthonormal rows."""
    rows, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((d, RANK)))
    return jnp.asarray(rows.T)
