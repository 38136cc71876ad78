"""Figures of the convergence of a run's estimate, and of its efficiency."""

import numpy as np
from matplotlib.figure import Figure

from lambda_hat_core.analysis.diagnostics import COVERAGE
from lambda_hat_core.analysis.figures import style
from lambda_hat_core.analysis.figures.style import ReferenceLine
from lambda_hat_core.analysis.running import Running

FGE = "full-gradient evaluations, all chains"
SECONDS = "wall time (s)"

_CHAINS_SHOWN = 8


def convergence_figure(run: Running, title: str, said: str, lines: list[ReferenceLine]) -> Figure:
    """Draw the running estimate with its interval against work and against seconds."""
    if run.llc.size == 0:
        return style.empty_figure(9.0, 3.0, title, said, "there is no finite draw")
    figure = style.new_figure(9.0, 4.2, title, said, bottom=0.9)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, x, label in zip(panels, (run.fge, run.seconds), (FGE, SECONDS), strict=True):
        style.dress(axes, label, "")
        for values in run.chains[:_CHAINS_SHOWN] if len(run.chains) > 1 else ():
            axes.plot(x, values, color=style.FAINT, linewidth=0.6, alpha=0.6)
        band = f"{COVERAGE:.0%} interval"
        axes.fill_between(x, run.lo, run.hi, color=style.colour(0), alpha=0.22, lw=0, label=band)
        axes.plot(x, run.llc, color=style.colour(0), linewidth=1.8, marker=_marker(x), label="LLC")
        style.draw_references(axes, lines)
        style.log_axis(axes, "x", x)
    panels[0].set_ylabel("LLC from the draws so far", size=9.5, color=style.INK)
    panels[0].set_ylim(*_settled_limits(run, lines))
    handles, _ = panels[0].get_legend_handles_labels()
    shown, total = min(len(run.chains), _CHAINS_SHOWN), len(run.chains)
    if total > 1:
        chain = panels[0].get_lines()[0]
        chain.set_label("single chains" if shown == total else f"{shown} of {total} chains")
        handles.append(chain)
    style.legend(figure, handles, loc="lower center", ncols=5)
    return figure


def wnv_figure(run: Running, title: str, said: str) -> Figure:
    """Draw variance x work, which is constant once the error falls as 1 / sqrt(work)."""
    known = np.isfinite(run.se) & (run.se > 0)
    if not known.any():
        return style.empty_figure(9.0, 3.0, title, said, "no standard error is known")
    figure = style.new_figure(9.0, 3.9, title, said, left=0.85, top=0.85, gap=0.95)
    panels = figure.subplots(1, 2)
    columns = ((run.fge, FGE, "se² x FGE"), (run.seconds, SECONDS, "se² x seconds"))
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


def _settled_limits(run: Running, lines: list[ReferenceLine]) -> tuple[float, float]:
    """Return limits that show the last two thirds of the points, and references near them."""
    tail = slice(run.llc.size // 3, None)
    values = np.concatenate([run.lo[tail], run.hi[tail], run.llc[tail]])
    values = values[np.isfinite(values)]
    low, high = float(values.min()), float(values.max())
    room = max(high - low, 0.02 * abs(high), 1e-12)
    near = [line.value for line in lines if low - 2 * room < line.value < high + 2 * room]
    low, high = min([low, *near]), max([high, *near])
    margin = 0.12 * max(high - low, room)
    return low - margin, high + margin
