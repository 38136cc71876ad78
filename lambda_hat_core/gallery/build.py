"""Write the folder of a gallery: index.html, gallery.md, gallery.json and assets/*.png.

The page in one file, to send to others, is beside them and named after the experiment.
"""

from collections import Counter
from pathlib import Path
from typing import Any

from lambda_hat_core.gallery import figures, markdown
from lambda_hat_core.gallery.along import CurveSection
from lambda_hat_core.gallery.components import by_component, draw_components
from lambda_hat_core.gallery.curves import Drawer, beside
from lambda_hat_core.gallery.members import FACTS, Gallery, Training, fingerprint
from lambda_hat_core.gallery.page import ASSETS, PageSection, inlined, one_file, page
from lambda_hat_core.gallery.profiles import draw_profiles
from lambda_hat_core.gallery.rows import Row, read_rows
from lambda_hat_core.gallery.series import Series, series_of
from lambda_hat_core.gallery.sheets import draw_sheets
from lambda_hat_core.store import files
from lambda_hat_core.store.store import Store

_TARGET_FIGURES = ("training", "predictions", "data", "potential", "spectrum")


def write(store: Store, gallery: Gallery, folder: Path) -> None:
    """Write a gallery from the current content of the store.

    Args:
        store: has the targets and analyses.
        gallery: the targets and runs that belong to the gallery.
        folder: an empty folder.
    """
    inputs = fingerprint(store, gallery)
    assets = folder / ASSETS
    assets.mkdir()
    rows = read_rows(store, gallery)
    drawer = Drawer(assets)
    sections, series = [], []
    for id in _in_order(gallery):
        training = gallery.trainings.get(id)
        if training is None:
            mine = [row for row in rows if row.member.target == id]
            sections.append(_section(store, id, gallery.targets[id], mine, assets))
            continue
        found = [row for row in rows if row.member.target in training.steps]
        series += (own := [*series_of(store, id, training, found)])
        sections.append(_curves(store, id, training, found, own, drawer))
    labels = {id: training.label for id, training in gallery.trainings.items()}
    overlaid = drawer.of_all(gallery.experiment, labels, series)
    drawn = {s.id: [f"{ASSETS}/{name}" for name in _figures(s)] for s in sections}
    text = page(gallery, sections, rows, assets, overlaid=overlaid)
    (folder / "index.html").write_text(text)
    (folder / one_file(gallery.experiment)).write_text(inlined(text, folder))
    (folder / "gallery.md").write_text(
        markdown.document(gallery.experiment, rows, labels | gallery.targets, drawn)
    )
    facts = {
        "inputs": inputs,
        "n_targets": len(gallery.targets),
        "n_runs": len(rows),
        "verdicts": dict(Counter(row.verdict for row in rows)),
        "forests": [drawn[s.id][0] for s in sections if isinstance(s, PageSection)],
        "profiles": [
            {"figure": f"{ASSETS}/{p.figure}", "note": f"{p.title}: {p.note}"}
            for s in sections
            if isinstance(s, PageSection)
            for p in (*s.sheets, *s.profiles)
        ],
        "curves": [
            {
                "training": s.id,
                "figure": f"{ASSETS}/{frame.figures[stack.shown]}",
                "words": frame.words,
                "notes": frame.notes,
            }
            for s in sections
            if isinstance(s, CurveSection)
            for stack in s.stacks
            for frame in stack.frames
        ],
        "table": markdown.table(rows, gallery.targets),
    }
    (folder / FACTS).write_text(files.to_json(facts, indent=1))


def _in_order(gallery: Gallery) -> list[str]:
    """Return the targets in order, and instead of its checkpoints a training."""
    of = {target: id for id, training in gallery.trainings.items() for target in training.steps}
    return [*dict.fromkeys(of.get(id, id) for id in gallery.targets)]


def _figures(section: PageSection | CurveSection) -> list[str]:
    """Return the names of a section's figures, as documents show them."""
    if isinstance(section, CurveSection):
        return [frame.figures[s.shown] for s in section.stacks for frame in s.frames]
    drawn = [*section.sheets, *section.profiles]
    return [*section.comparisons, *(one.figure for one in drawn)]


def _curves(
    store: Store,
    id: str,
    training: Training,
    rows: list[Row],
    series: list[Series],
    drawer: Drawer,
) -> CurveSection:
    metas = {target: _meta(store, target) for target in training.steps}
    rows = sorted(rows, key=lambda row: training.steps[row.member.target])
    parts = by_component(series)
    stacks = drawer.of_training(id, training, series, beside(training, metas), parts=parts)
    return CurveSection(id, training, metas, rows, stacks)


def _meta(store: Store, id: str) -> dict[str, Any]:
    """Return the content of meta.json of a target; nothing if it was not made."""
    there = store.is_complete("targets", id)
    return store.read_json("targets", id, "meta.json") if there else {}


def _section(store: Store, id: str, label: str, rows: list[Row], assets: Path) -> PageSection:
    meta = _meta(store, id)
    known = meta.get("llc_known")
    sheets = draw_sheets(store, id, label, rows, assets)
    within = {cell.run for sheet in sheets if sheet.has_steps for cell in sheet.cells}
    alone = [row for row in rows if row.run not in within]
    return PageSection(
        id=id,
        label=label,
        meta=meta,
        rows=rows,
        comparisons=[
            *figures.draw_comparisons(store, id, label, rows, known, assets),
            *draw_components(store, id, label, rows, assets),
        ],
        profiles=draw_profiles(store, id, label, alone, known, assets),
        sheets=sheets,
        figures=[figures.take(path, assets, id) for path in _target_figures(store, id)],
        diagnostics={
            row.run: [figures.take(path, assets, row.run) for path in row.figures] for row in rows
        },
    )


def _target_figures(store: Store, id: str) -> list[Path]:
    folder = store.path("targets", id) / "figures"
    paths = (folder / f"{name}.png" for name in _TARGET_FIGURES)
    return [path for path in paths if path.exists()]
