"""The display of an estimate in a notebook: numbers, verdict with reasons, and draws."""

import base64
from collections.abc import Iterator
from html import escape
from typing import Any

import numpy as np

from lambda_hat_core.analysis.figures import style
from lambda_hat_core.analysis.running import finite_prefix, running
from lambda_hat_core.analysis.words import interval, plus_minus, short
from lambda_hat_core.notebook.llc import Llc

_COLOURS = {"ok": "#1b7a3d", "suspect": "#a35a00", "failed": "#b3261e"}
_CELL = "text-align:left;vertical-align:top;padding:2px 10px 2px 0"
_WIDTH, _HEIGHT = 5.2, 1.9
_MOST_SHOWN = 400


def page(found: Llc) -> str:
    """Return a small table, followed by a figure of the draws and the running estimate."""
    lines = "".join(
        f"<tr><th style='{_CELL};font-weight:600'>{escape(name)}</th>"
        f"<td style='{_CELL}'>{value}</td></tr>"
        for name, value in _rows(found)
    )
    picture = base64.b64encode(_png(found)).decode()
    image = f"<img alt='draws of the LLC' src='data:image/png;base64,{picture}'>"
    return f"<div><table style='border:none'>{lines}</table>{image}</div>"


def _rows(found: Llc) -> Iterator[tuple[str, str]]:
    """Yield names and values, where the values are HTML."""
    estimate = escape(plus_minus(found.llc, found.se))
    if found.interval is not None:
        estimate += escape(f", 90 % {interval(*found.interval, found.se)}")
    yield "LLC", f"<b>{estimate}</b>"
    yield "verdict", f"<b style='color:{_COLOURS[found.verdict]}'>{found.verdict}</b>"
    if found.reasons:
        pairs = zip(found.reasons, found.advice, strict=True)
        lines = (f"{escape(reason)}: set <code>{escape(advice)}</code>" for reason, advice in pairs)
        yield "because", "<br>".join(lines)
    if found.notes:
        yield "beside it", "<br>".join(map(escape, found.notes))
    marks = {"R-hat": found.r_hat, "effective draws": found.ess, "V_M": found.v_m}
    known = [f"{name} {value:.4g}" for name, value in marks.items() if value is not None]
    yield "chains", escape(", ".join(known) or "no diagnostics")
    cost = f"{short(found.work_fge)} full gradients, {found.seconds:.3g} s"
    yield "target", escape(f"d = {found.d}, n = {found.n}; {cost}")
    yield "settings", escape(", ".join(f"{k} {_value(v)}" for k, v in found.settings.items()))


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "(" + ", ".join(f"{name} {_value(entry)}" for name, entry in value.items()) + ")"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _png(found: Llc) -> bytes:
    """Draw the draws of every chain, and over them the running estimate."""
    figure = style.new_figure(_WIDTH, _HEIGHT, "", bottom=0.45, top=0.1)
    axes = figure.subplots()
    count = finite_prefix(found.trace)
    if count == 0:
        style.message(axes, "there is no finite draw")
    else:
        style.dress(axes, "draw", "LLC")
        every = max(1, -(-count // _MOST_SHOWN))
        for chain, values in enumerate(found.trace.llc[:, :count]):
            shown = values[::every]
            at = every * np.arange(shown.size)
            axes.plot(at, shown, color=style.colour(chain), linewidth=0.5, alpha=0.4)
        style.clear_outliers(axes, found.trace.llc[:, :count])
        settled = running(found.trace)
        axes.plot(settled.draws, settled.llc, color=style.INK, linewidth=1.5)
        axes.fill_between(settled.draws, settled.lo, settled.hi, color=style.INK, alpha=0.15, lw=0)
    return style.png(figure)
