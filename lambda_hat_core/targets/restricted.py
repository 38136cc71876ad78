"""A target of which only some parameters move: the others keep their values at w*.

The flat vector has the chosen entries only, in the order of the whole vector, so that d, the
localiser and the cost of a sampler are those of the chosen entries. The kept values are arrays of
the loss and no constants of its programs, which the checkpoints of a training therefore share.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

import equinox as eqx
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
        size: the number of chosen entries.
        moving: the positions in it of the chosen entries, in order; None: all of them.
    """

    size: int
    moving: np.ndarray | None


@dataclass(frozen=True)
class Places:
    """Where the chosen entries are in the whole flat vector; equality is that of the positions.

    Attributes:
        digest: a hash of the positions.
        pieces: the whole flat vector, in order.
    """

    digest: str
    pieces: tuple[Piece, ...] = field(compare=False, repr=False)


class Restricted(eqx.Module):
    """A loss as a function of the chosen entries.

    Attributes:
        inner: the loss as a function of all entries.
        patterns: the chosen parameters.
        places: where they are.
        values: the values at w* of every piece, of which those that move are replaced; None where
            all do.
    """

    inner: Loss = eqx.field(static=True)
    patterns: tuple[str, ...] = eqx.field(static=True)
    places: Places = eqx.field(static=True)
    values: tuple[Float[Array, " _"] | None, ...]

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
        pieces = self.places.pieces
        moving = jax.lax.split(w, [piece.size for piece in pieces])
        for piece, values, mine in zip(pieces, self.values, moving, strict=True):
            if values is None or piece.moving is None:
                parts.append(mine)
                continue
            kept = values.astype(w.dtype)
            if piece.size:
                at = kept.at[np.array(piece.moving)]
                kept = at.set(mine, unique_indices=True, indices_are_sorted=True)
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
    pieces: list[Piece] = []
    values: list[np.ndarray] = []
    index: list[np.ndarray] = []
    start = 0
    for name, shape in shapes:
        held = w[start : start + math.prod(shape)]
        moving = taken.get(dotted(name), np.arange(0))
        index.append(start + moving)
        start += held.size
        if not moving.size and pieces and pieces[-1].size == 0:
            values[-1] = np.concatenate([values[-1], held])
        else:
            whole = 0 < moving.size == held.size
            pieces.append(Piece(moving.size, None if whole else moving))
            values.append(held)
    chosen_at = np.concatenate(index)
    digest = hashlib.sha256(f"{w.size} {chosen_at.tolist()}".encode()).hexdigest()[:16]
    arrays = tuple(
        None if piece.moving is None else jax.device_put(held)
        for piece, held in zip(pieces, values, strict=True)
    )
    places = Places(digest, tuple(pieces))
    return Restricted(loss, tuple(patterns), places, arrays), chosen_at


def _names(shapes: Shapes, patterns: Sequence[str], names: Names) -> Shapes:
    """Return the names of the arrays that move; one that moves in part is a vector."""
    taken = chosen(patterns, {dotted(name): shape for name, shape in shapes}, names)
    found: list[tuple[str, tuple[int, ...]]] = []
    for name, shape in shapes:
        count = taken[dotted(name)].size if dotted(name) in taken else 0
        if count:
            found.append((name, shape if count == math.prod(shape) else (count,)))
    return tuple(found)
