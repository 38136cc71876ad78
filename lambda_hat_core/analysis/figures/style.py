"""The style of all figures, set per object because threads share rcParams."""

import io
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import ArrayLike

from lambda_hat_core.analysis.words import short

PALETTE = (
    "#4132ff",
    "#f56900",
    "#0f5a64",
    "#6e96cd",
    "#6e4b32",
    "#87965f",
    "#9b4600",
    "#af64ff",
    "#be8296",
    "#000000",
)
"""Ten colours that differ pairwise by at least 21 in CIELAB, for normal vision and simulated
protanopia, deuteranopia and tritanopia, with a contrast of at least 3, both on white and as a
gallery in dark mode shows them, inverted (tested). Only one of them is so dark that its hue does
not show in a thin line."""

HEAT = "cividis"
"""The colour map of heat maps: its lightness rises for every vision."""

DIVERGING = "PuOr"
"""The colour map around a middle, which is the lightest: orange below, violet above."""

INK = "#222222"
FAINT = "#6b6b6b"
GRID = "#e3e3e3"
DPI = 110
_COLOURS = 64
_WHITE = 253
"""Levels from which quantised colours are set back to white."""

_EM = {"bold": 0.66, "normal": 0.55}
"""Mean width of a character in units of the font size."""
_LEAST_SIZE = 7.0
_FONT = {"size": 9.5, "color": INK}


class ReferenceLine(NamedTuple):
    """A value at which a figure draws a line.

    Attributes:
        value: the LLC at which the line is drawn.
        label: its name in the legend.
        dashes: matplotlib's line style.
    """

    value: float
    label: str
    dashes: str


class Shown(Figure):
    """A figure that a notebook shows without pyplot."""

    def _repr_png_(self) -> bytes:
        return png(self)


def references(llc_known: float | None, llc_oracle: float | None) -> list[ReferenceLine]:
    """Return the lines for lambda and for the exact value at this nbeta and gamma."""
    lines = []
    if llc_known is not None:
        lines.append(ReferenceLine(llc_known, f"known λ = {llc_known:.4g}", "--"))
    if llc_oracle is not None:
        lines.append(ReferenceLine(llc_oracle, f"exact at this nβ = {llc_oracle:.4g}", ":"))
    return lines


