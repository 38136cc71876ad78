"""Targets made by a function of the user: `factory(key, **kwargs) -> CustomTarget`."""

import json
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Scalar

from lambda_hat_core.config.model import Custom
from lambda_hat_core.targets.arrays import checked_data, flattened, rebuilder, shares, stated
from lambda_hat_core.targets.calling import called
from lambda_hat_core.targets.closures import detached, fresh
from lambda_hat_core.targets.contract import check_contract
from lambda_hat_core.targets.idle import idle
from lambda_hat_core.targets.loss_check import (
    averages_rows,
    check_derivatives,
    check_loss,
    check_training_layers,
    check_value,
    refusal,
)
from lambda_hat_core.targets.manyrows import each_row, mean_of_rows
from lambda_hat_core.targets.networks.layout import Shapes
from lambda_hat_core.targets.observables import named
from lambda_hat_core.targets.parts import parts
from lambda_hat_core.targets.probe import probed
from lambda_hat_core.targets.problem import Metric, Outputs, Problem
from lambda_hat_core.targets.program import program_of
from lambda_hat_core.types import Batch, Weights


@dataclass(frozen=True)
class CustomTarget:
    """The object that a factory returns.

    Attributes:
        params: any pytree, or an Equinox module, of float arrays: w*, or, if `train` is true, the
            start of the training.
        loss: `loss(params, batch) -> scalar`, the mean over the rows of `batch`. JAX must be able
            to differentiate it twice at w*, because every sampler needs the Hessian there.
        data: any pytree of arrays with leading axis n, or None for a potential.
        n: number of examples; for a potential it determines n beta.
        llc_known: the coefficient, if the author knows it, as a finite number.
        train: whether `params` are to be trained and polished.
        weights: what each row counts in the loss of a batch, n numbers > 0, if rows do not count
            equally: `loss` is then sum_i weights_i l_i / sum_i weights_i over the rows of `batch`.
            For a mean over tokens under a mask, the weight of a row is the sum of its mask. With
            them minibatch gradients are unbiased for the loss of all rows.
        sample_all: whether to sample also the arrays that the loss depends on without a gradient,
            such as those read through stop_gradient, which by default keep their values.
        metric: `metric(params) -> scalar`, such as an accuracy, shown beside the LLC of the
            checkpoints of a training.
        outputs: `outputs(params, batch) -> array`, the model's outputs with one row for every row
            of `batch`, which posterior.loss self_labelled takes as labels.
        outputs_loss: what compares two outputs: mse, or cross_entropy if they are logits.
        data_sets: other rows by name, pytrees like `data`, which observables may name.
        functions: `f(params) -> number or array` by name, which observables may name.
        restrict_names: lists of patterns by name, which posterior.restrict may name in place of
            them: `{"heads": ["attention.*", "output[0:4]"]}`.
    """

    params: Any
    loss: Callable[[Any, Any], Any]
    data: Any
    n: int
    llc_known: float | None = None
    train: bool = False
    weights: Any = None
    sample_all: bool = False
    metric: Callable[[Any], Any] | None = None
    outputs: Callable[[Any, Any], Any] | None = None
    outputs_loss: str = "mse"
    data_sets: Mapping[str, Any] | None = None
    functions: Mapping[str, Callable[[Any], Any]] | None = None
    restrict_names: Mapping[str, str | Sequence[str]] | None = None


@dataclass(frozen=True)
class CustomLoss:
    """A user's loss as a function of flat vectors; equality is that of `identity`.

    Attributes:
        identity: losses that compute different numbers have different identities.
        narrow: `loss(params, batch)` for use while 64-bit types are off.
        wide: the same for use while they are on.
        rebuild: converts a flat vector to `params`.
        weighted: whether a batch is a pair of the user's rows and their weights, in units of the
            mean weight of all rows.
        by_row: whether the loss of a batch is the mean of the losses of its rows.
    """

    identity: Hashable
    narrow: Callable[[Any, Any], Any] = field(compare=False)
    wide: Callable[[Any, Any], Any] = field(compare=False)
    rebuild: Callable[[Weights], Any] = field(compare=False)
    weighted: bool = False
    by_row: bool = False

    @property
    def has_per_example(self) -> bool:
        """Whether the loss of a batch was seen to be the mean of the losses of its rows."""
        return self.by_row

    def per_example(self, w: Weights, batch: Batch) -> Float[Array, " n"]:
        """Return the loss of every row, each of which is a batch of one."""

        def of_row(row: Batch) -> Scalar:
            return self._at_once(w, jax.tree.map(lambda a: a[None], row))

        return each_row(of_row, batch)

    def __call__(self, w: Weights, batch: Batch) -> Any:
        """Call the user's function."""
        function = self.wide if jax.config.jax_enable_x64 else self.narrow
        return function(self.rebuild(w), batch[0] if self.weighted else batch)

    def mean(self, w: Weights, batch: Batch) -> Scalar:
        """Return the mean loss over the rows of `batch`, of many rows one part after the other.

        The user's function divides by the weights of the batch, which vary. The mean over rows of
        weight times loss, of which minibatches are unbiased estimates, divides by those of all.
        """
        if self.by_row and batch is not None:
            return mean_of_rows(lambda part: self._at_once(w, part), batch)
        return self._at_once(w, batch)

    def _at_once(self, w: Weights, batch: Batch) -> Scalar:
        value = jnp.asarray(self(w, batch))
        return value * jnp.mean(batch[1]) if self.weighted else value


