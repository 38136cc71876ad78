"""A target of which only some parameters move: the others keep their values at w*.

The flat vector has the chosen entries only, in the order of the whole vector, so that d, the
localiser and the cost of a sampler are those of the chosen entries. The kept values are arrays of
the loss and no constants of its programs, which the checkpoints of a training therefore share.
"""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Scalar

from lambda_hat_core.config.errors import Misfit
from lambda_hat_core.config.restrict import chosen
from lambda_hat_core.posterior import Loss, Target
from lambda_hat_core.targets.networks.layout import Shapes, dotted
from lambda_hat_core.targets.problem import Problem
from lambda_hat_core.types import Batch, Weights


class Restricted(eqx.Module):
    """A loss as a function of the chosen entries.

    The whole flat vector is a sequence of pieces. Which of them move is known to the compiler, that
    leaves out what only the gradient of the others would need. Which entries of a piece move is an
    array, so that the heads of a layer share their programs.

    Attributes:
        inner: the loss as a function of all entries.
        sizes: the number of chosen entries of each piece.
        values: those of each piece at w*; None where all entries move.
        moving: the positions in each piece of the entries that move, in order; None where all do or
            none does.
    """

    inner: Loss = eqx.field(static=True)
    sizes: tuple[int, ...] = eqx.field(static=True)
    values: tuple[Float[Array, " _"] | None, ...]
    moving: tuple[Int[Array, " _"] | None, ...]

    @property
    def has_per_example(self) -> bool:
        """Whether the whole loss has the losses of single rows."""
        return self.inner.has_per_example

    def mean(self, w: Weights, batch: Batch) -> Scalar:
        """Return the mean loss over the rows of `batch`."""
        return self.inner.mean(self.whole(w), batch)

    def per_example(self, w: Weights, batch: Batch) -> Float[Array, " n"]:
        """Return the loss of every row of `batch`."""
        return self.inner.per_example(self.whole(w), batch)

    def whole(self, w: Weights) -> Float[Array, " whole"]:
        """Return the flat vector of all entries, in the dtype of `w`."""
        parts: list[Array] = []
        pieces = zip(self.values, self.moving, jax.lax.split(w, self.sizes), strict=True)
        for values, at, mine in pieces:
            if values is None:
                parts.append(mine)
                continue
            kept = values.astype(w.dtype)
            if at is not None:
                kept = kept.at[at].set(mine, unique_indices=True, indices_are_sorted=True)
            parts.append(kept)
        return jnp.concatenate(parts)


Names = Mapping[str, Sequence[str]]
"""The patterns that a target's own names for its parts stand for."""


def restricted(
    target: Target,
    shapes: Shapes,
    patterns: Sequence[str],
    maker: str,
    names: Names = MappingProxyType({}),
) -> Target:
    """Return a target of which only the chosen parameters move.

    Args:
        target: the whole target.
        shapes: names and shapes of the arrays in its flat vector.
        patterns: the chosen parameters, as in `config.restrict`.
        maker: the name of what made the target, for errors.
        names: its own names for its parts.

    Raises:
        ValueError: if a pattern chooses nothing; the error names the parameters that there are.
    """
    loss, index = _made(target.loss, np.asarray(target.w0), shapes, patterns, maker, names)
    moving = tuple(shape for _, shape in _names(shapes, patterns, names))
    return Target(target.w0[index], target.data, loss, target.n, moving)


def restricted_problem(problem: Problem, patterns: Sequence[str]) -> Problem:
    """Return a problem of which only the chosen parameters move, at its start.

    Patterns may be names that the problem has for its parts.

    Raises:
        ValueError: if a pattern chooses nothing; the error names the parameters that there are.
    """
    start = np.asarray(problem.start)
    shapes, names = problem.shapes, problem.parts
    loss, index = _made(problem.loss, start, shapes, patterns, problem.maker, names)
    return problem._replace(
        loss=loss,
        start=problem.start[index],
        shapes=_names(shapes, patterns, names),
        claim=None,
        truth=None,
    )


def _made(
    loss: Loss, w: np.ndarray, shapes: Shapes, patterns: Sequence[str], maker: str, names: Names
) -> tuple[Restricted, np.ndarray]:
    """Return the loss, and the positions of its entries in the whole flat vector."""
    try:
        taken = chosen(patterns, {dotted(name): shape for name, shape in shapes}, names)
    except Misfit as misfit:
        raise ValueError(f"{maker}: {misfit}") from None
    sizes: list[int] = []
    values: list[np.ndarray] = []
    positions: list[np.ndarray] = []
    index: list[np.ndarray] = []
    start = 0
    for name, shape in shapes:
        held = w[start : start + math.prod(shape)]
        at = taken.get(dotted(name), np.arange(0))
        index.append(start + at)
        start += held.size
        if not at.size and sizes and sizes[-1] == 0:
            values[-1] = np.concatenate([values[-1], held])
        else:
            sizes.append(at.size)
            values.append(held)
            positions.append(at)
    pieces = list(zip(values, positions, strict=True))
    kept = tuple(None if at.size == held.size else jax.device_put(held) for held, at in pieces)
    some = tuple(
        jax.device_put(at.astype(np.int32)) if 0 < at.size < held.size else None
        for held, at in pieces
    )
    return Restricted(loss, tuple(sizes), kept, some), np.concatenate(index)


def _names(shapes: Shapes, patterns: Sequence[str], names: Names) -> Shapes:
    """Return the names of the arrays that move; one that moves in part is a vector."""
    taken = chosen(patterns, {dotted(name): shape for name, shape in shapes}, names)
    found: list[tuple[str, tuple[int, ...]]] = []
    for name, shape in shapes:
        count = taken[dotted(name)].size if dotted(name) in taken else 0
        if count:
            found.append((name, shape if count == math.prod(shape) else (count,)))
    return tuple(found)
