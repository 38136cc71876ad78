"""A forest plot: the intervals of all runs of one target, grouped by sampler."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lambda_hat_core.analysis.figures import style
from lambda_hat_core.analysis.figures.style import ReferenceLine
from lambda_hat_core.analysis.measure import Verdict
from lambda_hat_core.analysis.words import plus_minus
from lambda_hat_core.config.samplers.known import SAMPLERS

_NAMED_ROWS = 40
"""Most runs for which each row has a name and a number."""

_LETTER = 0.066
"""Mean width of one character of a label, in inches."""

MARKS = {"ok": "o", "suspect": "o", "failed": "X"}


class Interval(NamedTuple):
    """One run in a forest plot.

    Attributes:
        sampler: the sampler's name, which determines colour and group.
        label: distinguishes the run from the sampler's other runs.
        llc: the estimate, None if there is none.
        se: standard error.
        lo: lower end of its interval.
        hi: upper end.
        verdict: shown by the marker: ok filled, suspect hollow, failed a cross.
    """

    sampler: str
    label: str
    llc: float | None
    se: float | None
    lo: float | None
    hi: float | None
    verdict: Verdict


def sampler_colour(sampler: str) -> str:
    """Return the colour of a sampler, the same in every figure."""
    return style.colour(list(SAMPLERS).index(sampler))


def forest_figure(
    runs: Sequence[Interval], title: str, said: str, lines: Sequence[ReferenceLine]
) -> Figure:
    """Draw every run's interval; intervals that leave the axis end in an arrow."""
    if not runs:
        return style.empty_figure(7.5, 2.5, title, said, "no run to compare")
    rows = sorted(runs, key=lambda run: (list(SAMPLERS).index(run.sampler), run.label))
    named = len(rows) <= _NAMED_ROWS
    pitch = 0.24 if named else max(0.042, 7.5 / len(rows))
    ticks, labels = _row_labels(rows, named=named)
    left = min(2.6, 0.25 + _LETTER * max(map(len, labels)))
    right = 1.45 if named else 0.15
    height = 1.55 + pitch * (len(rows) + 1)
    figure = style.new_figure(
        7.5, height, title, said, bottom=0.85, left=left, right=right, top=0.7
    )
    axes = figure.subplots()
    style.dress(axes, "local learning coefficient", "")
    low, high = _shown_range(rows, lines)
    for row, run in enumerate(rows):
        _forest_row(axes, row, run, (low, high), named=named)
    style.draw_references(axes, lines, vertical=True)
    axes.set_xlim(low, high)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(False, axis="y")
    axes.set_yticks(ticks, labels)
    axes.tick_params(axis="y", length=0)
    handles, _ = axes.get_legend_handles_labels()
    style.legend(figure, [*verdict_handles(), *handles], loc="lower center", ncols=5)
    return figure


def _forest_row(
    axes: Axes, row: int, run: Interval, shown: tuple[float, float], *, named: bool
) -> None:
    colour, (low, high) = sampler_colour(run.sampler), shown
    size = 5.5 if named else 3.0
    edge = {"color": colour, "markersize": size + 1, "clip_on": False}
    if run.llc is None:
        axes.plot(low, row, marker="X", **edge)
        ends = (None, None)
    else:
        ends = (run.llc if run.lo is None else run.lo, run.llc if run.hi is None else run.hi)
        axes.plot(ends, [row, row], color=colour, linewidth=1.6 if named else 0.9)
    if ends[0] is not None and ends[0] < low:
        axes.plot(low, row, marker="<", **edge)
    if ends[1] is not None and ends[1] > high:
        axes.plot(high, row, marker=">", **edge)
    if run.llc is not None and low <= run.llc <= high:
        face = colour if run.verdict == "ok" else "white"
        options = {"color": colour, "markersize": size, "markerfacecolor": face}
        axes.plot(run.llc, row, marker=MARKS[run.verdict], **options)
    if named:
        text = run.verdict if run.llc is None else plus_minus(run.llc, run.se)
        where = {"transform": axes.get_yaxis_transform(), "va": "center", "ha": "left"}
        axes.text(1.03, row, text, size=8.5, color=style.INK, **where)


def _shown_range(rows: Sequence[Interval], lines: Sequence[ReferenceLine]) -> tuple[float, float]:
    """Return limits that contain the intervals of good runs, and others nearby."""
    good = [run for run in rows if run.verdict == "ok" and run.llc is not None]
    core = good or [run for run in rows if run.llc is not None]
    values = [value for run in core for value in (run.llc, run.lo, run.hi) if value is not None]
    values += [line.value for line in lines]
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    room = max(high - low, 0.05 * abs(high), 1e-9)
    ends = [end for run in rows for end in (run.llc, run.lo, run.hi) if end is not None]
    near = [end for end in ends if low - 2 * room <= end <= high + 2 * room]
    low, high = min([low, *near]), max([high, *near])
    margin = 0.06 * max(high - low, room)
    return low - margin, high + margin


def _row_labels(rows: Sequence[Interval], *, named: bool) -> tuple[list[float], list[str]]:
    """Return labels for every row, or, if there are many rows, for every group."""
    if named:
        return [float(row) for row in range(len(rows))], [run.label for run in rows]
    ticks, labels = [], []
    for sampler in dict.fromkeys(run.sampler for run in rows):
        members = [row for row, run in enumerate(rows) if run.sampler == sampler]
        ticks.append(float(np.mean(members)))
        labels.append(f"{sampler} ({len(members)})")
    return ticks, labels


def verdict_handles() -> list[Line2D]:
    """Return legend entries that explain the marks of the verdicts."""
    options = {"linestyle": "", "color": style.FAINT, "markersize": 6}
    return [
        Line2D([], [], marker="o", label="ok", **options),
        Line2D([], [], marker="o", markerfacecolor="white", label="suspect", **options),
        Line2D([], [], marker="X", label="failed", **options),
    ]
