"""Figures to judge a target by: training, fit, data, and curvature at w*."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from lambda_hat_core.analysis.figures import style
from lambda_hat_core.analysis.words import many, short
from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.targets import taskfigures
from lambda_hat_core.targets.building import BuiltTarget

_WIDTH, _HEIGHT = 9.0, 4.0
_POLISH_SHARE = 0.06
"""Width of the polish relative to the training, since its iterations are not steps."""
_SHOWN = 2000
"""Most points per scatter plot."""

_TRAIN, _TEST, _NEGATIVE = style.colour(0), style.colour(1), style.colour(6)
_GAMMAS = (1.0, 10.0, 100.0)
"""Localisers whose line is drawn, because a target does not know that of its runs."""
_ROUNDING = 1e-15
"""Eigenvalues of at most this share of the largest are drawn as 0."""

_BESIDE = 1.4
"""Room for the words beside those lines, in inches."""

_WORDS = {
    "mse": "mean squared error",
    "gaussian": "mean negative log likelihood",
    "student_t": "mean negative log likelihood",
    "cross_entropy": "mean cross entropy",
}

_SMALL = {"size": 8.5, "color": style.INK}


def draw_figures(built: BuiltTarget, folder: Path) -> list[Path]:
    """Draw every figure that the target has."""
    folder.mkdir(parents=True, exist_ok=True)
    classes = built.meta["loss"] == "cross_entropy"
    supervised = "outputs_train" in built.views
    drawings: dict[str, tuple[int, Callable[[BuiltTarget, list[Axes]], None]]] = {}
    if len(built.views["curve"]):
        drawings["training"] = (1, _training)
    if supervised and taskfigures.has_task(built.spec.data):
        drawings["predictions"] = (2, taskfigures.draw)
    elif supervised:
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
    said = f"n = {built.meta['n']}, d = {built.meta['d']}"
    figure = style.new_figure(
        _WIDTH, _HEIGHT, built.meta["label"], said, left=0.85, right=0.3, top=0.8, gap=0.9
    )
    axes = figure.subplots(rows, panels // rows, squeeze=False)
    figure.subplots_adjust(hspace=0.3)
    drawing(built, list(axes.ravel()))
    return style.save(figure, path)


def _training(built: BuiltTarget, axes: list[Axes]) -> None:
    ax, curve = axes[0], built.views["curve"]
    style.dress(ax, "optimiser step", _WORDS.get(built.meta["loss"], "mean loss"))
    columns = (("train", _TRAIN, "loss0", 1), ("test", _TEST, "test_loss", 2))
    shown: list[float] = []
    for name, colour, field, column in columns:
        final, values = built.meta[field], curve[:, column]
        if np.isfinite(values).all():
            ax.plot(curve[:, 0], values, color=colour, linewidth=1.8, label=name)
            shown += [values.min(), values.max()]
        if final is not None:
            label = f"{name} at w*, {final:.3g}"
            ax.axhline(final, color=colour, linestyle=":", linewidth=1.6, label=label)
            shown.append(final)
    _mark_polish(built, ax)
    if min(shown) > 0:
        style.log_axis(ax, "y", shown)
    style.legend(ax)


def _mark_polish(built: BuiltTarget, ax: Axes) -> None:
    """Mark what follows the training: the losses at w*, joined to the ends of the curves."""
    curve, done = built.views["curve"], built.meta["train"]["polish_iterations"]
    if not done:
        return
    end = float(curve[-1, 0])
    after = end * (1 + _POLISH_SHARE)
    label = f"polish, {many(done, 'iteration')}"
    ax.axvspan(end, after, color=style.GRID, lw=0, zorder=0, label=label)
    for colour, field, column in ((_TRAIN, "loss0", 1), (_TEST, "test_loss", 2)):
        final = built.meta[field]
        if final is not None and np.isfinite(curve[-1, column]):
            options = {"color": colour, "linewidth": 1.2, "marker": "D", "markevery": [1]}
            ax.plot([end, after], [curve[-1, column], final], markersize=5, **options)
    ax.set_xlim(right=after * 1.02)


def _predictions(built: BuiltTarget, axes: list[Axes]) -> None:
    taught = "clean_train" in built.data
    for ax, name, batch in zip(axes, ("train", "test"), ("batch", "test"), strict=True):
        y = built.data[f"clean_{name}" if taught else f"{batch}1"].ravel()[:_SHOWN]
        outputs = built.views[f"outputs_{name}"].ravel()[:_SHOWN]
        ends = [min(y.min(), outputs.min()), max(y.max(), outputs.max())]
        error = float(np.sqrt(np.mean((y - outputs) ** 2)))
        across = "teacher, without noise" if taught else "label"
        style.dress(ax, across, "prediction at w*", f"{name}: rms difference {error:.3g}")
        ax.plot(ends, ends, color=style.FAINT, linewidth=1)
        ax.scatter(y, outputs, s=8, alpha=0.5, color=_TRAIN, linewidths=0)


def _confusion(built: BuiltTarget, axes: list[Axes]) -> None:
    for ax, name, batch in zip(axes, ("train", "test"), ("batch", "test"), strict=True):
        y, outputs = built.data[f"{batch}1"], built.views[f"outputs_{name}"]
        guess, classes = outputs.argmax(axis=1), outputs.shape[1]
        counts = np.zeros((classes, classes), int)
        np.add.at(counts, (y, guess), 1)
        style.dress(ax, "predicted", "label", f"{name}: {np.mean(guess == y):.1%} right")
        ax.grid(False)
        ax.set(xticks=range(classes), yticks=range(classes))
        ax.imshow(counts, cmap="cividis", aspect="auto")
        for i, j in np.argwhere(counts > 0):
            dark = counts[i, j] < 0.6 * counts.max()
            shade = "white" if dark else "black"
            ax.text(j, i, str(counts[i, j]), ha="center", va="center", size=7.5, color=shade)


def _digits(built: BuiltTarget, axes: list[Axes]) -> None:
    x, y = built.data["batch0"], built.data["batch1"]
    side = int(np.sqrt(x.shape[1]))
    for label, ax in enumerate(axes):
        first = int(np.argmax(y == label))
        ax.imshow(x[first].reshape(side, side), cmap="gray_r")
        count = int(np.sum(y == label))
        ax.set_title(f"{label}: {many(count, 'image')}", **_SMALL)
        ax.set_axis_off()


def _inputs(built: BuiltTarget, axes: list[Axes]) -> None:
    x, y = built.data["batch0"][:_SHOWN], built.data["batch1"][:_SHOWN, 0]
    centred = x - x.mean(axis=0)
    plane = centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T
    across = plane[:, 1] if plane.shape[1] > 1 else np.zeros(len(plane))
    style.dress(axes[0], "first principal input", "second principal input")
    shown = axes[0].scatter(plane[:, 0], across, c=y, s=8, cmap="cividis", linewidths=0)
    axes[0].figure.colorbar(shown, ax=axes[0]).set_label("label", **_SMALL)
    style.dress(axes[1], "label", "training examples")
    axes[1].hist(y, bins=40, color=_TRAIN)


def _slices(built: BuiltTarget, axes: list[Axes]) -> None:
    ax, slices = axes[0], built.views["slices"]
    reach = np.linspace(-1, 1, slices.shape[1])
    style.dress(ax, "distance from w*", "L")
    for row, values in enumerate(slices):
        name = f"coordinate {row}" if row else "diagonal"
        ax.plot(reach, values, color=style.colour(row), linewidth=1.8, label=name)
    style.legend(ax)


def _spectrum(built: BuiltTarget, axes: list[Axes]) -> None:
    ax, values = axes[0], built.views["spectrum"][::-1]
    rank = 1 + np.arange(values.size)
    scale = float(np.abs(values).max())
    if scale == 0:
        style.message(ax, "the Hessian is 0")
        return
    zero = np.abs(values) <= _ROUNDING * scale
    kind = "eigenvalue" if values.size == built.meta["d"] else "Ritz value"
    style.dress(ax, "rank", f"|{kind}| of the Hessian at w*")
    size = np.maximum(np.abs(values), _ROUNDING * scale)
    mark = {"linestyle": "", "markersize": 5 if values.size < 100 else 3}
    groups = (
        (~zero & (values > 0), "positive", "o", _TRAIN),
        (~zero & (values < 0), "negative, by magnitude", "v", _NEGATIVE),
        (zero, "0 up to rounding", "_", style.FAINT),
    )
    for members, words, marker, colour in groups:
        if members.any():
            label = f"{words}: {np.sum(members)}"
            ax.plot(rank[members], size[members], marker, color=colour, label=label, **mark)
    held = _localisers(built, ax)
    style.log_axis(ax, "y", [*size, *held])
    style.legend(ax, loc="best")


def _localisers(built: BuiltTarget, ax: Axes) -> list[float]:
    """Draw and return the curvatures below which some localisers hold, at the default nbeta."""
    nbeta = PosteriorSpec().resolved_nbeta(built.meta["n"])
    label = f"gamma / nβ at the default nβ = n / log n = {short(float(f'{nbeta:.3g}'))}:\n"
    label += "below its line, a localiser gamma holds"
    for gamma in _GAMMAS:
        held = gamma / nbeta
        ax.axhline(held, color=style.INK, linestyle="--", linewidth=0.9, alpha=0.7, label=label)
        where = {"transform": ax.get_yaxis_transform(), "ha": "left", "va": "center"}
        ax.text(1.01, held, f"gamma = {gamma:g}: {held:.2g}", **where, **_SMALL)
        label = "_nolegend_"
    ax.figure.subplots_adjust(right=1 - _BESIDE / _WIDTH)
    return [gamma / nbeta for gamma in _GAMMAS]
