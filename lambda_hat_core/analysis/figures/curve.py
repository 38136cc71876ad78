"""The LLC along training over the losses, with the stage boundaries that the errors allow."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator

from lambda_hat_core.analysis.curve import Curve, CurvePoint
from lambda_hat_core.analysis.diagnostics import t_quantile
from lambda_hat_core.analysis.figures import style
from lambda_hat_core.analysis.figures.forest import MARKS, verdict_handles
from lambda_hat_core.analysis.figures.style import ReferenceLine
from lambda_hat_core.analysis.words import short

_Z = t_quantile(np.inf)
_LOG = 10.0
"""Steps whose last is more than so many times their median are drawn on a log axis."""
_LETTERS = 26
"""Letters in a line of the legend."""
_ROOM, _LINE = 12, 0.17
"""Lines of the legend that a figure has room for, and inches that each one more takes."""
_ABOVE = 2.2
"""Height of the axes of the LLC, in units of that of the losses."""
_DASHES: tuple[Literal["-", "--", ":", "-."], ...] = ("-", "--", ":", "-.")

Axis = Literal["auto", "log", "linear"]


class CurveSeries(NamedTuple):
    """One trajectory under one sampler.

    Attributes:
        label: its name in the legend.
        curve: of its LLC.
        beside: other quantities by name, as pairs of steps and values. Curves of one trajectory
            have the same, which one of them shows for all.
    """

    label: str
    curve: Curve
    beside: Mapping[str, tuple[Sequence[int | float], Sequence[float]]] = {}


def along_figure(
    series: Sequence[CurveSeries],
    title: str,
    *,
    said: str = "",
    axis: Axis = "auto",
    lines: Sequence[ReferenceLine] = (),
) -> Figure:
    """Draw the LLC of one or more trajectories over the steps of training.

    Each has its estimates with 90 % intervals, marked by their verdicts, the curve through them
    with its band, and its boundaries as dashed lines in spans as wide as their intervals. Losses
    and metrics, where there are any, share the steps on a second axes below.

    Args:
        series: at most ten; each has a colour of its own.
        title: the first line.
        said: the second line; by default what is known of the boundaries of a single series.
        axis: whether steps are spaced by their logarithms; auto if most of them are early.
        lines: values to be compared with.
    """
    points = [point for one in series for point in one.curve.points]
    if not points:
        return style.empty_figure(7.5, 2.5, title, said, "no checkpoint to draw")
    names = dict.fromkeys(name for one in series for name in one.beside)
    said = said or (series[0].curve.note if len(series) == 1 else "")
    written = sum(len(_label(one).splitlines()) for one in series) + len(MARKS)
    more = _LINE * max(0, written - _ROOM) * (1 + 1 / _ABOVE if names else 1)
    figure = style.new_figure(8.4, (5.6 if names else 4.2) + more, title, said, right=2.1)
    if names:
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(_ABOVE, 1.0))
        style.dress(above, "", "LLC, 90 % intervals")
        style.dress(below, "step of training", "")
        above.tick_params(labelbottom=False)
        _beside(below, series, [*names])
    else:
        above = below = figure.subplots()
        style.dress(above, "step of training", "LLC, 90 % intervals")
    for index, one in enumerate(series):
        _draw(above, one, style.colour(index))
    low, high = _limits(points, lines)
    above.set_ylim(low, high)
    for index, one in enumerate(series):
        _outside(above, one.curve.points, (low, high), style.colour(index))
    style.draw_references(above, lines)
    _step_axis(below, np.array([point.step for point in points], float), axis)
    handles, _ = above.get_legend_handles_labels()
    marks = verdict_handles({point.verdict for point in points})
    turns = [Line2D([], [], color=style.FAINT, linestyle="--", label="stage boundary, 90 %")]
    shown = turns if any(one.curve.boundaries for one in series) else []
    style.legend(above, [*handles, *marks, *shown], loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return figure


def _label(one: CurveSeries) -> str:
    return textwrap.fill(one.label, _LETTERS)


def _draw(axes: Axes, one: CurveSeries, colour: str) -> None:
    curve, label = one.curve, _label(one)
    if curve.llc.size:
        axes.fill_between(curve.steps, curve.lo, curve.hi, color=colour, alpha=0.2, lw=0)
        axes.plot(curve.steps, curve.llc, color=colour, linewidth=1.8, label=label)
    else:
        axes.plot([], [], color=colour, linewidth=1.8, label=label)
    for found in curve.boundaries:
        axes.axvspan(found.lo, found.hi, color=colour, alpha=0.12, lw=0)
        axes.axvline(found.step, color=colour, linestyle="--", linewidth=1.2)
    for verdict, mark in MARKS.items():
        members = [p for p in curve.points if p.verdict == verdict and p.llc is not None]
        columns = ([p.step for p in members], [p.llc for p in members], [p.se for p in members])
        steps, llc, se = (np.array(column, float) for column in columns)
        axes.errorbar(
            steps,
            llc,
            yerr=_Z * np.nan_to_num(se),
            color=colour,
            markerfacecolor=colour if verdict == "ok" else "white",
            marker=mark,
            markersize=5,
            linestyle="",
            linewidth=1.2,
            capsize=2.5,
        )


def _beside(axes: Axes, series: Sequence[CurveSeries], names: Sequence[str]) -> None:
    """Draw losses on the left, and metrics, which are named otherwise, on the right.

    Those of one trajectory have colours of their own, those of several the colours of their curves.
    """
    losses = [name for name in names if "loss" in name]
    metrics = [name for name in names if "loss" not in name]
    right = axes.twinx() if losses and metrics else axes
    alone, positive = sum(bool(one.beside) for one in series) == 1, True
    for index, one in enumerate(series):
        for place, name in enumerate(names):
            if name not in one.beside:
                continue
            steps, values = (np.asarray(column, float) for column in one.beside[name])
            if name in losses:
                positive = positive and bool((values[np.isfinite(values)] > 0).all())
            colour = style.colour(len(series) + place if alone else index)
            (axes if name in losses else right).plot(
                steps,
                values,
                color=colour,
                linestyle=_DASHES[place % len(_DASHES)],
                linewidth=1.5,
                label=name,
            )
    axes.set_ylabel("loss" if losses else ", ".join(metrics), size=9.5, color=style.INK)
    if right is not axes:
        right.set_ylabel(", ".join(metrics), size=9.5, color=style.INK)
        right.tick_params(colors=style.FAINT, labelcolor=style.INK, labelsize=8.5)
        for side, spine in right.spines.items():
            spine.set_visible(side == "right")
            spine.set_color(style.FAINT)
    if alone:
        drawn = [axes] if right is axes else [axes, right]
        handles = [handle for one in drawn for handle in one.get_legend_handles_labels()[0]]
    else:
        # Colours are explained above; what differs here is the dash.
        handles = [
            Line2D([], [], color=style.INK, linestyle=_DASHES[i % len(_DASHES)], label=name)
            for i, name in enumerate(names)
        ]
    if losses and positive:
        shown = [v for one in series for name in losses for v in one.beside.get(name, ((), ()))[1]]
        style.log_axis(axes, "y", shown)
    side = 1.12 if right is not axes else 1.01
    style.legend(axes, handles, loc="upper left", bbox_to_anchor=(side, 1.0))


def _outside(
    axes: Axes, points: Sequence[CurvePoint], shown: tuple[float, float], colour: str
) -> None:
    """Mark checkpoints without an estimate at the lower edge, and others at the edge they left."""
    for edge, steps in (
        (0.0, [p.step for p in points if p.llc is None or p.llc < shown[0]]),
        (1.0, [p.step for p in points if p.llc is not None and p.llc > shown[1]]),
    ):
        where = {"transform": axes.get_xaxis_transform(), "clip_on": False}
        axes.plot(steps, [edge] * len(steps), "X", color=colour, markersize=6, **where)


def _limits(points: Sequence[CurvePoint], lines: Sequence[ReferenceLine]) -> tuple[float, float]:
    """Return limits of the axis, which estimates that failed, and their errors, do not set."""
    good = [p for p in points if p.llc is not None and p.verdict != "failed"]
    values = [v for p in good for v in _ends(p)] + [line.value for line in lines]
    low, high = min(values, default=0.0), max(values, default=1.0)
    margin = 0.07 * max(high - low, 0.05 * abs(high), 1e-9)
    return low - margin, high + margin


def _ends(point: CurvePoint) -> tuple[float, float]:
    assert point.llc is not None
    reach = _Z * (point.se or 0.0)
    return point.llc - reach, point.llc + reach


def most_are_early(steps: np.ndarray) -> bool:
    """Return whether steps are better spaced by their logarithms."""
    return bool(steps.max() > _LOG * np.median(steps))


def _step_axis(axes: Axes, steps: np.ndarray, axis: Axis) -> None:
    """Space the steps; with step 0 a log axis is linear up to the first step after it."""
    positive = steps[steps > 0]
    is_log = axis == "log" or (axis == "auto" and most_are_early(steps))
    if not is_log or positive.size == 0:
        style.count_axis(axes)
        return
    if positive.size == steps.size:
        style.log_axis(axes, "x", steps)
        return
    axes.set_xscale("symlog", linthresh=float(positive.min()), linscale=0.4)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.set_xlim(left=-0.15 * float(positive.min()))
