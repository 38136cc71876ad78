"""The protocol of every network: a function of a flat weight vector and a batch of inputs."""

from typing import Protocol, runtime_checkable

from jaxtyping import Array, Float, PRNGKeyArray

from lambda_hat_core.targets.networks.layout import Shapes
from lambda_hat_core.types import Weights


@runtime_checkable
class Network(Protocol):
    """A network. Implementations are frozen dataclasses without arrays, compared by value."""

    @property
    def in_dim(self) -> int:
        """The length of an input row."""
        ...

    @property
    def out_dim(self) -> int:
        """The length of an output row."""
        ...

    @property
    def shapes(self) -> Shapes:
        """Names and shapes of the weights, in the order of the flat vector."""
        ...

    @property
    def size(self) -> int:
        """The number of weights d."""
        ...

    def init(self, key: PRNGKeyArray) -> Weights:
        """Draw random weights."""
        ...

    def apply(self, w: Weights, x: Float[Array, "n p"]) -> Float[Array, "n q"]:
        """Return the outputs for every row of x."""
        ...
