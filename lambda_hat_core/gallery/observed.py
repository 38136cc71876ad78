"""The means of a run's observables, as a table of the page."""

from collections.abc import Sequence
from dataclasses import fields
from html import escape
from pathlib import Path
from typing import Any

from lambda_hat_core.analysis.observed_mean import ObservedMean
from lambda_hat_core.analysis.words import plus_minus

_MOST = 24
"""Most values in the table. Of rows, those whose loss rises most are shown."""


def read_means(path: Path) -> tuple[ObservedMean, ...]:
    """Return the means in `observables.parquet`; none if there is no such file."""
    if not path.exists():
        return ()
    from pyarrow import parquet

    names = [field.name for field in fields(ObservedMean)]
    rows: list[dict[str, Any]] = parquet.read_table(path, columns=names).to_pylist()
    return tuple(ObservedMean(**row) for row in rows)


def table(means: Sequence[ObservedMean]) -> str:
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


def _rise(one: ObservedMean) -> float:
    """Return how far a value rises; those that are not losses of rows come first."""
    if one.mean is None or one.at_minimum is None:
        return -1.0
    return abs(one.mean - one.at_minimum) + (1e300 if "per_example" not in one.name else 0.0)


def _label(one: ObservedMean, means: Sequence[ObservedMean]) -> str:
    alone = sum(other.name == one.name for other in means) == 1
    return one.name if alone else f"{one.name}[{one.index}]"


def _cells(one: ObservedMean) -> tuple[str, str, str]:
    at = "" if one.at_minimum is None else f"{one.at_minimum:.4g}"
    mean = "" if one.mean is None else plus_minus(one.mean, one.se)
    return at, mean, "" if one.r_hat is None else f"{one.r_hat:.3f}"
