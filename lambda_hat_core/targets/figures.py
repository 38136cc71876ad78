"""What a person looks at before believing a target: training, fit, data, and curvature at w*."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lambda_hat_core.targets.building import BuiltTarget

_BLUE, _ORANGE, _GREEN, _GREY = "#0072B2", "#D55E00", "#009E73", "#999999"
"""Okabe & Ito (2008), told apart by every common colour vision."""
_DPI = 110
_SHOWN = 2000
"""Points a scatter plot."""


def draw_figures(built: BuiltTarget, folder: Path) -> list[Path]:
    """Draw every figure that the target has."""
    folder.mkdir(parents=True, exist_ok=True)
    classes = built.meta["loss"] == "cross_entropy"
    supervised = "outputs_train" in built.views
    drawings: dict[str, tuple[int, Callable[[BuiltTarget, list[Axes]], None]]] = {}
    if len(built.views["curve"]):
        drawings["training"] = (1, _training)
    if supervised:
        drawings["predictions"] = (2, _confusion if classes else _predictions)
        drawings["data"] = (10, _digits) if classes else (2, _inputs)
    elif "slices" in built.views:
        drawings["potential"] = (1, _slices)
    drawings["spectrum"] = (1, _spectrum)
    return [
        _draw(built, folder / f"{name}.png", panels, drawing)
        for name, (panels, drawing) in drawings.items()
    ]


def _draw(
    built: BuiltTarget, path: Path, panels: int, drawing: Callable[[BuiltTarget, list[Axes]], None]
) -> Path:
    rows = 2 if panels > 2 else 1
    columns = panels // rows
    size = (8.0, 3.6) if panels > 2 else (4.4 * columns + 0.6, 3.9)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    drawing(built, list(axes.ravel()))
    title = f"{built.meta['label']}\nn = {built.meta['n']}, d = {built.meta['d']}"
    figure.suptitle(title, fontsize=9)
    figure.savefig(path, dpi=_DPI)
    return path


def _training(built: BuiltTarget, axes: list[Axes]) -> None:
    ax, curve = axes[0], built.views["curve"]
    ax.plot(curve[:, 0], curve[:, 1], color=_BLUE, label="train")
    if np.isfinite(curve[:, 2]).all():
        ax.plot(curve[:, 0], curve[:, 2], color=_ORANGE, label="test")
    final = built.meta["loss0"]
    ax.axhline(final, color=_BLUE, ls=":", label=f"train at w*, {final:.3g}")
    if built.meta["test_loss"] is not None:
        held_out = built.meta["test_loss"]
        ax.axhline(held_out, color=_ORANGE, ls=":", label=f"test at w*, {held_out:.3g}")
    if min(final, curve[:, 1].min()) > 0:
        ax.set_yscale("log")
    ax.set(xlabel="optimiser step", ylabel=f"mean {built.meta['loss']}")
    ax.legend(fontsize=8)


def _predictions(built: BuiltTarget, axes: list[Axes]) -> None:
    taught = "clean_train" in built.data
    for ax, name, batch in zip(axes, ("train", "test"), ("batch", "test"), strict=True):
        y = built.data[f"clean_{name}" if taught else f"{batch}1"].ravel()[:_SHOWN]
        outputs = built.views[f"outputs_{name}"].ravel()[:_SHOWN]
        ends = [min(y.min(), outputs.min()), max(y.max(), outputs.max())]
        ax.plot(ends, ends, color=_GREY, lw=1)
        ax.scatter(y, outputs, s=8, alpha=0.5, color=_BLUE, linewidths=0)
        error = float(np.sqrt(np.mean((y - outputs) ** 2)))
        ax.set_title(f"{name}: rms difference {error:.3g}", fontsize=9)
        ax.set(xlabel="teacher, without noise" if taught else "label", ylabel="prediction at w*")


def _confusion(built: BuiltTarget, axes: list[Axes]) -> None:
    for ax, name, batch in zip(axes, ("train", "test"), ("batch", "test"), strict=True):
        y, outputs = built.data[f"{batch}1"], built.views[f"outputs_{name}"]
        guess, classes = outputs.argmax(axis=1), outputs.shape[1]
        counts = np.zeros((classes, classes), int)
        np.add.at(counts, (y, guess), 1)
        ax.imshow(counts, cmap="cividis", aspect="equal")
        for i, j in np.argwhere(counts > 0):
            dark = counts[i, j] < 0.6 * counts.max()
            shade = "white" if dark else "black"
            ax.text(j, i, str(counts[i, j]), ha="center", va="center", fontsize=6, color=shade)
        ax.set_title(f"{name}: {np.mean(guess == y):.1%} right", fontsize=9)
        ax.set(xlabel="predicted", ylabel="label", xticks=range(classes), yticks=range(classes))


def _digits(built: BuiltTarget, axes: list[Axes]) -> None:
    x, y = built.data["batch0"], built.data["batch1"]
    side = int(np.sqrt(x.shape[1]))
    for label, ax in enumerate(axes):
        first = int(np.argmax(y == label))
        ax.imshow(x[first].reshape(side, side), cmap="gray_r")
        ax.set_title(f"{label}: {int(np.sum(y == label))} images", fontsize=8)
        ax.set_axis_off()


def _inputs(built: BuiltTarget, axes: list[Axes]) -> None:
    x, y = built.data["batch0"][:_SHOWN], built.data["batch1"][:_SHOWN, 0]
    centred = x - x.mean(axis=0)
    plane = centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T
    across = plane[:, 1] if plane.shape[1] > 1 else np.zeros(len(plane))
    shown = axes[0].scatter(plane[:, 0], across, c=y, s=8, cmap="cividis", linewidths=0)
    axes[0].set(xlabel="first principal input", ylabel="second principal input")
    axes[0].figure.colorbar(shown, ax=axes[0], label="label")
    axes[1].hist(y, bins=40, color=_GREEN)
    axes[1].set(xlabel="label", ylabel="training examples")


def _slices(built: BuiltTarget, axes: list[Axes]) -> None:
    ax, slices = axes[0], built.views["slices"]
    reach = np.linspace(-1, 1, slices.shape[1])
    names = ("diagonal", *(f"coordinate {i}" for i in range(1, len(slices))))
    for values, name, colour in zip(slices, names, (_GREY, _BLUE, _ORANGE, _GREEN), strict=False):
        ax.plot(reach, values, color=colour, label=name)
    ax.set(xlabel="distance from w*", ylabel="L")
    ax.legend(fontsize=8)


def _spectrum(built: BuiltTarget, axes: list[Axes]) -> None:
    ax, values = axes[0], built.views["spectrum"][::-1]
    rank = 1 + np.arange(values.size)
    scale = float(np.abs(values).max())
    if scale == 0:
        ax.text(0.5, 0.5, "the Hessian is 0", ha="center", transform=ax.transAxes)
        return
    size = np.maximum(np.abs(values), 1e-16 * scale)
    up = values > 0
    ax.plot(rank[up], size[up], "o", ms=3, color=_BLUE, label="positive")
    if (~up).any():
        ax.plot(rank[~up], size[~up], "v", ms=3, color=_ORANGE, label="negative or 0 (magnitude)")
    ax.set_yscale("log")
    kind = "eigenvalue" if values.size == built.meta["d"] else "Ritz value"
    ax.set(xlabel="rank", ylabel=f"{kind} of the Hessian at w*")
    ax.legend(fontsize=8)
