"""The columns of a gallery's table: the text of each cell, and the value it is sorted by."""

from collections.abc import Callable
from typing import Any, NamedTuple

from lambda_hat_core.analysis.words import plus_minus, short
from lambda_hat_core.gallery.rows import Row

Facts = dict[str, Any]


class Column(NamedTuple):
    """One column of numbers.

    Attributes:
        name: the field of estimate.json that the column shows and is sorted by.
        heading: the heading of the column.
        meaning: an explanation of the heading in one line.
        text: returns the text of a cell; called only if the field is not null.
        below: returns a second line in small letters; called under the same condition.
    """

    name: str
    heading: str
    meaning: str
    text: Callable[[Facts], str]
    below: Callable[[Facts], str] | None = None


def _number(name: str, digits: int = 4) -> Callable[[Facts], str]:
    return lambda facts: f"{facts[name]:.{digits}g}"


def _interval(facts: Facts) -> str:
    """Return the interval with as many digits as the estimate."""
    if facts["llc_lo"] is None or facts["llc_hi"] is None:
        return ""
    ends = (plus_minus(facts[name], facts["llc_se"]) for name in ("llc_lo", "llc_hi"))
    return " to ".join(end.partition(" ")[0] for end in ends)


def _certificate(facts: Facts) -> str:
    return plus_minus(facts["v_m"], facts.get("v_m_se"))


def _seconds(facts: Facts) -> str:
    seconds = facts["wall_s"]
    return f"{seconds:.2g}" if seconds < 10 else f"{seconds:.0f}"


COLUMNS = (
    Column(
        "llc",
        "LLC ± se",
        "estimate and standard error; below, its central 90 % interval",
        lambda facts: plus_minus(facts["llc"], facts["llc_se"]),
        _interval,
    ),
    Column("llc_known", "known λ", "exact LLC at this w*", _number("llc_known")),
    Column(
        "llc_oracle", "exact", "exact expectation at the run's nβ and gamma", _number("llc_oracle")
    ),
    Column("v_m", "V_M", "virial certificate, 1 at equilibrium", _certificate),
    Column(
        "r_hat",
        "R-hat",
        "largest R-hat over loss and distance",
        lambda f: f"{f['r_hat']:.3f}",
    ),
    Column("ess_min", "ESS", "smallest effective sample size", lambda f: f"{f['ess_min']:.0f}"),
    Column(
        "work_fge",
        "work (FGE)",
        "full-gradient evaluations of all chains, set-up included",
        lambda facts: short(float(f"{facts['work_fge']:.3g}")),
    ),
    Column("wall_s", "seconds", "wall time of sampling", _seconds),
)

_OPTIONAL = ("llc_known", "llc_oracle", "v_m")
"""Columns that are left out where no run has a value."""


def with_values(rows: list[Row]) -> list[Column]:
    """Return the columns of a table of some rows."""
    return [
        column
        for column in COLUMNS
        if column.name not in _OPTIONAL or any(r.facts.get(column.name) is not None for r in rows)
    ]


PRECISE = ("llc_se", "llc_lo", "llc_hi")
"""Further fields that the cell of the estimate contains in full precision."""


def estimate_words(row: Row) -> str:
    """Return the estimate of a row as text."""
    if row.facts.get("llc") is None:
        return "no estimate"
    return plus_minus(row.facts["llc"], row.facts["llc_se"])


def cell_words(row: Row, name: str) -> str:
    """Return the text of a row's cell in a column, empty if the field is null."""
    (column,) = (column for column in COLUMNS if column.name == name)
    return "" if row.facts.get(name) is None else column.text(row.facts)


def count_words(rows: list[Row]) -> str:
    """Return the number of rows with each verdict, such as `5 ok, 1 suspect, 1 failed`."""
    counts = {word: sum(row.verdict == word for row in rows) for word in _ORDER}
    return ", ".join(f"{count} {_ORDER[word]}" for word, count in counts.items() if count)


_ORDER = {"ok": "ok", "suspect": "suspect", "failed": "failed", "missing": "not run"}
