"""All runs of one target on one axis: convergence against work."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lambda_hat_core.analysis.figures import style
from lambda_hat_core.analysis.figures.convergence import FGE
from lambda_hat_core.analysis.figures.forest import MARKS, sampler_colour, verdict_handles
from lambda_hat_core.analysis.figures.style import ReferenceLine
from lambda_hat_core.analysis.measure import Verdict
from lambda_hat_core.config.samplers.known import SAMPLERS

_MOST_LINES = 40
"""Most runs for which each run has its own line."""

_NAMED_LINES = 10
"""Most runs for which each line has a name in the legend."""

_POINTS = 60


class Curve(NamedTuple):
    """One run's running estimate against work."""

    sampler: str
    label: str
    verdict: Verdict
    fge: Float[np.ndarray, " point"]
    llc: Float[np.ndarray, " point"]


def running_curve(
    sampler: str,
    label: str,
    verdict: Verdict,
    llc: Float[np.ndarray, "chain draw"],
    cumulative_fge: Float[np.ndarray, " draw"],
) -> Curve:
    """Return the mean over all chains of the draws so far, at log-spaced numbers of draws."""
    finite = np.isfinite(llc).all(axis=0)
    n_draws = int(np.argmin(finite)) if not finite.all() else llc.shape[1]
    if n_draws == 0:
        return Curve(sampler, label, verdict, np.empty(0), np.empty(0))
    at = np.unique(np.geomspace(1, n_draws, _POINTS).round().astype(int)) - 1
    means = np.cumsum(llc[:, :n_draws].mean(axis=0)) / np.arange(1, n_draws + 1)
    return Curve(sampler, label, verdict, np.asarray(cumulative_fge[at], float), means[at])


def convergence_comparison(
    curves: Sequence[Curve], title: str, said: str, lines: Sequence[ReferenceLine]
) -> Figure:
    """Draw the running estimates of all runs against work.

    Up to 40 runs have a line each, which is dashed if the run is not ok. For more runs, each
    sampler is shown by its median and its central 80 %. A mark shows the end of every run.
    """
    drawn = [curve for curve in curves if curve.fge.size]
    if not drawn:
        return style.empty_figure(9.0, 2.5, title, said, "no run has finite draws")
    figure = style.new_figure(9.0, 4.6, title, said, right=2.5)
    axes = figure.subplots()
    style.dress(axes, FGE, "LLC from the draws so far")
    many, limits = len(drawn) > _NAMED_LINES, _final_range(drawn, lines)
    if len(drawn) > _MOST_LINES:
        for sampler in dict.fromkeys(curve.sampler for curve in drawn):
            members = [curve for curve in drawn if curve.sampler == sampler]
            _band(axes, members, limits[1] - limits[0])
    else:
        for curve in drawn:
            dashes = "-" if curve.verdict == "ok" else (0, (3, 1.5))
            line: dict[str, Any] = {"linewidth": 0.9 if many else 1.6, "linestyle": dashes}
            alpha = 0.6 if many else 0.9
            axes.plot(
                curve.fge, curve.llc, color=sampler_colour(curve.sampler), alpha=alpha, **line
            )
    for curve in drawn:
        colour = sampler_colour(curve.sampler)
        face, marker = colour if curve.verdict == "ok" else "white", MARKS[curve.verdict]
        end: dict[str, Any] = {"markersize": 3.5 if many else 6, "markerfacecolor": face}
        axes.plot(curve.fge[-1], curve.llc[-1], marker=marker, color=colour, zorder=3, **end)
    style.draw_references(axes, lines)
    style.log_axis(axes, "x", np.concatenate([curve.fge for curve in drawn]))
    axes.set_ylim(*limits)
    references, _ = axes.get_legend_handles_labels()
    handles = [*_curve_handles(drawn, many=many), *verdict_handles(), *references]
    style.legend(axes, handles, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return figure


def _band(axes: Axes, curves: Sequence[Curve], room: float) -> None:
    """Draw the median of one sampler's runs, and their central 80 % where it is not too wide."""
    ends = [(curve.fge[0], curve.fge[-1]) for curve in curves]
    grid = np.geomspace(min(first for first, _ in ends), max(last for _, last in ends), _POINTS)
    rows = [
        np.interp(np.log(grid), np.log(curve.fge), curve.llc, left=np.nan, right=np.nan)
        for curve in curves
    ]
    enough = np.isfinite(rows).sum(axis=0) * 2 >= len(rows)
    low, middle, high = np.nanquantile(np.array(rows)[:, enough], [0.1, 0.5, 0.9], axis=0)
    colour = sampler_colour(curves[0].sampler)
    shown = {"color": colour, "alpha": 0.15, "lw": 0}
    axes.fill_between(grid[enough], low, high, where=high - low < room / 2, **shown)
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


def _final_range(curves: Sequence[Curve], lines: Sequence[ReferenceLine]) -> tuple[float, float]:
    """Return limits that contain the second halves of most runs, and the references."""
    tails = [curve.llc[curve.llc.size // 2 :] for curve in curves if curve.verdict == "ok"]
    tails = tails or [curve.llc[curve.llc.size // 2 :] for curve in curves]
    low, high = np.quantile(np.concatenate(tails), [0.02, 0.98])
    values = [float(low), float(high), *(line.value for line in lines)]
    low, high = min(values), max(values)
    room = max(high - low, 0.02 * abs(high), 1e-9)
    return low - 0.35 * room, high + 0.35 * room
