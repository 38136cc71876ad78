"""A forest plot: the intervals of all runs of one target, grouped by sampler."""

import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from lambda_hat_core.analysis.figures import style
from lambda_hat_core.analysis.figures.style import ReferenceLine
from lambda_hat_core.analysis.measure import Verdict
from lambda_hat_core.analysis.words import plus_minus, short
from lambda_hat_core.config.samplers.known import SAMPLERS

_NAMED_ROWS = 40
"""Most runs for which each row has a name and a number."""

_LETTER = 0.066
"""Mean width of one character of a label, in inches."""

_FAR_DECADES = 30.0
"""Ratio of far values from which their axis is logarithmic."""

_FAR_PAPER = "#f4f4f4"

MARKS = {"ok": "o", "suspect": "o", "failed": "X"}

_NUMBER = re.compile(r"(\d+(?:\.\d*)?(?:e[-+]?\d+)?)")


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


def by_number(label: str) -> list[tuple[str, float]]:
    """Return a sort key by which labels are in the order of their numbers: 1e-05, 0.01, 30, 100."""
    *pairs, rest = zip(*[iter([*_NUMBER.split(label), ""])] * 2, strict=True)
    return [*((words, float(number)) for words, number in pairs), (rest[0], 0.0)]


def forest_figure(
    runs: Sequence[Interval],
    title: str,
    said: str,
    lines: Sequence[ReferenceLine],
    *,
    what: str = "local learning coefficient",
) -> Figure:
    """Draw every run's whole interval of `what`.

    Intervals that would leave the axis of the others end there in an arrow, and are drawn whole in
    a second panel, which has a scale of its own and says so.
    """
    if not runs:
        return style.empty_figure(7.5, 2.5, title, said, "no run to compare")
    rows = sorted(runs, key=lambda run: (list(SAMPLERS).index(run.sampler), by_number(run.label)))
    named = len(rows) <= _NAMED_ROWS
    shown = _shown_range(rows, lines)
    far = [run for run in rows if run.llc is not None and not _within(run, shown)]
    if far:
        said = "; ".join(filter(None, [said, f"{len(far)} on a scale of its own at the right"]))
    pitch = 0.24 if named else max(0.042, 7.5 / len(rows))
    ticks, labels = _row_labels(rows, named=named)
    left = min(2.6, 0.25 + _LETTER * max(map(len, labels)))
    right = 1.45 if named else 0.15
    height = 1.55 + pitch * (len(rows) + 1)
    figure = style.new_figure(
        7.5, height, title, said, bottom=0.85, left=left, right=right, top=0.7
    )
    panels = figure.subplots(
        1, 2 if far else 1, width_ratios=(3, 1)[: 2 if far else 1], sharey=True, squeeze=False
    )[0]
    axes = panels[0]
    style.dress(axes, what, "")
    for row, run in enumerate(rows):
        _forest_row(axes, row, run, shown, named=named)
    style.draw_references(axes, lines, vertical=True)
    axes.set_xlim(*shown)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    if far:
        _far_panel(panels[1], rows, far, named=named)
    axes.set_yticks(ticks, labels)
    for panel in panels:
        panel.grid(False, axis="y")
        panel.tick_params(axis="y", length=0)
    if named:
        _numbers(panels[-1], rows)
    handles, _ = axes.get_legend_handles_labels()
    style.legend(
        figure,
        [*verdict_handles({run.verdict for run in rows}), *handles],
        loc="lower center",
        ncols=5,
    )
    return figure


def _within(run: Interval, shown: tuple[float, float]) -> bool:
    low, high = _ends(run)
    return shown[0] <= low and high <= shown[1]


def _ends(run: Interval) -> tuple[float, float]:
    """Return the ends of an interval; those of a run without one are its estimate."""
    assert run.llc is not None
    return run.llc if run.lo is None else run.lo, run.llc if run.hi is None else run.hi


def _far_panel(
    axes: Axes, rows: Sequence[Interval], far: Sequence[Interval], *, named: bool
) -> None:
    """Draw the whole intervals that the first panel cuts off."""
    style.dress(axes, "the same, far away", "")
    ends = [end for run in far for end in _ends(run)]
    low, high = min(ends), max(ends)
    if low > 0 and high > _FAR_DECADES * low:
        style.log_axis(axes, "x", [low / 2, high * 2])
        limits = low / 2, high * 2
    else:
        margin = 0.15 * max(high - low, 0.1 * abs(high))
        limits = low - margin, high + margin
        axes.xaxis.set_major_locator(MaxNLocator(2))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    for row, run in enumerate(rows):
        if run in far:
            _forest_row(axes, row, run, limits, named=named)
    axes.set_xlim(*limits)
    axes.set_facecolor(_FAR_PAPER)
    axes.tick_params(labelleft=False)


def _forest_row(
    axes: Axes, row: int, run: Interval, shown: tuple[float, float], *, named: bool
) -> None:
    colour, (low, high) = sampler_colour(run.sampler), shown
    size = 5.5 if named else 3.0
    edge = {"color": colour, "markersize": size + 1, "clip_on": False}
    if run.llc is None:
        axes.plot(low, row, marker="X", **edge)
        return
    ends = _ends(run)
    axes.plot(ends, [row, row], color=colour, linewidth=1.6 if named else 0.9)
    if ends[0] < low:
        axes.plot(low, row, marker="<", **edge)
    if ends[1] > high:
        axes.plot(high, row, marker=">", **edge)
    if low <= run.llc <= high:
        face = colour if run.verdict == "ok" else "white"
        options = {"color": colour, "markersize": size, "markerfacecolor": face}
        axes.plot(run.llc, row, marker=MARKS[run.verdict], **options)


def _numbers(axes: Axes, rows: Sequence[Interval]) -> None:
    where = {"transform": axes.get_yaxis_transform(), "va": "center", "ha": "left"}
    for row, run in enumerate(rows):
        text = run.verdict if run.llc is None else plus_minus(run.llc, run.se)
        axes.text(1.05, row, text, size=8.5, color=style.INK, **where)


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


def verdict_handles(seen: Collection[str]) -> list[Line2D]:
    """Return legend entries that explain the marks of the verdicts that are drawn."""
    options = {"linestyle": "", "color": style.FAINT, "markersize": 6}
    handles = [
        Line2D([], [], marker="o", label="ok", **options),
        Line2D([], [], marker="o", markerfacecolor="white", label="suspect", **options),
        Line2D([], [], marker="X", label="failed", **options),
    ]
    return [handle for handle in handles if handle.get_label() in seen]
