"""Figures of the convergence of a run's estimate, and of its efficiency."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lambda_hat_core.analysis.diagnostics import COVERAGE
from lambda_hat_core.analysis.figures import style
from lambda_hat_core.analysis.figures.limits import inside, limits
from lambda_hat_core.analysis.figures.style import ReferenceLine
from lambda_hat_core.analysis.running import Running

FGE = "full-gradient evaluations, all chains"
SECONDS = "wall time (s)"

_CHAINS_SHOWN = 8
_GOOD = "what is good: level at the end, and the chains close together"
_WNV = "Work-normalised variance, se² times cost. What is good: low, and level at the end."
_SETUP_SHARE = 0.08
"""Share of the logarithmic axis that shows the set-up."""


def convergence_figure(run: Running, title: str, said: str, lines: list[ReferenceLine]) -> Figure:
    """Draw the running estimate with its interval against work and against seconds.

    What precedes the first draw is shaded. No curve is cut off: each begins where it stays within
    the limits, which contain all of the last two thirds of the run.
    """
    if run.llc.size == 0:
        return style.empty_figure(9.0, 3.0, title, said, "there is no finite draw")
    figure = style.new_figure(9.0, 4.4, title, said, bottom=0.95, top=0.85, gap=0.75)
    panels = figure.subplots(1, 2, sharey=True)
    chains = run.chains[:_CHAINS_SHOWN] if len(run.chains) > 1 else run.chains[:0]
    shown = limits((run.lo, run.hi, run.llc), chains[:, -1].tolist(), lines)
    llc, lo, hi = (inside(values, shown) for values in (run.llc, run.lo, run.hi))
    columns = ((run.fge, run.setup_fge, FGE), (run.seconds, run.setup_seconds, SECONDS))
    for axes, (x, setup, label) in zip(panels, columns, strict=True):
        style.dress(axes, label, "LLC from the draws so far")
        for values in chains:
            axes.plot(x, inside(values, shown), color=style.FAINT, linewidth=0.6, alpha=0.6)
        band = f"{COVERAGE:.0%} interval"
        axes.fill_between(x, lo, hi, color=style.colour(0), alpha=0.22, lw=0, label=band)
        axes.plot(x, llc, color=style.colour(0), linewidth=1.8, marker=_marker(x), label="LLC")
        style.draw_references(axes, lines)
        style.log_axis(axes, "x", [setup, *x])
        _mark_setup(axes, setup, float(x[0]))
        axes.tick_params(labelleft=True)
    panels[0].set_title(_GOOD, loc="left", size=9.5, color=style.INK)
    panels[0].set_ylim(*shown)
    handles, _ = panels[0].get_legend_handles_labels()
    if chains.size:
        few, total = len(chains), len(run.chains)
        words = "single chains" if few == total else f"{few} of {total} chains"
        handles.append(Line2D([], [], color=style.FAINT, linewidth=0.6, label=words))
    style.legend(figure, handles, loc="lower center", ncols=6)
    return figure


def _mark_setup(axes: Axes, setup: float, first: float) -> None:
    """Shade what precedes the first draw; on a log axis a part of it shows that there is some."""
    low, high = axes.get_xlim()
    if not 0 < setup <= first:
        return
    left = min(low, setup * (setup / high) ** _SETUP_SHARE)
    axes.axvspan(left, setup, color=style.GRID, lw=0, zorder=0, label="set-up and burn-in")
    axes.set_xlim(left, high)


def wnv_figure(run: Running, title: str, said: str) -> Figure:
    """Draw variance x work, which is constant once the error falls as 1 / sqrt(work)."""
    known = np.isfinite(run.se) & (run.se > 0)
    if not known.any():
        return style.empty_figure(9.0, 3.0, title, said, "no standard error is known")
    said = f"{_WNV} {said}"
    figure = style.new_figure(9.0, 3.9, title, said, left=0.85, top=0.85, gap=0.95)
    panels = figure.subplots(1, 2)
    columns = (
        (run.fge, FGE, "se² x FGE"),
        (run.seconds, SECONDS, "se² x seconds"),
    )
    for axes, (x, label, what) in zip(panels, columns, strict=True):
        values = run.se[known] ** 2 * x[known]
        style.dress(axes, label, what, f"at the end {values[-1]:.3g}")
        marker = _marker(values)
        axes.plot(x[known], values, color=style.colour(0), linewidth=1.8, marker=marker)
        axes.axhline(values[-1], color=style.FAINT, linewidth=1.0, linestyle="--")
        style.log_axis(axes, "x", x[known])
        style.log_axis(axes, "y", values)
    return figure


def _marker(values: np.ndarray) -> str | None:
    return "o" if values.size < 8 else None
