"""What is to be minimised: a loss, its data, where to start, and what is known beforehand."""

from typing import NamedTuple

from jaxtyping import Array

from lambda_hat_core.posterior import Loss
from lambda_hat_core.targets.networks.layout import Shapes
from lambda_hat_core.types import Batch, Weights


class Problem(NamedTuple):
    """Everything `build` needs, in float64.

    Attributes:
        loss: the training loss.
        data: arrays with leading axis n in any pytree, or None for a potential.
        n: examples; for a potential, the n of n beta.
        start: where training starts; w* itself where `trains` is false.
        shapes: of the named arrays that make up the flat vector.
        trains: whether training and polish may move the start.
        test: held-out examples, for figures only.
        clean: labels without noise of the examples and of the test, where a teacher made them.
        truth: weights of this network that generate the clean labels, where there are any.
        claim: a coefficient that a custom target's author states.
        maker: who made it, as errors name it.
    """

    loss: Loss
    data: Batch
    n: int
    start: Weights
    shapes: Shapes
    trains: bool = True
    test: Batch = None
    clean: tuple[Array, Array] | None = None
    truth: Weights | None = None
    claim: float | None = None
    maker: str = "the target"
