"""Copy chosen figures of each sampler's newest run to a folder that documents can refer to."""

from collections.abc import Sequence
from pathlib import Path

from lambda_hat_core.gallery import markdown
from lambda_hat_core.gallery.members import Gallery
from lambda_hat_core.gallery.rows import Row, read_rows
from lambda_hat_core.store import files
from lambda_hat_core.store.store import Store

PLOTS = ("trace.png", "llc_convergence_combined.png")
SNIPPET = "gallery.md"


def promote(
    store: Store, gallery: Gallery, outdir: Path, plots: Sequence[str] = PLOTS
) -> list[Path]:
    """Write `outdir`/<experiment>/<sampler>_<plot> and a Markdown snippet that shows them.

    Args:
        store: has the runs.
        gallery: the gallery of the experiment.
        outdir: the folder for all experiments.
        plots: file names of figures; those that a sampler lacks are left out.

    Returns:
        The paths of the written files, with the snippet last.

    Raises:
        FileNotFoundError: if no run of the experiment is complete.
        ValueError: if one of the plots exists for none of the newest runs.
    """
    newest = newest_rows(store, read_rows(store, gallery))
    if not newest:
        raise FileNotFoundError(
            f"experiment {gallery.experiment!r} has no complete run in {store.root}; run it first: "
            f"lambda-hat run {gallery.experiment}"
        )
    drawn = sorted({figure.name for row in newest for figure in row.figures})
    for plot in plots:
        if plot not in drawn:
            known = ", ".join(drawn) or "none"
            raise ValueError(f"no newest run has the plot {plot!r}; they have: {known}")
    folder = outdir / gallery.experiment
    written: list[Path] = []
    parts = [f"## {gallery.experiment}", markdown.table(newest, gallery.targets)]
    for row in newest:
        parts.append(f"### {row.member.label} on {gallery.targets[row.member.target]}")
        for figure in (figure for plot in plots for figure in row.figures if figure.name == plot):
            path = folder / f"{row.member.sampler}_{figure.name}"
            files.write_atomic(path, figure.read_bytes())
            written.append(path)
            parts.append(markdown.picture(path.name, f"{figure.stem} of {row.run}"))
    files.write_atomic(folder / SNIPPET, "\n\n".join(parts) + "\n")
    return [*written, folder / SNIPPET]


def newest_rows(store: Store, rows: Sequence[Row]) -> list[Row]:
    """Return the most recent analysis of each sampler, in the order of the samplers' first runs."""
    newest: dict[str, Row] = {}
    for row in (row for row in rows if row.facts):
        best = newest.setdefault(row.member.sampler, row)
        if store.made_at("analyses", row.run) >= store.made_at("analyses", best.run):
            newest[row.member.sampler] = row
    return list(newest.values())
