"""Figures of the chains of a run: their draws, their ranks, and their energy."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lambda_hat_core.analysis.diagnostics import MIN_DRAWS, Series, ess_bulk, moves
from lambda_hat_core.analysis.figures import style
from lambda_hat_core.analysis.figures.style import ReferenceLine
from lambda_hat_core.analysis.running import finite_prefix
from lambda_hat_core.samplers.trace import Trace

LLC_DRAWS = "nβ (L(w) - L(w*))"
DISTANCE = "|w - w*|²"

_MOST_SHOWN = 1500
"""Most draws shown per chain in a trace figure; of longer chains every k-th is shown."""

_LEGEND_ROOM = 0.18

_KS_90 = 1.224
"""Kolmogorov's 90 % quantile of sqrt(n) sup |F_n - F| (Marsaglia, Tsang & Wang 2003)."""


def trace_figure(trace: Trace, title: str, said: str, lines: list[ReferenceLine]) -> Figure:
    """Draw every chain's LLC draws and squared distances, with their histograms."""
    count = finite_prefix(trace)
    if count == 0:
        return style.empty_figure(9.0, 3.0, title, said, "there is no finite draw")
    figure = style.new_figure(9.0, 5.5, title, said, bottom=0.8)
    grid = figure.subplots(2, 2, width_ratios=(4, 1), sharey="row", sharex="col", squeeze=False)
    rows = ((trace.llc[:, :count], LLC_DRAWS), (trace.dist2[:, :count], DISTANCE))
    for (wide, narrow), (series, label) in zip(grid, rows, strict=True):
        style.dress(wide, "", label)
        style.dress(narrow, "", "")
        every = max(1, -(-count // _MOST_SHOWN))
        for chain, values in enumerate(series):
            _steps(wide, values, every, style.colour(chain), len(series))
        style.clear_outliers(wide, series)
        bottom, top = wide.get_ylim()
        bins = np.linspace(bottom, top, 1 + min(40, 4 + count // 8))
        for chain, values in enumerate(series):
            options = {"color": style.colour(chain), "linewidth": 1.1, "histtype": "step"}
            narrow.hist(values, bins=bins, orientation="horizontal", **options)
        narrow.tick_params(labelleft=False)
    bottom, top = grid[0, 0].get_ylim()
    style.draw_references(grid[0, 0], lines)
    grid[0, 0].axhline(float(rows[0][0].mean()), color=style.INK, linewidth=1.1, label="mean")
    grid[0, 0].set_ylim(bottom, top + _LEGEND_ROOM * (top - bottom))
    style.count_axis(grid[1, 0])
    grid[1, 0].set_xlim(-0.02 * count - 0.5, 1.02 * count - 0.5)
    style.legend(grid[0, 0], loc="upper left", ncols=3)
    style.legend(figure, _chain_handles(len(trace.llc)), loc="lower center", ncols=10)
    grid[1, 0].set_xlabel("draw after burn-in", size=9.5, color=style.INK)
    grid[1, 1].set_xlabel("draws", size=9.5, color=style.INK)
    return figure


def _chain_handles(n_chains: int) -> list[Line2D]:
    """Return a legend entry for each colour, with the numbers of the chains that have it."""
    count, handles = len(style.PALETTE), []
    for first in range(min(n_chains, count)):
        shared = [str(chain + 1) for chain in range(first, n_chains, count)]
        few = shared if len(shared) <= 2 else [shared[0], "..."]
        label = ("" if first else "chain ") + ", ".join(few)
        handles.append(Line2D([], [], color=style.colour(first), linewidth=2, label=label))
    return handles


def _steps(axes: Axes, values: np.ndarray, every: int, colour: str, n_chains: int) -> None:
    alpha = 0.85 if n_chains <= 4 else max(0.3, 2.5 / n_chains)
    shown = values[::every]
    marker = "o" if shown.size <= 50 else None
    options = {"linewidth": 0.6, "alpha": alpha, "marker": marker, "markersize": 3}
    axes.plot(every * np.arange(shown.size), shown, color=colour, **options)


def rank_figure(trace: Trace, title: str, said: str) -> Figure:
    """Draw, for each chain, how the ranks of its draws among all draws deviate from uniform.

    A curve inside the band means that the chain visits low and high values as often as the others
    do; a curve above it means that the chain has too many low values. The band is Kolmogorov's at
    90 %, for the effective sample size of the chain.
    """
    count = finite_prefix(trace)
    if count < MIN_DRAWS:
        return style.empty_figure(9.0, 3.0, title, said, "too few draws for ranks")
    figure = style.new_figure(9.0, 4.0, title, said, right=1.75)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, series, name in zip(
        panels, (trace.llc, trace.dist2), ("the loss", DISTANCE), strict=True
    ):
        values, labels = _to_compare(series[:, :count])
        if not moves(values):
            style.message(axes, f"every draw of {name} is the same")
            continue
        style.dress(axes, f"rank of {name} among all draws", "")
        share = 1 - 1 / len(values)
        band = _KS_90 * math.sqrt(share * len(values) / (ess_bulk(values) or values.size))
        axes.axhspan(-band, band, color=style.GRID, zorder=0, label="90 % band")
        axes.axhline(0.0, color=style.FAINT, linewidth=0.8)
        order = np.sort(values, axis=None)
        for chain, own in enumerate(values):
            at = np.linspace(0, 1, min(400, order.size))
            thresholds = order[(at * (order.size - 1)).round().astype(int)]
            ecdf = np.searchsorted(np.sort(own), thresholds, side="right") / own.size
            pooled = np.searchsorted(order, thresholds, side="right") / order.size
            colour = style.colour(chain)
            axes.plot(pooled, ecdf - pooled, color=colour, linewidth=1.2, label=labels[chain])
    first = next((axes for axes in panels if axes.axison), panels[0])
    first.set_ylabel("fraction below, chain - all chains", size=9.5, color=style.INK)
    first.tick_params(labelleft=True)
    handles, _ = panels[1].get_legend_handles_labels()
    if len(trace.llc) > 1:
        handles = [*handles[:1], *_chain_handles(len(trace.llc))]
    style.legend(panels[1], handles, loc="upper left", bbox_to_anchor=(1.02, 1.0))
    return figure


def _to_compare(series: Series) -> tuple[np.ndarray, list[str]]:
    """Return chains and their names; a single chain is split into two halves."""
    if len(series) > 1:
        return series, [f"chain {chain + 1}" for chain in range(len(series))]
    half = series.shape[1] // 2
    return series[:, : 2 * half].reshape(2, half), ["first half", "second half"]


def energy_figure(trace: Trace, title: str, said: str, bfmi: float | None) -> Figure:
    """Draw the distributions of the energy and of its changes from draw to draw.

    Changes much narrower than the energy itself mean that the momentum refreshment explores the
    energy slowly (Betancourt 2016, arXiv:1604.00695).
    """
    energy = trace.stats["energy"][:, : finite_prefix(trace)]
    energy = energy[:, np.isfinite(energy).all(axis=0)]
    if energy.shape[1] < MIN_DRAWS or not moves(energy):
        return style.empty_figure(
            9.0, 3.0, title, said, "too few distinct draws for an energy figure"
        )
    figure = style.new_figure(9.0, 4.0, title, said, top=0.85)
    axes = figure.subplots()
    centred = (energy - energy.mean()).ravel()
    changes = np.diff(energy, axis=1).ravel()
    low, high = np.quantile(np.concatenate([centred, changes]), [0.002, 0.998])
    bins = np.linspace(low, high, 50)
    options = {"bins": bins, "density": True, "linewidth": 1.5}
    filled = {"histtype": "stepfilled", "alpha": 0.45}
    axes.hist(centred, color=style.colour(0), label="energy - its mean", **filled, **options)
    axes.hist(changes, color=style.colour(1), histtype="step", label="change per draw", **options)
    text = "" if bfmi is None else f"lowest BFMI of a chain {bfmi:.2f} (below 0.3 is poor)"
    style.dress(axes, "energy (nats)", "density", text)
    style.legend(axes, loc="upper right")
    return figure
