"""Which parameters are sampled: globs over dotted names, with slices.

`layers.0.*` are all arrays whose names match, and `head.weight[0:16, :4]` the entries of one slice,
as in NumPy. A name is matched as a whole, with `*` for any characters and `?` for one.
"""

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from lambda_hat_core.config.errors import Misfit

if TYPE_CHECKING:
    import numpy as np

EACH_LAYER, EACH_HEAD = "each_layer", "each_head"
EACH = {EACH_LAYER: "layer", EACH_HEAD: "head"}
"""The words that stand for one run per layer or attention head, where the plan knows them."""

_WITH_SLICES = re.compile(r"^(?P<glob>[^\[\]]+?)(?:\[(?P<slices>[^\[\]]*)\])?$")
_AXIS = re.compile(r"^(-?\d*)(?:(:)(-?\d*)(?::(-?\d*))?)?$")
_MOST_NAMES = 20


class Pattern(NamedTuple):
    """A glob, and the slices of the arrays that it matches, one for each of the first axes."""

    glob: str
    slices: tuple[slice | int, ...]


def parsed(text: str) -> Pattern:
    """Return a pattern from its text.

    Raises:
        Misfit: if it is not a glob with slices.
    """
    found = _WITH_SLICES.match(text.strip())
    inside = "" if found is None else found["slices"]
    axes = [] if inside is None else [axis.strip() for axis in inside.split(",")]
    if found is None or not all(axis and _AXIS.match(axis) for axis in axes):
        raise Misfit(
            "restrict",
            text,
            "an entry is a glob over the names of parameters, with slices of their axes at its end",
            "write layers.0.*, head.weight[0:16] or head.weight[0:16, :4]",
        )
    slices = tuple(_axis(axis) for axis in axes)
    if 0 in (s.step for s in slices if isinstance(s, slice)):
        raise Misfit("restrict", text, "the step of a slice is not 0", "write 1, or leave it out")
    return Pattern(found["glob"], slices)


def written(text: str) -> str:
    """Return a pattern without spaces, so that two ways to write it are the same."""
    return re.sub(r"\s", "", text)


def chosen(
    patterns: Sequence[str],
    shapes: Mapping[str, tuple[int, ...]],
    names: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> "dict[str, np.ndarray]":
    """Return the positions of the chosen entries in each array that has some, in order.

    Args:
        patterns: as `parsed` reads them; an entry that several of them name is taken once.
        shapes: the shapes of all arrays by dotted name, in the order of the flat vector.
        names: patterns that one of `patterns` may stand for, by name.

    Raises:
        Misfit: if a pattern matches no array, or its slices do not fit one or leave nothing.
    """
    # Plans are made without NumPy, unless a run is restricted.
    import numpy as np

    found: dict[str, np.ndarray] = {}
    for text in [text for entry in patterns for text in names.get(entry, (entry,))]:
        pattern = parsed(text)
        matching = [name for name in shapes if fnmatchcase(name, pattern.glob)]
        if not matching:
            known = [*names, *shapes]
            listed = ", ".join(known[:_MOST_NAMES])
            more = f" and {len(known) - _MOST_NAMES} more" if len(known) > _MOST_NAMES else ""
            rule = f"no parameter has the name {pattern.glob}"
            raise Misfit("restrict", text, rule, f"there are {listed}{more}")
        for name in matching:
            taken = _taken(text, name, shapes[name], pattern.slices)
            found[name] = np.union1d(found.get(name, taken), taken)
    return {name: found[name] for name in shapes if name in found}


def _taken(
    text: str, name: str, shape: tuple[int, ...], slices: tuple[slice | int, ...]
) -> "np.ndarray":
    import numpy as np

    places = np.arange(int(np.prod(shape, dtype=np.int64))).reshape(shape)
    outside = [
        index
        for index, length in zip(slices, shape, strict=False)
        if isinstance(index, int) and not -length <= index < length
    ]
    if len(slices) > len(shape) or outside:
        rule = f"{text} is outside of {name}, which has shape {list(shape)}"
        raise Misfit("restrict", text, rule, "choose slices within that shape")
    taken = places[slices].ravel()
    if not taken.size:
        rule = f"{text} takes nothing of {name}, which has shape {list(shape)}"
        raise Misfit("restrict", text, rule, "choose slices that take an entry")
    return np.sort(taken)


def _axis(text: str) -> slice | int:
    if ":" not in text:
        return int(text)
    return slice(*(int(part) if part else None for part in text.split(":")))
