"""Figures that compare a target's runs, and copies of figures that exist already."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pyarrow import parquet

from lambda_hat_core.analysis.diagnostics import Series
from lambda_hat_core.analysis.figures import comparison, forest, style
from lambda_hat_core.analysis.figures.comparison import Curve
from lambda_hat_core.analysis.figures.forest import Interval
from lambda_hat_core.analysis.words import many
from lambda_hat_core.gallery.rows import Row
from lambda_hat_core.store.store import Store

_ONE_LINE = 1e-3
"""Relative difference below which two exact values are drawn as one line."""


def draw_comparisons(
    store: Store, id: str, label: str, rows: Sequence[Row], known: float | None, folder: Path
) -> list[str]:
    """Draw the forest and the convergence of a target's runs.

    Args:
        store: has the draws.
        id: the id of the target.
        label: the target in words.
        rows: the target's runs.
        known: the exact LLC at w*, if it is known.
        folder: gets the PNG files.

    Returns:
        The names of the files.
    """
    lines = style.references(known, _common_oracle(rows))
    tried = [row for row in rows if row.verdict != "missing"]
    said = f"{len(tried)} of {many(len(rows), 'run')}, 90 % intervals"
    intervals = forest.forest_figure([_interval(row) for row in tried], label, said, lines)
    done = [row for row in rows if row.facts]
    few = len(done) <= comparison.WITH_BANDS
    curves = [_curve(store, row, with_band=few) for row in done]
    settled = comparison.convergence_comparison(
        curves,
        label,
        f"{many(len(curves), 'run')}: means of the draws so far, and the estimate at the end",
        lines,
    )
    names = [f"{id}_forest.png", f"{id}_convergence.png"]
    for name, figure in zip(names, (intervals, settled), strict=True):
        style.save(figure, folder / name)
    return names


def take(source: Path, folder: Path, prefix: str) -> str:
    """Put a figure of the store into a folder, as a hard link if possible, else as a copy."""
    name = f"{prefix}_{source.name}"
    try:
        os.link(source, folder / name)
    except OSError:
        shutil.copyfile(source, folder / name)
    return name


def _common_oracle(rows: Sequence[Row]) -> float | None:
    """Return the exact value at nbeta and gamma if all runs have the same one, else None."""
    values = [row.facts["llc_oracle"] for row in rows if row.facts]
    if not values or None in values or max(values) - min(values) > _ONE_LINE * max(values):
        return None
    return values[0]


def _interval(row: Row) -> Interval:
    at = {name: row.facts.get(f"llc_{name}") for name in ("se", "lo", "hi")}
    verdict: Any = row.verdict
    llc = row.facts.get("llc")
    return Interval(sampler=row.member.sampler, label=row.short, llc=llc, verdict=verdict, **at)


def read_draws(store: Store, run: str) -> tuple[Series, np.ndarray]:
    """Return the llc of every draw, shape (chain, draw), and the work after each draw."""
    path = store.path("analyses", run) / "draws.parquet"
    table = parquet.read_table(path, columns=["chain", "llc", "cumulative_fge"])
    chain, llc, fge = (np.asarray(table[name]) for name in ("chain", "llc", "cumulative_fge"))
    n_chains = int(chain.max()) + 1 if chain.size else 1
    return llc.reshape(n_chains, -1), fge[: llc.size // n_chains]


def _curve(store: Store, row: Row, *, with_band: bool) -> Curve:
    llc, fge = read_draws(store, row.run)
    facts = row.facts
    end = (facts["llc"], facts["llc_lo"], facts["llc_hi"])
    return comparison.running_curve(
        row.member.sampler,
        row.short,
        facts["verdict"],
        llc,
        fge,
        end=None if None in end else end,
        with_band=with_band,
    )
