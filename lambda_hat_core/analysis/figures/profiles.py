"""Profile figures: the LLC against gamma with its plateaus, and against 1 / log nbeta."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lambda_hat_core.analysis.diagnostics import t_quantile
from lambda_hat_core.analysis.figures import style
from lambda_hat_core.analysis.figures.style import ReferenceLine
from lambda_hat_core.analysis.profiles import GammaProfile, Point, TemperatureFit
from lambda_hat_core.analysis.words import plus_minus, short

_LEAST_GAP = 0.11
"""Least distance of tick labels, as a share of the axis."""
_MANY = 40
"""From so many points on, error bars are thin and have no caps."""
_Z = t_quantile(math.inf)


def gamma_figure(profile: GammaProfile, title: str, lines: Sequence[ReferenceLine]) -> Figure:
    """Draw the estimate against gamma, with shaded plateaus."""
    if not profile.points:
        return style.empty_figure(7.5, 2.5, title, "", profile.note)
    figure = style.new_figure(7.5, 4.4, title, profile.note, right=2.2)
    axes = figure.subplots()
    style.dress(axes, "localiser gamma", "LLC, 90 % interval")
    _error_bars(axes, [point.x for point in profile.points], profile.points)
    for index, plateau in enumerate(profile.plateaus):
        colour, span = style.colour(index + 1), [plateau.first, plateau.last]
        label = f"plateau {plus_minus(plateau.llc, plateau.se)}"
        axes.fill_between(
            span,
            plateau.llc - _Z * plateau.se,
            plateau.llc + _Z * plateau.se,
            color=colour,
            alpha=0.35,
            lw=0,
        )
        axes.plot(span, [plateau.llc] * 2, color=colour, linewidth=2, label=label)
    style.draw_references(axes, lines)
    style.log_axis(axes, "x", [point.x for point in profile.points])
    style.legend(axes, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return figure


def temperature_figure(fit: TemperatureFit, title: str, lines: Sequence[ReferenceLine]) -> Figure:
    """Draw the estimate against 1 / log nbeta, with the fitted curve and its intercept lambda."""
    if not fit.points:
        return style.empty_figure(7.5, 2.5, title, "", fit.note)
    figure = style.new_figure(7.5, 4.4, title, fit.note, right=2.2)
    axes = figure.subplots()
    style.dress(axes, "nβ, spaced by 1 / log nβ; infinity at the left", "LLC, 90 % interval")
    places = [1 / math.log(point.x) for point in fit.points]
    _error_bars(axes, places, fit.points)
    right = 1.08 * max(places)
    if fit.llc is not None and fit.llc_se is not None and fit.multiplicity is not None:
        span = np.linspace(1e-3 * right, right, 100)
        curve = [fit.llc + (fit.bias(1 / place) or 0.0) for place in span]
        formula = "λ - (m - 1) / (log nβ + c)"
        axes.plot(span, curve, color=style.colour(1), linewidth=1.8, label=formula)
        axes.errorbar(
            0,
            fit.llc,
            yerr=_Z * fit.llc_se,
            color=style.colour(1),
            marker="D",
            capsize=4,
            clip_on=False,
            label=f"λ = {plus_minus(fit.llc, fit.llc_se)}",
        )
    style.draw_references(axes, lines)
    axes.set_xticks(*_temperature_ticks(places, fit.points))
    axes.set_xlim(0, right)
    style.legend(axes, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return figure


def _temperature_ticks(
    places: Sequence[float], points: Sequence[Point]
) -> tuple[list[float], list[str]]:
    """Return ticks for infinity and for every nbeta that is not too close to the previous tick."""
    ticks, labels = [0.0], ["∞"]
    for place, point in sorted(zip(places, points, strict=True), key=lambda pair: pair[0]):
        if place - ticks[-1] > _LEAST_GAP * max(places):
            ticks.append(place)
            labels.append(short(float(f"{point.x:.3g}")))
    return ticks, labels


def _error_bars(axes: Axes, places: Sequence[float], points: Sequence[Point]) -> None:
    """Draw estimates with their intervals, with hollow marks for suspect runs."""
    many = len(points) >= _MANY
    for verdict, face in (("ok", style.colour(0)), ("suspect", "white")):
        members = [pair for pair in zip(places, points, strict=True) if pair[1].verdict == verdict]
        if not members:
            continue
        axes.errorbar(
            [place for place, _ in members],
            [point.llc for _, point in members],
            yerr=[_Z * point.se for _, point in members],
            color=style.colour(0),
            markerfacecolor=face,
            marker="o",
            markersize=3 if many else 5,
            linestyle="",
            linewidth=0.7 if many else 1.4,
            capsize=0 if many else 3,
            label=verdict,
        )
