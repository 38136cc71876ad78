"""Figures of what a network has learned on generated data: pairs, features, positions."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.ticker import MaxNLocator

from lambda_hat_core.analysis.figures import style
from lambda_hat_core.config.data import DataSpec
from lambda_hat_core.config.tasks import IclRegression, Induction, Modular, SparseFeatures
from lambda_hat_core.targets.building import BuiltTarget

_TRAIN, _TEST = style.colour(0), style.colour(1)
_WRONG = "#c9c9c9"
_PARTS = (("train", "batch", _TRAIN), ("test", "test", _TEST))


def has_task(data: DataSpec) -> bool:
    """Return whether `draw` has a figure for targets on these data."""
    return isinstance(data, Modular | SparseFeatures | Induction | IclRegression)


def draw(built: BuiltTarget, axes: list[Axes]) -> None:
    """Draw two panels of predictions at w*."""
    match built.spec.data:
        case Modular():
            _pairs(built, axes)
        case SparseFeatures():
            _features(built, axes)
        case Induction():
            _tokens(built, axes)
        case _:
            _regressions(built, axes)


def _whole(ax: Axes, which: str) -> None:
    """Keep the ticks of an axis that counts at whole numbers."""
    for name in which:
        getattr(ax, f"{name}axis").set_major_locator(MaxNLocator(integer=True))


def _pairs(built: BuiltTarget, axes: list[Axes]) -> None:
    assert isinstance(built.spec.data, Modular)
    p = built.spec.data.p
    for ax, (name, arrays, colour) in zip(axes, _PARTS, strict=True):
        x, y = built.data[f"{arrays}0"], built.data[f"{arrays}1"]
        right = built.views[f"outputs_{name}"].argmax(axis=1) == y
        grid = np.zeros((p, p))
        grid[x[:, 0], x[:, 1]] = 1 + right
        style.dress(ax, "second integer", "first integer", f"{name}: {right.mean():.1%} right")
        ax.grid(False)
        shades = ListedColormap(["white", _WRONG, colour])
        _whole(ax, "xy")
        ax.imshow(grid, cmap=shades, vmin=0, vmax=2, aspect="auto")


def _features(built: BuiltTarget, axes: list[Axes]) -> None:
    weight, bias = built.params["weight"], built.params["bias"]
    plane = np.linalg.svd(weight)[0][:, :2].T @ weight if len(weight) > 2 else weight
    across = plane[1] if len(plane) > 1 else np.zeros(plane.shape[1])
    style.dress(axes[0], "first dimension", "second dimension", "directions of the features")
    for i, (x, y) in enumerate(zip(plane[0], across, strict=True)):
        axes[0].plot([0, x], [0, y], color=_TRAIN, linewidth=1.6, marker="o", markevery=[1])
        axes[0].annotate(str(i), (x, y), textcoords="offset points", xytext=(5, 4), size=8.5)
    axes[0].set_aspect("equal", adjustable="datalim")
    axes[0].margins(0.15)
    style.dress(axes[1], "feature", "b")
    _whole(axes[1], "x")
    axes[1].bar(range(bias.size), bias, color=_TRAIN)


def _tokens(built: BuiltTarget, axes: list[Axes]) -> None:
    style.dress(axes[0], "position", "right")
    style.dress(axes[1], "position", "mean cross entropy")
    for name, arrays, colour in _PARTS:
        outputs = built.views[f"outputs_{name}"]
        y = built.data[f"{arrays}1"][: len(outputs)]
        scored = np.maximum(1, (y >= 0).sum(axis=0))
        right = (outputs.argmax(axis=-1) == y) & (y >= 0)
        high = outputs.max(axis=-1)
        total = high + np.log(np.exp(outputs - high[..., None]).sum(axis=-1))
        chosen = np.take_along_axis(outputs, np.maximum(y, 0)[..., None], axis=-1)[..., 0]
        loss = np.where(y >= 0, total - chosen, 0).sum(axis=0) / scored
        seen = np.flatnonzero((y >= 0).any(axis=0))
        mean = right.sum() / max(1, (y >= 0).sum())
        label = f"{name}: {mean:.1%} right"
        mark = {"color": colour, "marker": "o", "markersize": 4, "linewidth": 1.6}
        axes[0].plot(seen, (right.sum(axis=0) / scored)[seen], label=label, **mark)
        axes[1].plot(seen, loss[seen], label=name, **mark)
    axes[0].set_ylim(-0.03, 1.03)
    for ax in axes:
        _whole(ax, "x")
    style.legend(axes[0])


def _regressions(built: BuiltTarget, axes: list[Axes]) -> None:
    assert isinstance(built.spec.data, IclRegression)
    style.dress(axes[0], "examples before", "mean squared error")
    style.dress(axes[1], "label", "prediction at w*", "test, after the most examples")
    for name, arrays, colour in _PARTS:
        outputs = built.views[f"outputs_{name}"]
        y = built.data[f"{arrays}1"][: len(outputs)]
        mark = {"color": colour, "marker": "o", "markersize": 4, "linewidth": 1.6}
        axes[0].plot(range(y.shape[1]), ((outputs - y) ** 2).mean(axis=0), label=name, **mark)
        if name == "test":
            ends = [y[:, -1].min(), y[:, -1].max()]
            axes[1].plot(ends, ends, color=style.FAINT, linewidth=1)
            axes[1].scatter(y[:, -1], outputs[:, -1], s=8, alpha=0.5, color=colour, linewidths=0)
    floor = built.spec.data.noise_scale**2
    axes[0].axhline(floor, color=style.FAINT, linestyle=":", label=f"noise, {floor:.3g}")
    axes[0].set_ylim(bottom=0)
    _whole(axes[0], "x")
    style.legend(axes[0])
