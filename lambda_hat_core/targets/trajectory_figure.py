"""The figure of a training: its losses and its metric at the steps that were kept."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lambda_hat_core.analysis.figures import style

_WIDTH, _HEIGHT = 9.0, 4.0


def draw(series: Sequence[Mapping[str, Any]], meta: Mapping[str, Any], folder: Path) -> Path:
    """Draw the losses over the steps, and the metric beside them if there is one.

    Args:
        series: step, train_loss, test_loss and metric of each step.
        meta: the content of meta.json.
        folder: where the figure is written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    said = f"n = {meta['n']}, d = {meta['d']}"
    figure = style.new_figure(
        _WIDTH, _HEIGHT, meta["label"], said, left=0.85, right=0.3, top=0.8, gap=0.9
    )
    has_metric = any(row["metric"] is not None for row in series)
    axes = figure.subplots(1, 1 + has_metric, squeeze=False)[0]
    steps = np.array([row["step"] for row in series])
    shown: list[float] = []
    style.dress(axes[0], "optimiser step", "mean loss")
    for i, (name, key) in enumerate((("train", "train_loss"), ("test", "test_loss"))):
        values = [row[key] for row in series]
        if None not in values:
            axes[0].plot(steps, values, "o-", ms=4, color=style.colour(i), label=name)
            shown += values
    if min(shown) > 0:
        style.log_axis(axes[0], "y", shown)
    style.legend(axes[0])
    if has_metric:
        style.dress(axes[1], "optimiser step", str(meta["metric_name"]))
        values = [np.nan if row["metric"] is None else row["metric"] for row in series]
        axes[1].plot(steps, values, "o-", ms=4, color=style.colour(2))
    for ax in axes:
        ax.set_xscale("symlog", linthresh=1.0)
    return style.save(figure, folder / "training.png")