class Known(NamedTuple):
    """What is known about a target that has been checked, in float64.

    Attributes:
        sampled: names of the arrays in the flat vector.
        identity: that of its loss, or None.
        by_row: whether the mean of the losses of rows is the loss, None where it is not known.
    """

    sampled: tuple[str, ...]
    identity: Hashable | None = None
    by_row: bool | None = None


def known(problem: Problem) -> Known:
    """Return what a problem in float64 says about the same problem in another precision."""
    loss: Any = problem.loss
    return Known(tuple(name for name, _ in problem.shapes), loss.identity, loss.by_row)


def prepare(
    spec: Custom, seed: int, sampled: Iterable[str] | None = None, *, step: int | None = None
) -> Problem:
    """Call the factory and return its problem.

    Args:
        spec: the factory and its arguments.
        seed: that of its key.
        step: of the checkpoint, if its target is one.
        sampled: names of the arrays in the flat vector of a target that has been built; None checks
            the target, and finds them.

    Raises:
        ValueError: if the factory fails or its result is invalid; the error names the factory, the
            mistake, the rule and the correction.
    """
    maker = f"model.factory {spec.factory}"
    made, source = called(spec, seed, step)
    if not isinstance(made, CustomTarget):
        raise refusal(
            maker,
            f"returned a {type(made).__name__}",
            "it must return lambda_hat_core.CustomTarget(params, loss, data, n)",
        )
    identity = None
    if spec.checkpoints is None:
        identity = (spec.factory, source, json.dumps([seed, spec.kwargs], sort_keys=True))
    checked = None if sampled is None else Known(tuple(sampled))
    return problem_of(made, maker, identity, checked=checked)


def problem_of(
    made: CustomTarget,
    maker: str,
    identity: Hashable | None = None,
    *,
    checked: Known | None = None,
) -> Problem:
    """Return the problem of a target that `maker` made, in this precision.

    Losses with the same `identity` share compiled programs. By default the identity is a hash of
    the traced program of the loss and its gradient.

    Args:
        made: the target.
        maker: the name of what made it, for errors.
        identity: that of its loss.
        checked: what is known if the target has been checked, in the other precision or before.

    Raises:
        ValueError: if the target is invalid; the error names the maker, the mistake, the rule and
            the correction.
    """
    if not isinstance(made.n, int) or made.n < 1:
        raise refusal(maker, f"has n = {made.n!r}", "n is a positive integer")
    check_training_layers(maker, made.params)
    arrays = flattened(maker, made.params)
    data = checked_data(maker, made.data, made.n)
    if made.weights is not None:
        if data is None:
            raise refusal(
                maker, "has weights but no data", "weights are those of rows: remove them"
            )
        data = (data, shares(maker, made.weights, made.n))
    draft = _Draft(made, maker, identity, data, arrays)
    if checked is not None:
        problem = draft.of(checked.sampled, checked.identity, by_row=checked.by_row)
        by_row = checked.by_row
    else:
        problem = draft.of(tuple(arrays))
        seen = probed(problem)
        check_contract(problem, seen, weighted=made.weights is not None)
        found = idle(problem, seen)
        if found.hidden and not made.sample_all:
            problem = draft.of(tuple(name for name in arrays if name not in found.hidden))
        problem = problem._replace(notes=found.notes(made.sample_all))
        by_row = None
    loss: Any = problem.loss
    if by_row is None:
        by_row = averages_rows(loss, problem.start, data)
    return problem._replace(loss=replace(loss, by_row=by_row))


class _Draft(NamedTuple):
    """A target whose arrays are known to be valid, but whose loss has not been called."""

    made: CustomTarget
    maker: str
    identity: Hashable | None
    data: Batch
    arrays: dict[str, np.ndarray]

    def of(
        self, names: tuple[str, ...], known: Hashable | None = None, *, by_row: bool | None = None
    ) -> Problem:
        """Return the problem in which these arrays are sampled, with a loss that can be called."""
        made, maker, arrays = self.made, self.maker, self.arrays
        if not names:
            did = "has a loss without a gradient with respect to any of its params"
            raise refusal(maker, did, "nothing is left to sample: correct it, or sample_all=True")
        shapes: Shapes = tuple((name, arrays[name].shape) for name in names)
        start = fresh(np.concatenate([arrays[name].ravel() for name in names]))
        with jax.enable_x64(False):
            narrow = detached(made.loss)
        with jax.enable_x64(True):
            wide = detached(made.loss)
        identity = known or self.identity
        if known is None and identity is not None and len(names) < len(arrays):
            identity = (identity, names)
        rebuild = rebuilder(made.params, arrays, shapes)
        weighted = made.weights is not None
        loss = CustomLoss(identity, narrow, wide, rebuild, weighted, by_row is True)
        check_loss(maker, loss, start, self.data)
        if by_row is None:
            check_derivatives(maker, loss, start, self.data)
        if identity is None:
            # Losses without an identity would share one program.
            loss = replace(loss, identity=program_of(loss.mean, start, self.data))
        check_value(maker, loss, start, self.data)
        claim = stated(maker, made.llc_known)
        outputs = None if made.outputs is None else Outputs(made.outputs, made.outputs_loss)
        sets = named(maker, made.data_sets, made.functions, loss, (start, self.data))
        return Problem(
            loss,
            self.data,
            made.n,
            start,
            shapes,
            trains=made.train,
            claim=claim,
            maker=maker,
            metric=None if made.metric is None else _metric(made.metric, rebuild),
            outputs=outputs,
            named=sets,
            parts=parts(maker, made.restrict_names, shapes),
        )


def _metric(of_params: Callable[[Any], Any], rebuild: Callable[[Weights], Any]) -> Metric:
    return lambda w: of_params(rebuild(w))
