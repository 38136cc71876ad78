r"""Losses whose labels are a model's own outputs at w*, so that w* is an exact minimum.

mse: mean over outputs of r^2, r = f(w) - f(w*).   gaussian: sum of r^2 / (2 sigma^2).
cross_entropy: the divergence sum_k p*_k (log p*_k - log p_k) from its own probabilities
p* = softmax(f(w*)), which is the cross entropy less its value at w*.
All of them are 0 at w*, with gradient 0, and nowhere lower. Outputs are the last axis; other axes
of an example, such as positions in a sequence, are averaged over.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, assert_never, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Scalar

from lambda_hat_core.programs import compiled
from lambda_hat_core.targets.audit import Audit
from lambda_hat_core.targets.closures import detached
from lambda_hat_core.targets.loss_check import averages_rows, refusal, traced
from lambda_hat_core.targets.problem import Problem
from lambda_hat_core.targets.program import program_of
from lambda_hat_core.types import Batch, Weights

BaseLoss = Literal["mse", "gaussian", "cross_entropy"]


@runtime_checkable
class Applied(Protocol):
    """A model as a function of a flat weight vector; compared by value."""

    def apply(self, w: Weights, x: Any) -> Array:
        """Return the outputs for every row of x."""
        ...


@dataclass(frozen=True)
class CustomOutputs:
    """A user's outputs as a function of flat vectors; equality is that of `identity`.

    Attributes:
        identity: functions that compute different numbers have different identities.
        narrow: `outputs(params, batch)` for use while 64-bit types are off.
        wide: the same for use while they are on.
        rebuild: converts a flat vector to `params`.
    """

    identity: Hashable
    narrow: Callable[[Any, Any], Any] = field(compare=False)
    wide: Callable[[Any, Any], Any] = field(compare=False)
    rebuild: Callable[[Weights], Any] = field(compare=False)

    def apply(self, w: Weights, x: Any) -> Array:
        """Call the user's function."""
        function = self.wide if jax.config.jax_enable_x64 else self.narrow
        return function(self.rebuild(w), x)


@dataclass(frozen=True)
class SelfLabelled:
    """The loss of a model on a batch (x, outputs at w*) or (x, outputs at w*, weights of rows).

    Attributes:
        model: the model.
        name: the loss that compares its outputs with those at w*.
        sigma: noise scale of gaussian; 1 for the other losses.
        by_row: whether the outputs of a row depend on that row alone.
    """

    model: Applied
    name: BaseLoss
    sigma: float = 1.0
    by_row: bool = True

    @property
    def has_per_example(self) -> bool:
        """Whether every example has its own loss."""
        return self.by_row

    def per_example(self, w: Weights, batch: Batch) -> Float[Array, " n"]:
        """Return the loss of every row of `batch`, times its weight if rows have weights."""
        assert batch is not None
        x, labels, *weights = batch
        found = self._of_rows(_last_axis(self.model.apply(w, x)), _last_axis(labels))
        each = jnp.mean(found.reshape(found.shape[0], -1), axis=1)
        return each * weights[0] if weights else each

    def _of_rows(self, outputs: Array, labels: Array) -> Array:
        match self.name:
            case "mse":
                return jnp.mean((outputs - labels) ** 2, axis=-1)
            case "gaussian":
                return jnp.sum((outputs - labels) ** 2, axis=-1) / (2 * self.sigma**2)
            case "cross_entropy":
                own = jax.nn.log_softmax(labels, axis=-1)
                return jnp.sum(jnp.exp(own) * (own - jax.nn.log_softmax(outputs, axis=-1)), axis=-1)
            case _:
                assert_never(self.name)

    def mean(self, w: Weights, batch: Batch) -> Scalar:
        """Return the mean loss over the rows of `batch`."""
        return jnp.mean(self.per_example(w, batch))


def _last_axis(outputs: Array) -> Array:
    return outputs[:, None] if outputs.ndim == 1 else outputs


@compiled
def labels(loss: SelfLabelled, w: Weights, x: Any) -> Array:
    """Return the outputs at w, which are the labels."""
    return loss.model.apply(w, x)


