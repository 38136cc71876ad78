"""The curves of a gallery: the LLC along each training, with all samplers and posteriors."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from lambda_hat_core.analysis.curve import Curve, CurvePoint, llc_curve
from lambda_hat_core.analysis.figures import style
from lambda_hat_core.analysis.figures.curve import CurveSeries, along_figure, most_are_early
from lambda_hat_core.analysis.words import many, short
from lambda_hat_core.gallery.members import Training
from lambda_hat_core.gallery.series import At, Series, distinct

Axis = Literal["log", "linear"]
Beside = Mapping[str, tuple[Sequence[int], Sequence[float]]]

_MOST = 10
"""Most curves in one figure, each of which has a colour of its own."""


class Frame(NamedTuple):
    """What is seen at one posterior.

    Attributes:
        words: what distinguishes the posterior from the others, such as `nβ 300`.
        figures: names of the PNG files, for steps spaced by their logarithms and evenly.
        notes: a sentence for each curve: the boundaries that its errors allow.
    """

    words: str
    figures: dict[Axis, str]
    notes: list[str]


class Stack(NamedTuple):
    """The same curves at one or more posteriors, of which the page shows one at a time.

    Attributes:
        title: what the curves are of.
        shown: the axis that suits the steps.
        frames: in ascending order of nbeta and gamma.
    """

    title: str
    shown: Axis
    frames: list[Frame]


class Drawer:
    """Draws curves, each of which is smoothed once.

    Args:
        folder: gets the PNG files.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._known: dict[tuple[CurvePoint, ...], Curve] = {}

    def of_training(
        self,
        id: str,
        training: Training,
        series: Sequence[Series],
        beside: Beside,
        *,
        parts: Sequence[Series] = (),
    ) -> list[Stack]:
        """Draw all curves of one training: samplers over each other, and a frame per posterior.

        Args:
            id: the training.
            training: its label.
            series: its curves.
            beside: losses and the metric by name, as pairs of steps and values.
            parts: the curves of components, to be drawn over each other before all others.
        """
        together = [
            self._stack(f"{id}_parts{i + 1}", f"{training.label}, by component", group, beside)
            for i, group in enumerate(_by_setting(parts))
        ]
        return together + [
            self._stack(f"{id}_curve{i + 1}", training.label, group, beside)
            for i, group in enumerate(_by_loss(series))
        ]

    def of_all(
        self, experiment: str, labels: Mapping[str, str], series: Sequence[Series]
    ) -> list[Stack]:
        """Draw the curves of all trainings over each other, one figure for each sampler.

        Args:
            experiment: its name.
            labels: labels of the trainings by id.
            series: the curves of all of them.
        """
        names = dict(zip(labels, distinct([*labels.values()]), strict=True))
        groups: dict[tuple[str, str], list[Series]] = {}
        for one in series:
            groups.setdefault((one.setting, one.at.loss), []).append(one)
        shared = [g for g in groups.values() if len({one.training for one in g}) > 1]
        return [
            self._stack(
                f"trainings_curve{i + 1}",
                f"{experiment}: {group[0].label}",
                [one._replace(label=names[one.training]) for one in group],
                {},
            )
            for i, group in enumerate(shared)
        ]

    def _stack(self, name: str, title: str, series: Sequence[Series], beside: Beside) -> Stack:
        at = sorted({one.at for one in series})
        steps = np.array([point.step for one in series for point in one.points])
        frames = [
            self._frame(
                f"{name}_{i + 1}", title, words, [one for one in series if one.at == here], beside
            )
            for i, (here, words) in enumerate(zip(at, _distinct(at), strict=True))
        ]
        return Stack(title, "log" if most_are_early(steps) else "linear", frames)

    def _frame(
        self, name: str, title: str, words: str, series: Sequence[Series], beside: Beside
    ) -> Frame:
        drawn, names = series[:_MOST], distinct([one.label for one in series])
        curves = [self._curve(one) for one in drawn]
        lines = [
            CurveSeries(label, curve, {} if i else beside)
            for i, (label, curve) in enumerate(zip(names, curves, strict=False))
        ]
        only = f"; {curves[0].note}" if len(curves) == 1 else ""
        figures: dict[Axis, str] = {}
        axes: tuple[Axis, ...] = ("log", "linear")
        for axis in axes:
            figure = along_figure(lines, title, said=f"{series[0].at.words()}{only}", axis=axis)
            figures[axis] = f"{name}_{axis}.png"
            style.save(figure, self._folder / figures[axis])
        notes = [f"{line.label}: {line.curve.note}" for line in lines]
        if len(series) > _MOST:
            more = many(len(series) - _MOST, "more curve is", "more curves are")
            notes.append(f"{more} in the table only")
        return Frame(words, figures, notes)

    def _curve(self, series: Series) -> Curve:
        if series.points not in self._known:
            self._known[series.points] = llc_curve(series.points)
        return self._known[series.points]


def beside(training: Training, metas: Mapping[str, Mapping[str, Any]]) -> Beside:
    """Return losses and the metric of a training's checkpoints, as far as they are known.

    Args:
        training: the steps.
        metas: content of meta.json of the targets that were made.
    """
    made = [(step, metas[id]) for id, step in training.steps.items() if metas.get(id)]
    names = {"train_loss": "train loss", "test_loss": "test loss"}
    metric = next((meta["metric_name"] for _, meta in made if meta.get("metric_name")), None)
    names |= {"metric": metric} if metric else {}
    found = {}
    for key, name in names.items():
        values = [(step, meta[key]) for step, meta in made if meta.get(key) is not None]
        finite = [(step, value) for step, value in values if math.isfinite(value)]
        if finite:
            found[name] = tuple(zip(*finite, strict=True))
    return found


def _by_loss(series: Sequence[Series]) -> Iterator[list[Series]]:
    groups: dict[str, list[Series]] = {}
    for one in series:
        groups.setdefault(one.at.loss, []).append(one)
    yield from groups.values()


def _by_setting(series: Sequence[Series]) -> Iterator[list[Series]]:
    groups: dict[tuple[str, str], list[Series]] = {}
    for one in series:
        groups.setdefault((one.setting, one.at.loss), []).append(one)
    yield from groups.values()


def _distinct(at: Sequence[At]) -> list[str]:
    """Return for each posterior what the others do not have in common with it."""
    varied = [name for name in ("nbeta", "gamma") if len({getattr(one, name) for one in at}) > 1]
    symbols = {"nbeta": "nβ", "gamma": "gamma"}
    return [
        ", ".join(f"{symbols[name]} {short(getattr(one, name))}" for name in varied) for one in at
    ]
