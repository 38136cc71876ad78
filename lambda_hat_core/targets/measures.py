"""What a checkpoint is judged by beside its LLC: training loss, test loss and a metric."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from lambda_hat_core.posterior import mean_loss
from lambda_hat_core.programs import compiled
from lambda_hat_core.targets.loss_check import refusal
from lambda_hat_core.targets.losses import Supervised
from lambda_hat_core.targets.problem import Problem
from lambda_hat_core.types import Batch, Weights


class Measures(NamedTuple):
    """Numbers at one step of a training; None where there is no such number.

    Attributes:
        train_loss: mean training loss over the training examples.
        test_loss: the same over held-out examples.
        metric: that of the factory, else the share of examples of known class that are classified
            correctly, held-out ones if there are any.
    """

    train_loss: float
    test_loss: float | None
    metric: float | None

    def words(self, problem: Problem) -> str:
        """Return the numbers with their names."""
        pairs = (("loss", self.train_loss), ("test loss", self.test_loss))
        named = [f"{name} {value:.4g}" for name, value in pairs if value is not None]
        if self.metric is not None:
            named.append(f"{metric_name(problem)} {self.metric:.4g}")
        return ", ".join(named)


def metric_name(problem: Problem) -> str | None:
    """Return what the metric of a problem is, or None if it has none."""
    if problem.metric is not None:
        return "metric"
    return "accuracy" if _has_classes(problem.loss) else None


def measures(problem: Problem, w: Weights) -> Measures:
    """Return the losses and the metric at w.

    Raises:
        ValueError: if a factory's metric fails or is no number; the error names the factory.
    """
    loss, test = problem.loss, problem.test
    held_out = None if test is None else float(mean_loss(loss, w, test))
    return Measures(float(mean_loss(loss, w, problem.data)), held_out, _metric(problem, w))


def _has_classes(loss: Any) -> bool:
    return isinstance(loss, Supervised) and loss.name == "cross_entropy"


def _metric(problem: Problem, w: Weights) -> float | None:
    if problem.metric is None:
        rows = problem.data if problem.test is None else problem.test
        loss: Any = problem.loss
        return float(_accuracy(loss, w, rows)) if _has_classes(loss) else None
    rule = "metric(params) is a number: return a scalar"
    try:
        value = np.asarray(problem.metric(w))
    except MemoryError:
        raise
    except Exception as error:
        # Whatever a user's function raises, it is the same mistake.
        did = f"has a metric that raised {type(error).__name__}: {error}"
        raise refusal(problem.maker, did, rule) from error
    if value.shape != () or not np.issubdtype(value.dtype, np.number):
        did = f"has a metric of shape {value.shape} and type {value.dtype}"
        raise refusal(problem.maker, did, rule)
    return float(value)


@compiled
def _accuracy(loss: Supervised, w: Weights, rows: Batch) -> Array:
    right, scored = loss.hits(w, rows)
    return jnp.sum(right) / jnp.sum(scored)