def own_labels(problem: Problem, sigma: float | None, known: Hashable | None = None) -> Problem:
    """Return a custom target's problem with its own outputs at `problem.start` as labels.

    Args:
        problem: its loss is a `custom.CustomLoss`.
        sigma: noise scale, which turns mse into gaussian.
        known: the identity of the outputs if it is known, by default the hash of their program.

    Raises:
        ValueError: if there is no such function, or it does not return floats for every row.
    """
    maker, outputs = problem.maker, problem.outputs
    loss: Any = problem.loss
    if outputs is None:
        rule = "posterior.loss self_labelled needs outputs(params, batch), the model's outputs"
        way_out = "pass it as outputs, with outputs_loss: mse, or cross_entropy for logits"
        raise refusal(maker, "has a loss but no outputs", f"{rule}: {way_out}")
    if problem.data is None:
        did = "is a potential, which has no examples to label"
        raise refusal(maker, did, "pass data, or choose the target's own loss")
    if outputs.loss not in ("mse", "cross_entropy"):
        rule = "it is mse, or cross_entropy if the outputs are logits"
        raise refusal(maker, f"has outputs_loss = {outputs.loss!r}", rule)
    if sigma is not None and outputs.loss == "cross_entropy":
        rule = "the outputs of classes have no noise scale: remove posterior.sigma"
        raise refusal(maker, f"has outputs_loss cross_entropy, and sigma = {sigma:g}", rule)
    with jax.enable_x64(False):
        narrow = detached(outputs.function)
    with jax.enable_x64(True):
        wide = detached(outputs.function)
    rows, *weights = problem.data if loss.weighted else (problem.data,)
    own = CustomOutputs(known, narrow, wide, loss.rebuild)
    numbers: BaseLoss = "mse" if sigma is None else "gaussian"
    name: BaseLoss = numbers if outputs.loss == "mse" else "cross_entropy"
    made = SelfLabelled(own, name, sigma or 1.0)
    _check_outputs(maker, made, problem.start, rows, problem.n)
    if known is None:
        at = problem.start
        shape = jax.eval_shape(own.apply, at, rows)
        unlabelled = (rows, jax.device_put(np.zeros(shape.shape, shape.dtype)))
        made = replace(made, model=replace(own, identity=program_of(made.mean, at, unlabelled)))
    data = (rows, labels(made, problem.start, rows), *weights)
    made = replace(made, by_row=averages_rows(made, problem.start, data))
    sets = {
        name: _own(made, problem.start, batch, weighted=loss.weighted)
        for name, batch in problem.named.data_sets.items()
    }
    return problem._replace(
        loss=made,
        data=data,
        trains=False,
        claim=None,
        named=problem.named._replace(data_sets=sets),
    )


def _own(made: SelfLabelled, w: Weights, batch: Batch, *, weighted: bool) -> Batch:
    """Return the rows of a data set with the outputs at w as labels."""
    assert batch is not None
    rows, *weights = batch if weighted else (batch,)
    return (rows, labels(made, w, rows), *weights)


def own_minimum(problem: Problem) -> Audit:
    """Return the audit of a model at its own labels, where there is nothing to be found."""
    nothing = np.zeros(0)
    return Audit(0.0, 0.0, nothing, False, 0.0, False, (), jnp.zeros_like(problem.start), 0.0)


def _check_outputs(maker: str, loss: SelfLabelled, w: Weights, rows: Any, n: int) -> None:
    rule = f"it returns floats of shape ({n}, outputs): one row for every row of the batch"
    did = "has outputs(params, batch) that raised"
    found = traced(maker, lambda: jax.eval_shape(loss.model.apply, w, rows), did, rule)
    shape, dtype = getattr(found, "shape", ()), getattr(found, "dtype", None)
    if dtype is None or not shape or shape[0] != n or not jnp.issubdtype(dtype, jnp.floating):
        seen = type(found).__name__ if dtype is None else f"{dtype} of shape {shape}"
        raise refusal(maker, f"has outputs(params, batch) that return {seen}", rule)