def new_figure(
    width: float,
    height: float,
    title: str,
    said: str = "",
    *,
    left: float = 0.75,
    right: float = 0.15,
    bottom: float = 0.55,
    top: float = 0.65,
    gap: float = 0.25,
) -> Figure:
    """Return an empty figure with a title and a second line below it.

    Size, margins and the gap between columns are in inches. Margins are explicit, because a layout
    engine would draw everything twice.
    """
    figure = Shown(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    figure.subplots_adjust(
        left=left / width,
        right=1 - right / width,
        bottom=bottom / height,
        top=1 - top / height,
        wspace=gap / (width / 2),
        hspace=0.12,
    )
    _line(figure, title, 0.08, 10.5, "bold")
    _line(figure, said, 0.29, 9.0, "normal")
    return figure


def _line(figure: Figure, text: str, below_top: float, size: float, weight: str) -> None:
    """Write a line across the top, in a smaller font if it is long, and shortened if very long."""
    width, height = figure.get_size_inches()
    wanted = len(text) * size * _EM[weight] / 72
    size = max(_LEAST_SIZE, size * min(1.0, (width - 0.2) / max(wanted, 1e-9)))
    most = int((width - 0.2) * 72 / (size * _EM[weight]))
    shown = text if len(text) <= most else text[: most - 3] + "..."
    where = {"x": 0.1 / width, "y": 1 - below_top / height, "ha": "left", "va": "top"}
    figure.text(s=shown, size=size, color=INK, weight=weight, **where)


def dress(axes: Axes, xlabel: str, ylabel: str, title: str = "") -> None:
    """Give an axes its labels, spines, grid and few ticks, which take most of the drawing time."""
    axes.set_xlabel(xlabel, **_FONT)
    axes.set_ylabel(ylabel, **_FONT)
    if title:
        axes.set_title(title, loc="left", size=9.5, color=INK)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(FAINT)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.tick_params(colors=FAINT, labelcolor=INK, labelsize=8.5)
    axes.grid(True, color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)


def _tick(value: float, _position: Any) -> str:
    return short(value)


def log_axis(axes: Axes, which: str, values: Iterable[float]) -> None:
    """Make an axis logarithmic, with enough tick labels even within one decade."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    positive = [value for value in values if value > 0 and math.isfinite(value)]
    decades = math.log10(max(positive) / min(positive)) if positive else 0.0
    if positive and decades == 0:
        (axes.set_xlim if which == "x" else axes.set_ylim)(positive[0] / 10, positive[0] * 10)
        axis.set_major_locator(LogLocator(base=10))
    elif decades < 1:
        axis.set_major_locator(MaxNLocator(5))
    else:
        subs = (1.0, 2.0, 5.0) if decades < 2 else (1.0,)
        axis.set_major_locator(LogLocator(base=10, subs=subs, numticks=7))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(_tick))


def count_axis(axes: Axes) -> None:
    """Label the x axis with integers."""
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(_tick))


def draw_references(axes: Axes, lines: Iterable[ReferenceLine], *, vertical: bool = False) -> None:
    """Draw the known and exact values across an axes."""
    for line in lines:
        draw = axes.axvline if vertical else axes.axhline
        draw(line.value, color=INK, linewidth=1.3, linestyle=line.dashes, label=line.label)


def legend(target: Axes | Figure, handles: Iterable[Any] | None = None, **where: Any) -> None:
    """Add a legend without a frame."""
    options = {"frameon": False, "fontsize": 8.5, "labelcolor": INK, **where}
    if handles is None:
        target.legend(**options)
    else:
        target.legend(handles=list(handles), **options)


def message(axes: Axes, text: str) -> None:
    """Show a sentence in an axes that has nothing to draw."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes, **_FONT)


def empty_figure(width: float, height: float, title: str, said: str, text: str) -> Figure:
    """Return a figure with only a sentence that says why there is nothing to draw."""
    figure = new_figure(width, height, title, said)
    figure.text(0.5, 0.45, text, ha="center", va="center", **_FONT)
    return figure


def colour(index: int) -> str:
    """Return a colour for the index-th chain or group."""
    return PALETTE[index % len(PALETTE)]


def clear_outliers(axes: Axes, values: ArrayLike) -> None:
    """Limit y to the bulk of the values if outliers would dominate the axis, and count them.

    The bulk is the central 99 %. Values are outliers if they would more than triple its range.
    """
    finite = np.asarray(values, float).ravel()
    finite = finite[np.isfinite(finite)]
    if finite.size == 0:
        return
    low, high = np.quantile(finite, [0.005, 0.995])
    room = high - low
    if room <= 0 or np.ptp(finite) < 3 * room:
        return
    bottom, top = low - 0.3 * room, high + 0.3 * room
    outside = int(np.sum((finite < bottom) | (finite > top)))
    axes.set_ylim(bottom, top)
    span = f"{short(finite.min())} to {short(finite.max())}"
    text = f"{outside} of {finite.size} values outside; all: {span}"
    where = {"ha": "right", "va": "bottom", "transform": axes.transAxes}
    axes.text(1.0, 1.01, text, size=8, color=FAINT, **where)


def save(figure: Figure, path: Path) -> Path:
    """Write a PNG file."""
    path.write_bytes(png(figure))
    return path


def png(figure: Figure) -> bytes:
    """Return a PNG with at most 64 colours, a third of the size of one in full colour."""
    from PIL import Image

    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    flat = image.quantize(_COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    flat.putpalette([255 if level >= _WHITE else level for level in flat.getpalette() or []])
    file = io.BytesIO()
    flat.save(file, format="PNG", compress_level=6)
    return file.getvalue()
