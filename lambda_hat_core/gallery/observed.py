"""The means of a run's observables, as a table of the page."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from html import escape
from pathlib import Path
from typing import Any

from lambda_hat_core.analysis.words import plus_minus

_MOST = 24
"""Most values in the table. Of rows, those whose loss rises most are shown."""


@dataclass(frozen=True)
class Mean:
    """The mean of one value under the posterior.

    Attributes:
        name: of the observable.
        index: number of the value, such as its row.
        at_minimum: its value at w*.
        mean: its mean.
        se: its standard error.
        r_hat: its R-hat.
    """

    name: str
    index: int
    at_minimum: float | None
    mean: float | None
    se: float | None
    r_hat: float | None


def read_means(path: Path) -> tuple[Mean, ...]:
    """Return the means in `observables.parquet`; none if there is no such file."""
    if not path.exists():
        return ()
    from pyarrow import parquet

    names = [field.name for field in fields(Mean)]
    rows: list[dict[str, Any]] = parquet.read_table(path, columns=names).to_pylist()
    return tuple(Mean(**row) for row in rows)


def table(means: Sequence[Mean]) -> str:
    """Return the means as a table; nothing if there are none."""
    if not means:
        return ""
    shown = sorted(means, key=_rise, reverse=True)[:_MOST]
    kept = [one for one in means if one in shown]
    lines = "".join(
        f'<tr><th scope="row">{escape(_label(one, means))}</th>'
        + "".join(f"<td>{escape(text)}</td>" for text in _cells(one))
        + "</tr>"
        for one in kept
    )
    left = len(means) - len(kept)
    more = f" that rise most, of {len(means)}: observables.parquet has all" if left else ""
    head = "".join(f'<th scope="col">{name}</th>' for name in ("", "at w*", "mean", "R-hat"))
    return (
        f"<table><caption>Observables{more}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{lines}</tbody></table>"
    )


def _rise(one: Mean) -> float:
    """Return how far a value rises; those that are not losses of rows come first."""
    if one.mean is None or one.at_minimum is None:
        return -1.0
    return abs(one.mean - one.at_minimum) + (1e300 if "per_example" not in one.name else 0.0)


def _label(one: Mean, means: Sequence[Mean]) -> str:
    alone = sum(other.name == one.name for other in means) == 1
    return one.name if alone else f"{one.name}[{one.index}]"


def _cells(one: Mean) -> tuple[str, str, str]:
    at = "" if one.at_minimum is None else f"{one.at_minimum:.4g}"
    mean = "" if one.mean is None else plus_minus(one.mean, one.se)
    return at, mean, "" if one.r_hat is None else f"{one.r_hat:.3f}"
