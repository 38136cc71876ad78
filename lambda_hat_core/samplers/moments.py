"""Recorded observables on the host: all draws of them, or their moments where those are fewer.

m observables of C chains with T draws are C T m numbers. Once that is more than the numbers of
their moments, each chunk of draws is replaced by its sums of z and of z z^T, and neighbouring
chunks are joined so that a chain has at most 16 batches: the memory of a run is of order C m^2,
however long it is. Draws at two step sizes have separate sums.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

OBSERVED = "observed"
"""The name of what the draws record, which has the loss on all data first."""

_MOST_BATCHES = 16
_SOME_BATCHES = 12
"""How many there are about if fewer than 8 chunks are kept."""
_MOST_NUMBERS = 2**22
"""Below this many numbers, 32 MB, all draws are kept however few observables there are."""

_COUNT, _SUM, _CROSS = (f"{OBSERVED}_{name}" for name in ("count", "sum", "cross"))

Part = dict[str, np.ndarray]


class Moments(NamedTuple):
    """Sums over batches of draws; the axis `kind` has all draws, or those at each step size.

    Attributes:
        size: number of draws.
        total: sum of z.
        cross: sum of z z^T.
    """

    size: Float[np.ndarray, "chain batch kind"]
    total: Float[np.ndarray, "chain batch kind m"]
    cross: Float[np.ndarray, "chain batch kind m m"]


class Recorded(NamedTuple):
    """What a run recorded after burn-in: one of the two.

    Attributes:
        draws: differences from w* of all observables.
        moments: sums of them.
    """

    draws: Float[np.ndarray, "chain draw m"] | None
    moments: Moments | None


class Columns(NamedTuple):
    """What the values of a record are.

    Attributes:
        names: of every observable, and the number of its values, in order.
        numbers: that of each value.
        rows_of: the names of those that are losses of single rows.
        at: the values at w*, in float64.
    """

    names: tuple[tuple[str, int], ...]
    numbers: tuple[int, ...]
    rows_of: tuple[str, ...]
    at: Float[np.ndarray, " m"]


class Observed(NamedTuple):
    """What the observables of a run recorded: what the values are, and the values."""

    columns: Columns
    recorded: Recorded


def sums(
    values: Float[np.ndarray, "chain draw m"], fine: Bool[np.ndarray, " draw"] | None
) -> Moments:
    """Return the sums of a batch of draws.

    Args:
        values: of the observables.
        fine: which draws were made at the smaller of two step sizes; None: all have the same.
    """
    kinds = [np.ones(values.shape[1])] if fine is None else [1.0 - fine, 1.0 * fine]
    weights = np.stack(kinds)
    count = np.broadcast_to(weights.sum(axis=1), (len(values), 1, len(kinds)))
    total = np.einsum("kt,ctm->ckm", weights, values)[:, None]
    cross = np.stack([[(chain * w[:, None]).T @ chain for w in weights] for chain in values])
    return Moments(count.copy(), total, cross[:, None])


def fold(parts: list[Part], *, alternates: bool, n_burn: int = 0, n_draws: int = 0) -> None:
    """Replace recorded draws by their sums where those are fewer numbers, in place.

    Args:
        parts: all chunks of a run, of equal length.
        alternates: whether the draws are made at two step sizes.
        n_burn: draws that are known to be dropped, which are in no sum.
        n_draws: draws of the whole run, if that is known; 0: they end by a rule.
    """
    if OBSERVED not in parts[0] and _COUNT not in parts[0]:
        return
    if _COUNT not in parts[0]:
        n_chains, length, m = parts[0][OBSERVED].shape
        kept = n_chains * length * len(parts) * m
        if kept <= max(_MOST_NUMBERS, _MOST_BATCHES * n_chains * m * (m + 1)):
            return
    largest = max(part["step_size"].max() for part in parts) if alternates else 0.0
    length = parts[0]["loss"].shape[1]
    batch = _batch_length(length, n_burn, n_draws, cycle=_cycle() if alternates else 1)
    for index, part in enumerate(parts):
        if OBSERVED in part:
            fine = part["step_size"][0] < 0.75 * largest if alternates else None
            dropped = min(max(n_burn - index * length, 0), length)
            found = _summed(part.pop(OBSERVED), fine, dropped, batch)
            part |= {_COUNT: found.size, _SUM: found.total, _CROSS: found.cross}
    kept = parts[n_burn // length :]
    width = _width(len(kept))
    for first in range(0, len(kept), width):
        _join(kept[first : first + width])


def _summed(
    values: Float[np.ndarray, "chain draw m"],
    fine: Bool[np.ndarray, " draw"] | None,
    dropped: int,
    length: int,
) -> Moments:
    """Return the sums of a chunk in batches of one length, which end with it."""
    n_draws = values.shape[1]
    starts = range(dropped + (n_draws - dropped) % length, n_draws, length)
    cuts = [slice(start, start + length) for start in starts]
    found = [sums(values[:, cut], None if fine is None else fine[cut]) for cut in cuts]
    if not found:
        return Moments(*(x[:, :0] for x in sums(values[:, :0], None if fine is None else fine[:0])))
    return Moments(*(np.concatenate(x, axis=1) for x in zip(*found, strict=True)))


def _cycle() -> int:
    """Return the draws after which both step sizes have had their share."""
    # Definitions load this module, and that one imports JAX.
    from lambda_hat_core.samplers.alternating import BLOCK, CYCLE

    return BLOCK * CYCLE


def _batch_length(length: int, n_burn: int, n_draws: int, *, cycle: int) -> int:
    """Return the draws of a batch: a chunk, or a part of one if too few chunks are kept."""
    left = n_draws - n_burn
    n_kept = -(-n_draws // length) - n_burn // length
    if not n_draws or 2 * n_kept >= _MOST_BATCHES:
        return length
    wanted = -(-left // _SOME_BATCHES)
    return min(max(wanted // cycle, 1) * cycle, left)


def _width(n_parts: int) -> int:
    """Return how many chunks a batch has: the least power of 2 that gives few enough batches."""
    width = 1
    while -(-n_parts // width) > _MOST_BATCHES:
        width *= 2
    return width


def _join(group: list[Part]) -> None:
    """Move the sums of a group of chunks into its last one."""
    last = group[-1]
    for part in group[:-1]:
        for name in (_COUNT, _SUM, _CROSS):
            if part[name].shape[1]:
                last[name] = last[name] + part[name]
                part[name] = part[name][:, :0]


def is_observed(name: str) -> bool:
    """Return whether this is the name of something that the observables recorded."""
    return name.startswith(OBSERVED)


def retained(parts: list[Part], kept: slice, *, dropped: int = 0) -> Recorded | None:
    """Return what was recorded in the draws of a slice; of sums, in the batches within it.

    Args:
        parts: all chunks of a run.
        kept: the slice.
        dropped: the `n_burn` that `fold` was told.
    """
    if OBSERVED in parts[0]:
        joined = np.concatenate([part[OBSERVED] for part in parts], axis=1)
        return Recorded(joined[:, kept], None)
    if _COUNT not in parts[0]:
        return None
    length = parts[0]["loss"].shape[1]
    width = _width(len(parts))
    first = 0 if dropped else -(-kept.start // (length * width))
    count, total, cross = (
        np.concatenate([part[name] for part in parts], axis=1)[:, first:]
        for name in (_COUNT, _SUM, _CROSS)
    )
    return Recorded(None, Moments(count, total, cross))
