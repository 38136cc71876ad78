"""Calibration sheets on a page: heat maps over step size, nbeta and gamma, with links to chains."""

import json
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from lambda_hat_core.analysis.figures import style
from lambda_hat_core.analysis.figures.sheet import sheet_figure
from lambda_hat_core.analysis.sheet import NAMES, Cell, cell_at, layout, note
from lambda_hat_core.analysis.words import plus_minus, short
from lambda_hat_core.gallery.profiles import SETS, shared_name
from lambda_hat_core.gallery.rows import Row
from lambda_hat_core.store.store import SPEC, Store

_FREE = SETS["gamma"] | SETS["nbeta"]


class Sheet(NamedTuple):
    """One sheet.

    Attributes:
        figure: name of its PNG file.
        title: target and sampler of its runs.
        note: a sentence about it.
        cells: its runs.
    """

    figure: str
    title: str
    note: str
    cells: list[Cell]

    @property
    def has_steps(self) -> bool:
        """Whether the runs have several step sizes."""
        return len({cell.step_size for cell in self.cells}) > 1


def draw_sheets(
    store: Store, id: str, label: str, rows: Sequence[Row], folder: Path
) -> list[Sheet]:
    """Draw a sheet for all runs of a target that differ in step size, or in nbeta and gamma.

    Args:
        store: has the specs.
        id: the id of the target.
        label: the target in words.
        rows: the target's runs.
        folder: gets the PNG files.
    """
    groups: dict[str, list[tuple[Row, Cell]]] = {}
    for row in (row for row in rows if row.facts):
        spec = store.read_json("analyses", row.run, SPEC)
        groups.setdefault(_rest(spec), []).append((row, _cell(row, spec)))
    drawn = []
    for members in groups.values():
        cells = [cell for _, cell in members]
        counts = {axis: len(values) for axis, values in layout(cells).values.items()}
        if counts["step_size"] < 2 and min(counts["nbeta"], counts["gamma"]) < 2:
            continue
        title = f"{label}: {shared_name([row for row, _ in members])}"
        name = f"{id}_sheet_{len(drawn) + 1}.png"
        style.save(sheet_figure(cells, title, note(cells)), folder / name)
        drawn.append(Sheet(name, title, note(cells), cells))
    return drawn


def section(drawn: Sequence[Sheet], figure: Callable[[str], str]) -> str:
    """Return sheets as HTML; `figure` returns the HTML element of a picture."""
    return "\n".join(
        f'<div class="figures">{figure(sheet.figure)}</div>\n'
        f'<p class="note">{escape(sheet.title)}. '
        f"{escape(sheet.note[0].upper() + sheet.note[1:])}. A step size can be used where V_M is 1 "
        "and the LLC is that of the step sizes below it. Each number below leads to the chains of "
        f"its run.</p>{_table(sheet.cells)}"
        for sheet in drawn
    )


def _rest(spec: Mapping[str, Any]) -> str:
    """Return all of a spec but the axes of a sheet; a step size that is adapted is none of them."""
    posterior = {name: v for name, v in spec["posterior"].items() if name not in _FREE}
    sampler = dict(spec["sampler"])
    if _step(spec) is not None:
        sampler["step_size"] = None
    return json.dumps({**spec, "sampler": sampler, "posterior": posterior}, sort_keys=True)


def _step(spec: Mapping[str, Any]) -> float | None:
    step = spec["sampler"].get("step_size")
    return float(step) if isinstance(step, int | float) else None


def _cell(row: Row, spec: Mapping[str, Any]) -> Cell:
    facts = row.facts
    return Cell(
        step_size=_step(spec),
        nbeta=facts["nbeta"],
        gamma=facts["gamma"],
        llc=facts["llc"],
        se=facts["llc_se"],
        v_m=facts.get("v_m"),
        verdict=facts["verdict"],
        run=row.run,
    )


def _table(cells: Sequence[Cell]) -> str:
    at = layout(cells)
    parts = []
    for beside in at.of(at.beside):
        named = "" if beside is None else f" at {NAMES[at.beside or '']} {short(beside)}"
        corner = NAMES[at.across] if at.down is None else f"{NAMES[at.down]} \\ {NAMES[at.across]}"
        head = "".join(f'<th scope="col">{short(x)}</th>' for x in at.values[at.across])
        lines = []
        for down in at.of(at.down):
            cut = "".join(_link(cell_at(cells, at, x, down, beside)) for x in at.of(at.across))
            lines.append(
                f'<tr><th scope="row">{"" if down is None else short(down)}</th>{cut}</tr>'
            )
        parts.append(
            f'<table class="biases"><caption>LLC ± se{named}</caption>'
            f'<tr><th scope="col">{corner}</th>{head}</tr>{"".join(lines)}</table>'
        )
    return f"<details><summary>The runs behind the cells</summary>{''.join(parts)}</details>"


def _link(cell: Cell | None) -> str:
    if cell is None:
        return "<td>not run</td>"
    v_m = "" if cell.v_m is None else f", V_M {cell.v_m:.3g}"
    text = cell.verdict if cell.llc is None else plus_minus(cell.llc, cell.se)
    return f'<td><a href="#{cell.run}">{escape(text)}</a><small>{cell.verdict}{v_m}</small></td>'
