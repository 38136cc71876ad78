"""A target of which only some parameters move: the others keep their values at w*.

The flat vector has the chosen entries only, in the order of the whole vector, so that d, the
localiser and the cost of a sampler are those of the chosen entries.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Scalar

from lambda_hat_core.config.errors import Misfit
from lambda_hat_core.config.restrict import chosen
from lambda_hat_core.posterior import Loss, Target
from lambda_hat_core.targets.networks.layout import Shapes, dotted
from lambda_hat_core.targets.problem import Problem
from lambda_hat_core.types import Batch, Weights


class Piece(NamedTuple):
    """A part of the whole flat vector.

    Attributes:
        values: its values at w*, in float64.
        moving: the positions in it of the chosen entries, in order; None: all of them.
    """

    values: np.ndarray
    moving: np.ndarray | None

    @property
    def size(self) -> int:
        """The number of chosen entries."""
        return self.values.size if self.moving is None else self.moving.size


@dataclass(frozen=True)
class Restricted:
    """A loss as a function of the chosen entries; equality is that of the loss, choice and w*.

    Attributes:
        inner: the loss as a function of all entries.
        patterns: the chosen parameters.
        digest: a hash of w*.
        pieces: the whole flat vector, in order.
    """

    inner: Loss
    patterns: tuple[str, ...]
    digest: str
    pieces: tuple[Piece, ...] = field(compare=False, repr=False)

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
        moving = jax.lax.split(w, [piece.size for piece in self.pieces])
        for piece, mine in zip(self.pieces, moving, strict=True):
            # A copy: JAX keeps the dtype that it first saw an array in.
            values = jnp.asarray(np.array(piece.values, w.dtype))
            if piece.moving is None:
                parts.append(mine)
            elif piece.size:
                places = np.array(piece.moving)
                parts.append(
                    values.at[places].set(mine, unique_indices=True, indices_are_sorted=True)
                )
            else:
                parts.append(values)
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
    return Target(target.w0[index], target.data, loss, target.n)


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
    pieces: list[Piece] = []
    index: list[np.ndarray] = []
    start = 0
    for name, shape in shapes:
        values = np.asarray(w[start : start + math.prod(shape)], np.float64)
        moving = taken.get(dotted(name), np.arange(0))
        index.append(start + moving)
        start += values.size
        kept = not moving.size
        if kept and pieces and pieces[-1].size == 0:
            pieces[-1] = Piece(np.concatenate([pieces[-1].values, values]), moving)
        else:
            pieces.append(Piece(values, None if moving.size == values.size else moving))
    digest = hashlib.sha256(np.asarray(w, np.float64).tobytes()).hexdigest()[:16]
    return Restricted(loss, tuple(patterns), digest, tuple(pieces)), np.concatenate(index)


def _names(shapes: Shapes, patterns: Sequence[str], names: Names) -> Shapes:
    """Return the names of the arrays that move; one that moves in part is a vector."""
    taken = chosen(patterns, {dotted(name): shape for name, shape in shapes}, names)
    found: list[tuple[str, tuple[int, ...]]] = []
    for name, shape in shapes:
        count = taken[dotted(name)].size if dotted(name) in taken else 0
        if count:
            found.append((name, shape if count == math.prod(shape) else (count,)))
    return tuple(found)
