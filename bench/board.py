"""The leaderboard as Markdown and as a figure."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pages import table

from lambda_hat_core.analysis.figures import style
from lambda_hat_core.analysis.words import short

_GOAL = 5.0


def _rows(frame: pd.DataFrame, sampler: str, targets: Sequence[str]) -> list[Any]:
    mine = frame[frame["sampler"] == sampler].set_index("target")
    return [mine.loc[target] if target in mine.index else None for target in targets]


def _work(at: Any) -> str:
    if at is None:
        return "-"
    if pd.isna(at["bias"]):
        return "**failed**"
    return "never" if pd.isna(at["fge_5"]) else short(float(f"{at['fge_5']:.3g}"))


def _cell(at: Any) -> str:
    if at is None or pd.isna(at["bias"]):
        return _work(at)
    error = f"{100 * at['bias']:+.1f} ± {100 * at['se']:.1f} %"
    doubt = "" if at["verdict"] == "ok" else f" *{at['verdict']}*"
    return f"{_work(at)}, {at['seconds']:.2g} s ({error}){doubt}"


def leaderboard(frame: pd.DataFrame, targets: Sequence[str], samplers: Sequence[str]) -> str:
    """Return a table of gradients to 5 %, CPU seconds without compilation, and error.

    The verdict is added where it is not ok.
    """
    lines = [[f"`{s}`", *map(_cell, _rows(frame, s, targets))] for s in samplers]
    first = frame.drop_duplicates("target").set_index("target")
    answers = ["*answer*"] + [
        f"{first.reference[t]:.4g}"
        + (f" ± {first.reference_se[t]:.2g}" if first.reference_se[t] > 0 else "")
        if t in first.index
        else "-"
        for t in targets
    ]
    return table(["sampler", *targets], [answers, *lines])


def metrics(
    frame: pd.DataFrame, targets: Sequence[str], kinds: Sequence[str], names: Sequence[str]
) -> str:
    """Return a table of gradients to 5 % by metric, with the default first.

    The smallest value of a row is bold if all values are present.
    """
    lines = []
    for kind in kinds:
        samplers = [kind if name == names[0] else f"{kind} {name}" for name in names]
        grid = [_rows(frame, sampler, targets) for sampler in samplers]
        works = np.array([[np.nan if at is None else at["fge_5"] for at in line] for line in grid])
        works = np.where(np.isfinite(works.astype(float)), works.astype(float), np.inf)
        compared = [all(at is not None for at in column) for column in zip(*grid, strict=True)]
        for name, line, work in zip(names, grid, works, strict=True):
            best = (work == works.min(axis=0)) & np.isfinite(work) & compared
            cells = [_metric_cell(at, won) for at, won in zip(line, best, strict=True)]
            lines.append([f"`{kind}`, {name}", *cells])
    return table(["sampler, metric", *targets], lines)


def _metric_cell(at: Any, won: bool) -> str:
    doubt = "" if at is None or at["verdict"] != "suspect" else " *suspect*"
    return (f"**{_work(at)}**" if won else _work(at)) + doubt


def draw(frame: pd.DataFrame, targets: Sequence[str], samplers: Sequence[str], path: Path) -> None:
    """Draw the error above and the gradients to 5 % below, with one column per target."""
    figure = style.new_figure(
        2.3 * len(targets) + 1.4,
        7.2,
        "Every sampler at its defaults",
        "above: error of llc in % of the answer with 2 se, grey: 5 %; below: full-gradient "
        "evaluations to 5 %; hollow: suspect",
        left=1.3,
        top=0.85,
    )
    grid = figure.subplots(2, len(targets), sharey=True, squeeze=False)
    y = np.arange(len(samplers))
    for column, target in enumerate(targets):
        for at, place in zip(_column(frame, samplers, target), y, strict=True):
            _points(grid[0][column], grid[1][column], at, place, style.colour(place))
        for axes, label in ((grid[0][column], "error, %"), (grid[1][column], "FGE to 5 %")):
            style.dress(axes, label, "", target if axes is grid[0][column] else "")
            axes.set_yticks(y, samplers)
        grid[0][column].axvspan(-_GOAL, _GOAL, color=style.GRID, zorder=0)
        grid[0][column].set_xscale("symlog", linthresh=10)
        grid[0][column].set_xlim(-150, 1000)
        grid[0][column].set_xticks([-100, -10, 0, 10, 100], ["-100", "-10", "0", "10", "100"])
        works = frame[frame["target"] == target]["fge_5"].dropna()
        style.log_axis(grid[1][column], "x", works)
    grid[0][0].invert_yaxis()
    figure.subplots_adjust(hspace=0.35, wspace=0.12)
    style.save(figure, path)


def _column(frame: pd.DataFrame, samplers: Sequence[str], target: str) -> list[Any]:
    return [_rows(frame, sampler, [target])[0] for sampler in samplers]


def _points(above: Any, below: Any, at: Any, y: int, colour: str) -> None:
    if at is None:
        return
    if pd.isna(at["bias"]):
        _say(above, "failed", y, colour)
        return
    fill = colour if at["verdict"] == "ok" else "white"
    look = {"color": colour, "markerfacecolor": fill, "markersize": 6}
    above.errorbar([100 * at["bias"]], [y], xerr=[200 * at["se"]], fmt="o", **look)
    if pd.isna(at["fge_5"]):
        _say(below, "never", y, colour)
    else:
        below.plot([at["fge_5"]], [y], "o", **look)


def _say(axes: Any, word: str, y: int, colour: str) -> None:
    axes.text(
        0.99, y, word, color=colour, ha="right", va="center", transform=axes.get_yaxis_transform()
    )
