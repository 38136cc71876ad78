"""The part of a page about a training: its curves, and a table of its checkpoints.

The diagnostics of the runs are not copied, because there may be hundreds: the table links to those
in the store.
"""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from lambda_hat_core.analysis.words import many
from lambda_hat_core.gallery.columns import count_words, estimate_words
from lambda_hat_core.gallery.curves import Axis, Frame, Stack
from lambda_hat_core.gallery.members import Training
from lambda_hat_core.gallery.rows import Row
from lambda_hat_core.gallery.table import pill

Draw = Callable[[str, str], str]
"""Returns the HTML element of a picture, from its name and from what it is of."""

STORE = "../.."
"""The store, from the folder of a gallery."""

_AXES: tuple[tuple[Axis, str], ...] = (("log", "log steps"), ("linear", "linear steps"))
_HEADINGS = ("step", "sampler", "LLC ± se", "verdict", "at a minimum", "train loss", "test loss")


class CurveSection(NamedTuple):
    """A training and the runs at its checkpoints.

    Attributes:
        id: the training.
        training: its label, and its steps by target.
        metas: content of meta.json of the targets that were made, by target.
        rows: the runs.
        stacks: the curves.
    """

    id: str
    training: Training
    metas: Mapping[str, Mapping[str, Any]]
    rows: list[Row]
    stacks: list[Stack]

    @property
    def label(self) -> str:
        """The training in words."""
        return self.training.label


def overlay(stacks: Sequence[Stack], draw: Draw) -> str:
    """Return the curves of several trainings over each other; nothing if there is one training."""
    if not stacks:
        return ""
    parts = (_stack(f"all-{i}", stack, draw) for i, stack in enumerate(stacks))
    return "\n".join(
        ['<section aria-labelledby="all">', '<h2 id="all">all trainings</h2>', *parts, "</section>"]
    )


def section(of: CurveSection, draw: Draw) -> str:
    """Return the part of the page about a training."""
    return "\n".join(
        [
            f'<section aria-labelledby="{of.id}">',
            f'<h2 id="{of.id}">{escape(of.label)}</h2>',
            f'<p class="facts">{_facts(of)}</p>',
            *(_stack(f"{of.id}-{i}", stack, draw) for i, stack in enumerate(of.stacks)),
            _table(of),
            "</section>",
        ]
    )


def _facts(of: CurveSection) -> str:
    steps = [*of.training.steps.values()]
    said = [f"{many(len(steps), 'checkpoint')} from step {steps[0]} to {steps[-1]}"]
    made = [meta for meta in of.metas.values() if meta]
    if made:
        said += [f"n = {made[0]['n']}", f"d = {made[0]['d']}"]
    said.append(f"{many(len(of.rows), 'run')}: {count_words(of.rows)}")
    return f"<code>{of.id}</code> · {escape(', '.join(said))}"


def _stack(name: str, stack: Stack, draw: Draw) -> str:
    choices = "".join(
        f'<label><input type="radio" name="{name}-axis" value="{axis}"'
        f"{' checked' if axis == stack.shown else ''}> {words}</label>"
        for axis, words in _AXES
    )
    slider = ""
    if len(stack.frames) > 1:
        slider = (
            f'<label>posterior <input type="range" min="0" max="{len(stack.frames) - 1}" step="1" '
            'value="0"></label><output></output>'
        )
    spacing = f'<span role="radiogroup" aria-label="Spacing of the steps">{choices}</span>'
    tools = f'<div class="tools" hidden>{spacing}{slider}</div>'
    frames = "\n".join(_frame(frame, stack, draw) for frame in stack.frames)
    return f'<div class="curves">{tools}\n{frames}</div>'


def _frame(frame: Frame, stack: Stack, draw: Draw) -> str:
    of = f"{stack.title}, {frame.words}" if frame.words else stack.title
    figures = "".join(
        f'<div class="figures" data-axis="{axis}">{draw(name, of)}</div>'
        for axis, name in frame.figures.items()
    )
    notes = "".join(f"<li>{escape(note)}</li>" for note in frame.notes)
    return (
        f'<div class="frame" data-words="{escape(frame.words)}">{figures}'
        f'<ul class="note">{notes}</ul></div>'
    )


def _table(of: CurveSection) -> str:
    metric = next((m["metric_name"] for m in of.metas.values() if m.get("metric_name")), None)
    names = [*_HEADINGS, *([metric] if metric else []), "figures"]
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    body = "\n".join(_line(of, row, with_metric=metric is not None) for row in of.rows)
    caption = f"{many(len(of.training.steps), 'checkpoint')}, {many(len(of.rows), 'run')}"
    return (
        f"<details><summary>The checkpoints: {caption}</summary>"
        f'<div class="scroll" tabindex="0" role="region" aria-label="The checkpoints"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div></details>"
    )


def _line(of: CurveSection, row: Row, *, with_metric: bool) -> str:
    target = row.member.target
    meta = of.metas.get(target, {})
    minimum = row.facts.get("at_minimum")
    keys = ("train_loss", "test_loss", *(["metric"] if with_metric else []))
    cells = [
        f"<td>{of.training.steps[target]}</td>",
        f"<td>{escape(row.short)}</td>",
        f"<td>{escape(estimate_words(row))}</td>",
        f"<td>{pill(row)}</td>",
        f"<td>{'' if minimum is None else 'yes' if minimum else 'no'}</td>",
        *(f"<td>{_number(meta.get(key))}</td>" for key in keys),
        f"<td>{_links(row)}</td>",
    ]
    return f'<tr id="{row.run}">{"".join(cells)}</tr>'


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _links(row: Row) -> str:
    folder = f"{STORE}/analyses/{row.run}/figures"
    return " ".join(
        f'<a href="{folder}/{escape(path.name)}">{escape(_name(path.stem))}</a>'
        for path in row.figures
    )


def _name(stem: str) -> str:
    return {"llc_convergence_combined": "convergence", "wnv": "weights"}.get(stem, stem)
