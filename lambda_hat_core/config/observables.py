"""What is recorded beside the loss of every draw: names of functions of w, with rows.

`val` is the mean loss on the data set of that name or the function of that name, `per_example` the
losses of single rows of the target's own data, and `val.per_example[0:20]` those of the first 20
rows of a data set. `loss`, the mean loss on all of the target's own data, is always recorded.
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from lambda_hat_core.config.errors import Misfit, Place

LOSS = "loss"
"""The name of the mean loss on all of the target's own data."""

PER_EXAMPLE = "per_example"
"""The word for the losses of single rows."""

MOST_ROWS = 512
"""Rows that are recorded where none are named: at most so many, evenly spaced."""

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_WRITTEN = re.compile(
    rf"^(?:(?P<rows_of>{_NAME})\.)?{PER_EXAMPLE}(?:\[(?P<rows>[^\[\]]+)\])?$|^(?P<name>{_NAME})$"
)
_ROWS = re.compile(r"^(\d+)?(:)?(\d+)?(?::(\d+))?$")


class Wanted(NamedTuple):
    """One entry of `observables`.

    Attributes:
        text: the entry as it is written.
        name: of the data set or function; None: the target's own data.
        is_rows: whether the losses of single rows are meant.
        rows: which of them; None: up to `MOST_ROWS`, evenly spaced.
    """

    text: str
    name: str | None
    is_rows: bool
    rows: slice | None

    @property
    def label(self) -> str:
        """The name under which its values are found, which has no rows."""
        return self.text.partition("[")[0]


def is_name(value: Any) -> bool:
    """Return whether a data set or a function may have this name."""
    return isinstance(value, str) and re.fullmatch(_NAME, value) is not None


def written(value: Any) -> Any:
    """Return entries without spaces, in alphabetical order and once each; others unchanged."""
    if isinstance(value, str):
        value = (value,)
    texts = isinstance(value, list | tuple) and all(isinstance(entry, str) for entry in value)
    return tuple(sorted({re.sub(r"\s", "", entry) for entry in value})) if texts else value


def read_observables(
    values: Any, place: Place, way_out: str = "write [val, 'per_example[0:20]'], or remove it"
) -> tuple[str, ...] | None:
    """Return the observables of an experiment or of a call, or None.

    Args:
        values: as they are written.
        place: where.
        way_out: what to do if they are no list of names.

    Raises:
        ConfigError: if an entry is none.
    """
    if values is None:
        return None
    found = written(values)
    if not isinstance(found, tuple) or not found:
        rule = "must be a list of names of data sets, functions and rows"
        raise place.error(rule, way_out, values)
    try:
        parsed(found)
    except Misfit as misfit:
        raise place.error(misfit.rule, misfit.way_out, values) from None
    return found


def parsed(entries: Sequence[str]) -> tuple[Wanted, ...]:
    """Return the entries of `observables`.

    Raises:
        Misfit: if one is not a name with rows, or two have the same name.
    """
    found = tuple(_parsed(text) for text in entries)
    labels = [entry.label for entry in found]
    for label in labels:
        if labels.count(label) > 1:
            rule = f"{label} occurs twice"
            raise Misfit("observables", list(entries), rule, "name its rows in one entry")
    return found


def _parsed(text: str) -> Wanted:
    found = _WRITTEN.match(text)
    if found is None:
        raise Misfit(
            "observables",
            text,
            "an entry is the name of a data set or function, or per_example with rows",
            "write val, per_example[0:20] or val.per_example",
        )
    if found["name"] == LOSS:
        rule = "the loss on the target's own data is recorded in every run"
        raise Misfit("observables", text, rule, "leave it out")
    if found["name"] is not None:
        return Wanted(text, found["name"], False, None)
    rows = None if found["rows"] is None else _rows(text, found["rows"])
    return Wanted(text, found["rows_of"], True, rows)


def _rows(text: str, inside: str) -> slice:
    found = _ROWS.match(inside)
    if found is None or found[4] == "0":
        rule = "rows are a number or a slice, without negative numbers"
        raise Misfit("observables", text, rule, "write per_example[3] or per_example[0:200:10]")
    first, colon, end, step = found.groups()
    if colon is None:
        return slice(int(first), int(first) + 1)
    return slice(*(None if part is None else int(part) for part in (first, end, step)))
