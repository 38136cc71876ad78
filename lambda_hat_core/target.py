"""What every sampler sees: a flat point, data, and a mean loss."""

from typing import Protocol, runtime_checkable

import equinox as eqx
from jaxtyping import Array, Float, Scalar

from lambda_hat_core.types import Batch, Weights


@runtime_checkable
class Loss(Protocol):
    """A loss surface without its data.

    Implementations are frozen dataclasses, equal by value, so that one compilation serves every
    target of one architecture.
    """

    @property
    def has_per_example(self) -> bool:
        """Whether `per_example` exists; if not, full-data losses are evaluated in float64."""
        ...

    def mean(self, w: Weights, batch: Batch) -> Scalar:
        """Mean loss over the rows of `batch` (over nothing for a potential, `batch` None)."""
        ...

    def per_example(self, w: Weights, batch: Batch) -> Float[Array, " n"]:
        """Loss of every row of `batch`; their mean is `mean`."""
        ...


class Target(eqx.Module):
    """A trained minimum w*, its data and its loss.

    Attributes:
        w0: w*, flat.
        data: arrays with leading axis n in any pytree, or None for a potential.
        loss: hashable by value.
        n: examples; for a potential, the n of n beta.
    """

    w0: Weights
    data: Batch
    loss: Loss = eqx.field(static=True)
    n: int = eqx.field(static=True)
