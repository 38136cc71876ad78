"""The rows of a gallery's table, one a run, whatever became of it."""

import re
from collections import Counter
from pathlib import Path
from typing import Any, Literal, NamedTuple

from lambda_hat_core.gallery.members import Gallery, Member
from lambda_hat_core.store import records
from lambda_hat_core.store.store import Store

Verdict = Literal["ok", "suspect", "failed", "missing"]

_FIGURES = ("llc_convergence_combined", "rank", "trace", "wnv", "energy")
"""The order in which a person looks at them."""

_PARTS = re.compile(r"^(?P<head>.*?) \((?P<parts>.*)\)$")


class Row(NamedTuple):
    """One run.

    Attributes:
        run: its id.
        member: its target and names.
        short: what tells it from the other runs of its target.
        facts: estimate.json, empty where there is none.
        verdict: missing for a run that was not made.
        reasons: one sentence each.
        figures: PNG files of its analysis, the most telling first.
    """

    run: str
    member: Member
    short: str
    facts: dict[str, Any]
    verdict: Verdict
    reasons: list[str]
    figures: list[Path]


def read_rows(store: Store, gallery: Gallery) -> list[Row]:
    """Return a row for every run of the gallery, in its order."""
    names = short_names(gallery)
    return [_row(store, run, member, names[run]) for run, member in gallery.runs.items()]


def _row(store: Store, run: str, member: Member, short: str) -> Row:
    if store.is_complete("analyses", run):
        facts = store.read_json("analyses", run, "estimate.json")
        figures = sorted((store.path("analyses", run) / "figures").glob("*.png"), key=_place)
        return Row(run, member, short, facts, facts["verdict"], facts["reasons"], figures)
    why = records.read_failure(store, run)
    if why is None:
        return Row(run, member, short, {}, "missing", ["it was not run"], [])
    return Row(run, member, short, {}, "failed", [why], [])


def _place(figure: Path) -> tuple[int, str]:
    """Return what figures are sorted by; one of an unknown name comes last."""
    name = figure.stem
    return (_FIGURES.index(name) if name in _FIGURES else len(_FIGURES), name)


def short_names(gallery: Gallery) -> dict[str, str]:
    """Return what tells each run from its target's others: its sampler, and what varies in it."""
    groups: dict[tuple[str, str], list[str]] = {}
    for run, member in gallery.runs.items():
        groups.setdefault((member.target, split(member.label)[0]), []).append(run)
    names: dict[str, str] = {}
    for (_, head), runs in groups.items():
        parts = {run: split(gallery.runs[run].label)[1] for run in runs}
        shared = set.intersection(*map(set, parts.values()))
        words = {
            run: " ".join([head, ", ".join(p for p in parts[run] if p not in shared)]).strip()
            for run in runs
        }
        twice = Counter(words.values())
        names |= {run: w if twice[w] == 1 else f"{w} #{run[-4:]}" for run, w in words.items()}
    return names


def split(label: str) -> tuple[str, list[str]]:
    """Return the sampler's name and flavour, and the rest of a run's label."""
    found = _PARTS.match(label)
    return (found["head"], found["parts"].split(", ")) if found else (label, [])
