"""All runs of one target on one axis: convergence against work."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from lambda_hat_core.analysis.diagnostics import COVERAGE, mcmc_mean
from lambda_hat_core.analysis.figures import style
from lambda_hat_core.analysis.figures.convergence import FGE
from lambda_hat_core.analysis.figures.forest import MARKS, sampler_colour, verdict_handles
from lambda_hat_core.analysis.figures.limits import inside, limits
from lambda_hat_core.analysis.figures.style import ReferenceLine
from lambda_hat_core.analysis.measure import Verdict
from lambda_hat_core.analysis.running import before_first
from lambda_hat_core.analysis.words import short
from lambda_hat_core.config.samplers.known import SAMPLERS

_MOST_LINES = 40
"""Most runs for which each run has its own line."""

WITH_BANDS = 5
"""Most runs whose lines have bands."""

NAMED_LINES = 10
"""Most runs for which each line has a name in the legend."""

_NAMED_OUTSIDE = 3
"""Most runs that are named because they end outside the axis."""

_POINTS = 60
_BAND_POINTS = 30
"""Points of a line with a band, each of which needs the error of its mean."""


class Curve(NamedTuple):
    """One run's running estimate against work.

    Attributes:
        sampler: the sampler's name, which determines the colour.
        label: its name in the legend.
        verdict: shown by the mark at the end.
        fge: full-gradient evaluations of all chains so far, set-up included.
        llc: the mean of the draws so far.
        setup: evaluations before the first draw.
        end: the estimate with the ends of its interval. It differs from the last mean where a bias
            has been taken off. None if there is none.
        width: half width of the 90 % interval of each mean, nan where it is not known.
    """

    sampler: str
    label: str
    verdict: Verdict
    fge: Float[np.ndarray, " point"]
    llc: Float[np.ndarray, " point"]
    setup: float = 0.0
    end: tuple[float, float, float] | None = None
    width: Float[np.ndarray, " point"] | None = None


def running_curve(
    sampler: str,
    label: str,
    verdict: Verdict,
    llc: Float[np.ndarray, "chain draw"],
    cumulative_fge: Float[np.ndarray, " draw"],
    *,
    end: tuple[float, float, float] | None = None,
    with_band: bool = False,
) -> Curve:
    """Return the mean over all chains of the draws so far, at log-spaced numbers of draws.

    Args:
        sampler: as in `Curve`.
        label: as in `Curve`.
        verdict: as in `Curve`.
        llc: the draws.
        cumulative_fge: evaluations of all chains up to each draw.
        end: as in `Curve`.
        with_band: whether the interval of every mean is determined too.
    """
    finite = np.isfinite(llc).all(axis=0)
    n_draws = int(np.argmin(finite)) if not finite.all() else llc.shape[1]
    if n_draws == 0:
        return Curve(sampler, label, verdict, np.empty(0), np.empty(0))
    points = _BAND_POINTS if with_band else _POINTS
    at = np.unique(np.geomspace(1, n_draws, points).round().astype(int)) - 1
    means = np.cumsum(llc[:, :n_draws].mean(axis=0)) / np.arange(1, n_draws + 1)
    work, setup = np.asarray(cumulative_fge[at], float), before_first(cumulative_fge)
    width = np.array([_half_width(llc[:, : k + 1]) for k in at]) if with_band else None
    return Curve(sampler, label, verdict, work, means[at], setup, end, width)


def _half_width(llc: Float[np.ndarray, "chain draw"]) -> float:
    width = mcmc_mean(llc).half_width
    return np.nan if width is None else width


def convergence_comparison(
    curves: Sequence[Curve], title: str, said: str, lines: Sequence[ReferenceLine]
) -> Figure:
    """Draw the running estimates of all runs against work.

    Up to 40 runs have a line each, which is dashed if the run is not ok. For more runs, each
    sampler is shown by its median and its central 80 %. A stroke shows where the draws of a run
    begin, after its set-up and burn-in, and a mark its estimate at the end. No line is cut off:
    each begins where it stays within the limits, and runs that end outside are named.
    """
    drawn = [curve for curve in curves if curve.fge.size]
    if not drawn:
        return style.empty_figure(9.0, 2.5, title, said, "no run has finite draws")
    shown = _limits(drawn, lines)
    outside = [curve for curve in drawn if not shown[0] <= _end(curve) <= shown[1]]
    said = "; ".join(filter(None, [said, _outside(outside)]))
    figure = style.new_figure(9.0, 4.6, title, said, right=2.5)
    axes = figure.subplots()
    style.dress(axes, FGE, "LLC from the draws so far")
    many = len(drawn) > NAMED_LINES
    if len(drawn) > _MOST_LINES:
        for sampler in dict.fromkeys(curve.sampler for curve in drawn):
            members = [curve for curve in drawn if curve.sampler == sampler]
            _band(axes, members, shown)
    else:
        for curve in drawn:
            _line(axes, curve, shown, many=many)
    for curve in drawn:
        _mark_end(axes, curve, shown, many=many)
    style.draw_references(axes, lines)
    works = [[curve.setup or curve.fge[0], *curve.fge] for curve in drawn]
    style.log_axis(axes, "x", np.concatenate(works))
    axes.set_ylim(*shown)
    references, _ = axes.get_legend_handles_labels()
    begin = Line2D([], [], color=style.FAINT, linestyle="", marker="|", label="set-up ends")
    begins = [begin] if len(drawn) <= _MOST_LINES else []
    marks = verdict_handles({curve.verdict for curve in drawn})
    curves_and_bands = [*_curve_handles(drawn, many=many), *_band_handles(drawn)]
    handles = [*curves_and_bands, *marks, *begins, *references]
    style.legend(axes, handles, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return figure


def _line(axes: Axes, curve: Curve, shown: tuple[float, float], *, many: bool) -> None:
    """Draw a run's line, its band if it is known, and where its draws begin."""
    dashes = "-" if curve.verdict == "ok" else (0, (3, 1.5))
    line: dict[str, Any] = {"linewidth": 0.9 if many else 1.6, "linestyle": dashes}
    colour, llc = sampler_colour(curve.sampler), inside(curve.llc, shown)
    if curve.width is not None:
        low, high = (inside(curve.llc + sign * curve.width, shown) for sign in (-1, 1))
        axes.fill_between(curve.fge, low, high, color=colour, alpha=0.12, lw=0)
    axes.plot(curve.fge, llc, color=colour, alpha=0.6 if many else 0.9, **line)
    bottom = {"transform": axes.get_xaxis_transform(), "clip_on": False}
    axes.plot(curve.setup, 0.02, "|", color=colour, markersize=5 if many else 9, **bottom)


