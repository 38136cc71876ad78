"""A calibration sheet drawn: heat maps of the LLC and of V_M, with the number in every cell."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure

from lambda_hat_core.analysis.figures import style
from lambda_hat_core.analysis.sheet import NAMES, Cell, Layout, cell_at, layout
from lambda_hat_core.analysis.words import short

_CELL = (0.82, 0.42)
"""Width and height of a cell, in inches."""

_MOST_BESIDE = 4
"""Most maps beside each other."""

_HOT = math.log(2.0)
"""Size of log V_M from which the colour is the last one."""

_MARKS = {"ok": "", "suspect": " ?", "failed": " x"}


def sheet_figure(cells: Sequence[Cell], title: str, said: str) -> Figure:
    """Draw the sheet of one sampler: the LLC above, V_M below, one map for each value of gamma.

    Args:
        cells: the runs.
        title: the first line.
        said: the second line.
    """
    if not cells:
        return style.empty_figure(7.5, 2.5, title, said, "no run to draw")
    seen = {cell.verdict for cell in cells}
    shown_marks = [(mark.strip(), verdict) for verdict, mark in _MARKS.items() if mark]
    marks = [f"{mark} {verdict}" for mark, verdict in shown_marks if verdict in seen]
    said = "; ".join([said, *marks])
    at = layout(cells)
    beside = at.of(at.beside)
    shown = [("LLC", _llc, *_llc_scale(cells))]
    if any(cell.v_m is not None for cell in cells):
        shown.append(("V_M, 1 is right", _v_m, *_v_m_scale()))
    per_row = min(len(beside), _MOST_BESIDE)
    lines = -(-len(beside) // per_row)
    columns, rows = len(at.of(at.across)), len(at.of(at.down))
    wide, high = max(1.6, _CELL[0] * columns) + 0.35, _CELL[1] * rows + 0.75
    width = max(7.5, 0.95 + wide * per_row)
    height = 0.85 + high * lines * len(shown)
    figure = style.new_figure(width, height, title, said)
    for line, (name, number, colours, scale) in enumerate(
        (*one,) for one in shown for _ in range(lines)
    ):
        first = (line % lines) * per_row
        for column, value in enumerate(beside[first : first + per_row]):
            left, top = 0.9 + wide * column, 0.85 + high * line
            box = (left / width, 1 - (top + high - 0.7) / height)
            axes = figure.add_axes((*box, (wide - 0.35) / width, (high - 0.7) / height))
            label = name if value is None else f"{name}, {NAMES[at.beside or '']} {short(value)}"
            _map(axes, cells, at, value, number, colours, scale)
            axes.set_title(label, loc="left", size=9.5, color=style.INK)
            axes.tick_params(labelleft=column == 0)
            if column:
                axes.set_ylabel("")
    return figure


Number = Callable[[Cell], tuple[float | None, str]]


def _llc(cell: Cell) -> tuple[float | None, str]:
    text = cell.verdict if cell.llc is None else f"{cell.llc:.3g}{_MARKS[cell.verdict]}"
    return cell.llc, text


def _v_m(cell: Cell) -> tuple[float | None, str]:
    if cell.v_m is None:
        return None, ""
    return math.log(max(cell.v_m, 1e-3)), f"{cell.v_m:.3g}"


def _llc_scale(cells: Sequence[Cell]) -> tuple[Colormap, Normalize]:
    from matplotlib import colormaps

    good = [c.llc for c in cells if c.llc is not None and c.verdict != "failed"]
    good = good or [cell.llc for cell in cells if cell.llc is not None] or [0.0]
    low, high = float(np.quantile(good, 0.05)), float(np.quantile(good, 0.95))
    return colormaps[style.HEAT], Normalize(low, high if high > low else low + 1.0, clip=True)


def _v_m_scale() -> tuple[Colormap, Normalize]:
    from matplotlib import colormaps

    return colormaps[style.DIVERGING], Normalize(-_HOT, _HOT, clip=True)


def _map(
    axes: Axes,
    cells: Sequence[Cell],
    at: Layout,
    beside: float | None,
    number: Number,
    colours: Colormap,
    scale: Normalize,
) -> None:
    across, down = at.of(at.across), at.of(at.down)
    style.dress(axes, NAMES[at.across], "" if at.down is None else NAMES[at.down])
    pixels = np.ones((len(down), len(across), 4))
    for i, row in enumerate(down):
        for j, column in enumerate(across):
            cell = cell_at(cells, at, column, row, beside)
            value, text = (None, "not run") if cell is None else number(cell)
            if value is not None:
                pixels[i, j] = colours(scale(value))
            dark = pixels[i, j, :3] @ (0.299, 0.587, 0.114) < 0.5
            ink = "white" if dark else style.INK
            axes.text(j, i, text, ha="center", va="center", size=8, color=ink)
    axes.imshow(pixels, aspect="auto", origin="lower")
    axes.grid(False)
    axes.set_xticks(range(len(across)), [_words(value) for value in across])
    axes.set_yticks(range(len(down)), [_words(value) for value in down])


def _words(value: float | None) -> str:
    return "" if value is None else short(value)
