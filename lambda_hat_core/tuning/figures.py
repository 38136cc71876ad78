"""The four figures of a study: history, importance, slices, error against work."""

import math
from collections.abc import Sequence
from pathlib import Path

import optuna
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from optuna.trial import FrozenTrial, TrialState

from lambda_hat_core.analysis.figures import style
from lambda_hat_core.analysis.words import many
from lambda_hat_core.tuning.optimiser import importances
from lambda_hat_core.tuning.search import outcome_of

NAMES = ("history", "importance", "slice", "error_against_work")
_SIZE = (6.4, 3.6)
_LOOK = {
    TrialState.COMPLETE: ("complete", style.PALETTE[0], "o"),
    TrialState.PRUNED: ("pruned", style.PALETTE[1], "v"),
    TrialState.FAIL: ("failed", style.FAINT, "x"),
}
_BEST = style.PALETTE[2]


def draw(study: optuna.Study, title: str, reference: float | None, folder: Path) -> list[Path]:
    """Draw every figure of a study.

    Args:
        study: the study with its trials.
        title: the title of the figures.
        reference: the llc that the study compares with, if any.
        folder: gets the PNG files; it is created if necessary.
    """
    folder.mkdir(parents=True, exist_ok=True)
    trials = [t for t in study.get_trials(deepcopy=False) if t.state in _LOOK]
    figures = {
        "history": history(trials, title),
        "importance": importance(importances(study), title),
        "slice": slices(trials, title),
        "error_against_work": error_against_work(trials, title, reference),
    }
    return [style.save(figure, folder / f"{name}.png") for name, figure in figures.items()]


def history(trials: Sequence[FrozenTrial], title: str) -> Figure:
    """Draw the objective of every trial, and the best value so far."""
    done = [(t.number, t.value) for t in trials if t.state == TrialState.COMPLETE and t.value]
    if not done:
        return style.empty_figure(*_SIZE, title, "history", "no trial is complete")
    count = many(len(trials), "trial")
    figure = style.new_figure(*_SIZE, title, f"objective of {count}, lower is better")
    axes = figure.add_subplot()
    style.dress(axes, "trial", "objective")
    style.count_axis(axes)
    style.log_axis(axes, "y", [value for _, value in done])
    best, line = math.inf, []
    for _, value in done:
        best = min(best, value)
        line.append(best)
    numbers = [number for number, _ in done]
    last = max(trial.number for trial in trials)
    axes.step([*numbers, last], [*line, line[-1]], where="post", color=_BEST, linewidth=1.5)
    axes.scatter(numbers, [value for _, value in done], s=18, color=style.PALETTE[0], zorder=3)
    low, _ = axes.get_ylim()
    for state in (TrialState.PRUNED, TrialState.FAIL):
        _, colour, marker = _LOOK[state]
        at = [t.number for t in trials if t.state == state]
        axes.scatter(at, [low] * len(at), s=22, color=colour, marker=marker, clip_on=False)
    axes.set_ylim(bottom=low)
    style.legend(axes, [Line2D([], [], color=_BEST, label="best so far"), *_marks(trials)])
    return figure


def _marks(trials: Sequence[FrozenTrial]) -> list[Line2D]:
    states = {trial.state for trial in trials}
    return [
        Line2D([], [], color=colour, marker=marker, linestyle="", markersize=5, label=word)
        for state, (word, colour, marker) in _LOOK.items()
        if state in states
    ]


def importance(shares: dict[str, float], title: str) -> Figure:
    """Draw how much of the objective's variance each parameter explains."""
    if not shares:
        why = "too few complete trials to compare parameters"
        return style.empty_figure(*_SIZE, title, "importance", why)
    said = "fraction of the objective's variance that each parameter explains (fANOVA)"
    figure = style.new_figure(_SIZE[0], 1.3 + 0.35 * len(shares), title, said, left=1.6)
    axes = figure.add_subplot()
    style.dress(axes, "fraction", "")
    names = list(reversed(shares))
    axes.barh(
        range(len(names)), [shares[name] for name in names], color=style.PALETTE[0], height=0.6
    )
    axes.set_yticks(range(len(names)), names)
    axes.set_xlim(0, 1)
    return figure


def slices(trials: Sequence[FrozenTrial], title: str) -> Figure:
    """Draw the objective against each parameter."""
    done = [t for t in trials if t.state == TrialState.COMPLETE]
    if not done:
        return style.empty_figure(*_SIZE, title, "slices", "no trial is complete")
    names = sorted(done[0].params)
    said = "objective against each parameter; the ring marks the best trial"
    figure = style.new_figure(max(_SIZE[0], 2.6 * len(names)), _SIZE[1], title, said)
    best = min(done, key=lambda t: (t.value, t.number))
    first: Axes | None = None
    for index, name in enumerate(names):
        axes = figure.add_subplot(1, len(names), index + 1, sharey=first)
        style.dress(axes, name, "" if first else "objective")
        style.log_axis(axes, "y", [t.value for t in done if t.value])
        _slice(axes, name, done, best)
        if first is not None:
            axes.tick_params(labelleft=False)
        first = first or axes
    return figure


def _slice(axes: Axes, name: str, done: Sequence[FrozenTrial], best: FrozenTrial) -> None:
    found = done[0].distributions[name]
    if isinstance(found, optuna.distributions.CategoricalDistribution):
        axes.set_xticks(range(len(found.choices)), [str(choice) for choice in found.choices])
        axes.set_xlim(-0.5, len(found.choices) - 0.5)
        at = {t.number: found.to_internal_repr(t.params[name]) for t in done}
    else:
        at = {t.number: t.params[name] for t in done}
        if getattr(found, "log", False):
            style.log_axis(axes, "x", at.values())
    value = {t.number: t.value or 0.0 for t in done}
    axes.scatter(list(at.values()), list(value.values()), s=18, color=style.PALETTE[0])
    axes.scatter([at[best.number]], [value[best.number]], s=90, facecolors="none", edgecolors=_BEST)


def error_against_work(
    trials: Sequence[FrozenTrial], title: str, reference: float | None
) -> Figure:
    """Draw the error of each trial against its work."""
    what = "|log V_M|" if reference is None else "|llc - reference|"
    points: dict[TrialState, list[tuple[float, float]]] = {}
    for trial in trials:
        outcome = outcome_of(trial)
        if outcome is None or outcome.work_fge <= 0:
            continue
        error = _error(outcome.llc, outcome.v_m, reference)
        if error:
            points.setdefault(trial.state, []).append((outcome.work_fge, error))
    if not points:
        return style.empty_figure(*_SIZE, title, "error against work", "no trial has an estimate")
    said = f"{what} against all full-gradient evaluations of a trial"
    figure = style.new_figure(*_SIZE, title, said)
    axes = figure.add_subplot()
    style.dress(axes, "full-gradient evaluations", what)
    for state, (_, colour, marker) in _LOOK.items():
        if state in points:
            work, error = zip(*points[state], strict=True)
            axes.scatter(work, error, s=22, color=colour, marker=marker)
    every = [point for group in points.values() for point in group]
    style.log_axis(axes, "x", [work for work, _ in every])
    style.log_axis(axes, "y", [error for _, error in every])
    style.legend(axes, _marks(trials))
    return figure


def _error(llc: float | None, v_m: float | None, reference: float | None) -> float | None:
    if reference is not None:
        return None if llc is None else abs(llc - reference)
    return None if v_m is None or v_m <= 0 else abs(math.log(v_m))