def _mark_end(axes: Axes, curve: Curve, shown: tuple[float, float], *, many: bool) -> None:
    colour = sampler_colour(curve.sampler)
    size = 3.5 if many else 6
    value, work = _end(curve), curve.fge[-1]
    if not shown[0] <= value <= shown[1]:
        edge, marker = (0, "v") if value < shown[0] else (1, "^")
        where = {"transform": axes.get_xaxis_transform(), "clip_on": False}
        axes.plot(work, edge, marker=marker, color=colour, markersize=size + 1, **where)
        return
    face = colour if curve.verdict == "ok" else "white"
    mark: dict[str, Any] = {"markersize": size, "markerfacecolor": face, "zorder": 3}
    if curve.end is not None and not many:
        ends = [min(max(end, shown[0]), shown[1]) for end in curve.end[1:]]
        axes.plot([work, work], ends, color=colour, linewidth=1.2)
    axes.plot(work, value, marker=MARKS[curve.verdict], color=colour, **mark)


def _end(curve: Curve) -> float:
    return float(curve.llc[-1]) if curve.end is None else curve.end[0]


def _outside(curves: Sequence[Curve]) -> str:
    if not curves:
        return ""
    if len(curves) > _NAMED_OUTSIDE:
        return f"{len(curves)} runs end outside the axis, at an arrow"
    words = ", ".join(f"{curve.label} at {short(_end(curve))}" for curve in curves)
    return f"outside the axis: {words}"


def _band(axes: Axes, curves: Sequence[Curve], shown: tuple[float, float]) -> None:
    """Draw the median of one sampler's runs, and their central 80 %."""
    ends = [(curve.fge[0], curve.fge[-1]) for curve in curves]
    grid = np.geomspace(min(first for first, _ in ends), max(last for _, last in ends), _POINTS)
    rows = [
        np.interp(np.log(grid), np.log(curve.fge), curve.llc, left=np.nan, right=np.nan)
        for curve in curves
    ]
    enough = np.isfinite(rows).sum(axis=0) * 2 >= len(rows)
    found = np.nanquantile(np.array(rows)[:, enough], [0.1, 0.5, 0.9], axis=0)
    low, middle, high = (inside(values, shown) for values in found)
    colour = sampler_colour(curves[0].sampler)
    axes.fill_between(grid[enough], low, high, color=colour, alpha=0.15, lw=0)
    axes.plot(grid[enough], middle, color=colour, linewidth=1.5)


def _curve_handles(curves: Sequence[Curve], *, many: bool) -> list[Line2D]:
    if not many:
        order = sorted(curves, key=lambda curve: list(SAMPLERS).index(curve.sampler))
        return [
            Line2D([], [], color=sampler_colour(curve.sampler), linewidth=2, label=curve.label)
            for curve in order
        ]
    counts = {name: sum(curve.sampler == name for curve in curves) for name in SAMPLERS}
    return [
        Line2D([], [], color=sampler_colour(name), linewidth=2, label=f"{name} ({count})")
        for name, count in counts.items()
        if count
    ]


def _band_handles(curves: Sequence[Curve]) -> list[Patch]:
    """Return the legend entry of the bands, if there are any."""
    options = {"facecolor": style.FAINT, "alpha": 0.25, "linewidth": 0}
    if len(curves) > _MOST_LINES:
        return [Patch(label="central 80 %", **options)]
    has_band = any(curve.width is not None for curve in curves)
    return [Patch(label=f"{COVERAGE * 100:.0f} % band", **options)] if has_band else []


def _limits(curves: Sequence[Curve], lines: Sequence[ReferenceLine]) -> tuple[float, float]:
    """Return limits that contain most runs that are ok, and the others if they are near."""
    settled = [curve for curve in curves if curve.verdict == "ok"] or list(curves)
    ends = np.array([_end(curve) for curve in settled])
    low, high = np.quantile(ends, [0.05, 0.95])
    room = max(high - low, 0.1 * abs(high))
    usual = [c for c in settled if low - room <= _end(c) <= high + room]
    tails = [curve.llc[curve.llc.size // 2 :] for curve in usual]
    bottom, top = np.quantile(np.concatenate(tails), [0.01, 0.99])
    own = [
        np.array(curve.end)
        for curve in usual
        if curve.end is not None and len(curves) <= NAMED_LINES
    ]
    return limits([np.array([bottom, top]), *own], [_end(curve) for curve in curves], lines)
