"""The problem to be minimised: a loss, its data, the start, and what is known beforehand."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from jaxtyping import Array

from lambda_hat_core.posterior import Loss
from lambda_hat_core.targets.networks.layout import Shapes
from lambda_hat_core.types import Batch, Weights

Metric = Callable[[Weights], Any]
"""A number to judge flat weights by, such as an accuracy."""


class Outputs(NamedTuple):
    """What the author of a custom target says its outputs are.

    Attributes:
        function: `outputs(params, batch) -> array`, one row for every row of `batch`.
        loss: what compares two outputs: mse, or cross_entropy if they are logits.
    """

    function: Callable[[Any, Any], Any]
    loss: str = "mse"


class Named(NamedTuple):
    """What the observables of a run may name.

    Attributes:
        data_sets: rows like those of the target's data, by name, as batches of its loss.
        functions: functions of the whole flat vector, by name.
    """

    data_sets: Mapping[str, Batch]
    functions: Mapping[str, Callable[[Weights], Any]]


NOTHING_NAMED = Named({}, {})


class Problem(NamedTuple):
    """Everything that `build` needs, in float64.

    Attributes:
        loss: the training loss.
        data: arrays with leading axis n in any pytree, or None for a potential.
        n: number of examples; for a potential, the n of n beta.
        start: where training starts; if `trains` is false, w* itself.
        shapes: names and shapes of the arrays that make up the flat vector.
        trains: whether training and polish may change the parameters.
        test: held-out examples, for figures only.
        clean: noiseless labels of the training and test examples, if a teacher made them.
        truth: weights of this network that generate the noiseless labels, if there are any.
        claim: a coefficient that the author of a custom target states.
        maker: the name of what made the target, for errors.
        notes: what else its author should know, in sentences.
        metric: a number of the author's own choice, for the checkpoints of a training.
        outputs: the outputs of a custom target, if its author gives them.
        named: data sets and functions that observables may name.
        parts: patterns that posterior.restrict may name, by name.
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
    notes: tuple[str, ...] = ()
    metric: Metric | None = None
    outputs: Outputs | None = None
    named: Named = NOTHING_NAMED
    parts: Mapping[str, tuple[str, ...]] = MappingProxyType({})
