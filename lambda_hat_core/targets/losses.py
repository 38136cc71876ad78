r"""Losses of a network on examples (x, y), one value per example, whose mean is L_n.

mse: mean over outputs of r^2, r = f(x) - y.   gaussian: sum over outputs of r^2 / (2 sigma^2).
student_t: mean over outputs of (nu + 1)/2 log(1 + r^2 / (nu s^2)).
cross_entropy: -log softmax(f(x))_y for an integer label y; for sequences of labels, the mean over
the positions that are scored, those with y >= 0.
"""

from dataclasses import dataclass
from typing import assert_never

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Scalar

from lambda_hat_core.config.training import LossName
from lambda_hat_core.targets.networks.network import Network
from lambda_hat_core.types import Batch, Weights


@dataclass(frozen=True)
class Supervised:
    """The loss of a network on a batch (x, y), equal by value.

    Attributes:
        network: the network.
        name: the name of the loss.
        sigma: noise scale of gaussian and student_t; 1 for the other losses.
        df: degrees of freedom nu of student_t; 1 for the other losses.
    """

    network: Network
    name: LossName
    sigma: float = 1.0
    df: float = 1.0

    @property
    def has_per_example(self) -> bool:
        """Return True: every example has its own loss."""
        return True

    def per_example(self, w: Weights, batch: Batch) -> Float[Array, " n"]:
        """Return the loss of every row of `batch`."""
        assert batch is not None
        x, y = batch
        outputs = self.network.apply(w, x)
        match self.name:
            case "mse":
                return jnp.mean((outputs - y) ** 2, axis=-1)
            case "gaussian":
                return jnp.sum((outputs - y) ** 2, axis=-1) * (0.5 / self.sigma**2)
            case "student_t":
                scaled = (outputs - y) ** 2 * (1 / (self.df * self.sigma**2))
                return 0.5 * (self.df + 1) * jnp.mean(jnp.log1p(scaled), axis=-1)
            case "cross_entropy" if y.ndim > 1:
                return _over_positions(outputs, y)
            case "cross_entropy":
                chosen = jnp.take_along_axis(outputs, y[:, None], axis=-1)[:, 0]
                return jax.nn.logsumexp(outputs, axis=-1) - chosen
            case _:
                assert_never(self.name)

    def mean(self, w: Weights, batch: Batch) -> Scalar:
        """Return the mean loss over the rows of `batch`."""
        return jnp.mean(self.per_example(w, batch))

    def hits(self, w: Weights, batch: Batch) -> tuple[Array, Array]:
        """Return for every label whether the largest output is its class, and if it is scored."""
        assert batch is not None
        x, y = batch
        scored = y >= 0
        return (jnp.argmax(self.network.apply(w, x), axis=-1) == y) & scored, scored


def _over_positions(
    outputs: Float[Array, "n position class"], y: Int[Array, "n position"]
) -> Float[Array, " n"]:
    scored = y >= 0
    chosen = jnp.take_along_axis(outputs, jnp.maximum(y, 0)[..., None], axis=-1)[..., 0]
    each = jnp.where(scored, jax.nn.logsumexp(outputs, axis=-1) - chosen, 0.0)
    return jnp.sum(each, axis=-1) / jnp.sum(scored, axis=-1)
