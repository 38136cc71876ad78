"""Figures of observables: the kernel of rows as a clustered heat map, and the top influences."""

import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure

from lambda_hat_core.analysis.figures import style
from lambda_hat_core.analysis.groups import Measured

_MOST_TICKS = 40
_MOST_BARS = 16


def clustered(kernel: Float[np.ndarray, "m m"]) -> Int[np.ndarray, " m"]:
    """Return the order in which rows whose losses move together stand beside each other.

    It is that of the leaves of an average-linkage tree of the distances 1 - correlation.
    """
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    if len(kernel) < 3:
        return np.arange(len(kernel))
    distance = np.clip(1 - np.nan_to_num(kernel), 0.0, 2.0)
    distance = (distance + distance.T) / 2
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform(distance, checks=False), "average", optimal_ordering=True)
    return leaves_list(tree)


def kernel_figure(
    kernel: Float[np.ndarray, "m m"], index: Int[np.ndarray, " m"], title: str, said: str = ""
) -> Figure:
    """Draw correlations of the losses of rows, in the order of `clustered`."""
    order = clustered(kernel)
    figure = style.new_figure(6.4, 6.0, title, said, left=0.7, right=0.4, bottom=0.6)
    axes = figure.subplots()
    image = axes.imshow(kernel[np.ix_(order, order)], vmin=-1, vmax=1, cmap="RdBu_r")
    style.dress(axes, "row, in the order of clusters", "row")
    axes.grid(False)
    if len(order) <= _MOST_TICKS:
        names = [str(number) for number in index[order]]
        axes.set_xticks(range(len(order)), names, rotation=90)
        axes.set_yticks(range(len(order)), names)
    else:
        axes.set_xticks([])
        axes.set_yticks([])
    bar = figure.colorbar(image, ax=axes, shrink=0.8)
    bar.set_label("correlation of losses", color=style.INK, size=9.5)
    bar.ax.tick_params(colors=style.FAINT, labelcolor=style.INK, labelsize=8.5)
    return figure


def influence_figure(
    influence: Measured, index: Int[np.ndarray, " m"], row: int, title: str, said: str = ""
) -> Figure:
    """Draw the other rows with the largest influence on the loss of one, with 90 % intervals.

    Args:
        influence: of every row on that row, vectors.
        index: the numbers of the rows.
        row: the number of that row.
        title: of the figure.
        said: below the title.
    """
    shown = np.where(index == row, 0.0, np.nan_to_num(influence.value))
    top = np.argsort(-np.abs(shown), kind="stable")[: min(_MOST_BARS, len(index) - 1)]
    top = top[np.argsort(shown[top], kind="stable")]
    height = 1.5 + 0.24 * len(top)
    figure = style.new_figure(6.4, height, title, said, left=0.7)
    axes = figure.subplots()
    style.dress(axes, f"influence on the loss of row {row}", "row")
    axes.barh(
        range(len(top)),
        shown[top],
        xerr=np.nan_to_num(influence.half_width[top]),
        color=[style.colour(0) if value < 0 else style.colour(1) for value in shown[top]],
        error_kw={"ecolor": style.INK, "linewidth": 1.0, "capsize": 2.5},
    )
    axes.axvline(0.0, color=style.FAINT, linewidth=1.0)
    axes.grid(False, axis="y")
    axes.set_yticks(range(len(top)), [str(number) for number in index[top]])
    return figure
