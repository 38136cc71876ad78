"""Write the folder of a gallery: index.html, gallery.md, gallery.json and assets/*.png.

The page in one file, to send to others, is beside them and named after the experiment.
"""

from collections import Counter
from pathlib import Path

from lambda_hat_core.gallery import figures, markdown
from lambda_hat_core.gallery.members import FACTS, Gallery, fingerprint
from lambda_hat_core.gallery.page import ASSETS, PageSection, inlined, one_file, page
from lambda_hat_core.gallery.profiles import draw_profiles
from lambda_hat_core.gallery.rows import Row, read_rows
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
    sections = [
        _section(store, id, label, [row for row in rows if row.member.target == id], assets)
        for id, label in gallery.targets.items()
    ]
    drawn = {
        s.id: [f"{ASSETS}/{name}" for name in (*s.comparisons, *(p.figure for p in s.profiles))]
        for s in sections
    }
    text = page(gallery.experiment, sections, rows, assets)
    (folder / "index.html").write_text(text)
    (folder / one_file(gallery.experiment)).write_text(inlined(text, folder))
    (folder / "gallery.md").write_text(
        markdown.document(gallery.experiment, rows, gallery.targets, drawn)
    )
    facts = {
        "inputs": inputs,
        "n_targets": len(sections),
        "n_runs": len(rows),
        "verdicts": dict(Counter(row.verdict for row in rows)),
        "forests": [paths[0] for paths in drawn.values()],
        "profiles": [
            {"figure": f"{ASSETS}/{p.figure}", "note": f"{p.title}: {p.note}"}
            for s in sections
            for p in s.profiles
        ],
        "table": markdown.table(rows, gallery.targets),
    }
    (folder / FACTS).write_text(files.to_json(facts, indent=1))


def _section(store: Store, id: str, label: str, rows: list[Row], assets: Path) -> PageSection:
    there = store.is_complete("targets", id)
    meta = store.read_json("targets", id, "meta.json") if there else {}
    known = meta.get("llc_known")
    return PageSection(
        id=id,
        label=label,
        meta=meta,
        rows=rows,
        comparisons=figures.draw_comparisons(store, id, label, rows, known, assets),
        profiles=draw_profiles(store, id, label, rows, known, assets),
        figures=[figures.take(path, assets, id) for path in _target_figures(store, id)],
        diagnostics={
            row.run: [figures.take(path, assets, row.run) for path in row.figures] for row in rows
        },
    )


def _target_figures(store: Store, id: str) -> list[Path]:
    folder = store.path("targets", id) / "figures"
    paths = (folder / f"{name}.png" for name in _TARGET_FIGURES)
    return [path for path in paths if path.exists()]
