"""The rows of a gallery's table: one per run, including failed and missing runs."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from lambda_hat_core.analysis.observed_mean import ObservedMean
from lambda_hat_core.analysis.temperature import FINITE, finite_temperature, from_profiles
from lambda_hat_core.gallery.caveats import Caveat, caveats
from lambda_hat_core.gallery.members import Gallery, Member
from lambda_hat_core.gallery.observed import read_means
from lambda_hat_core.store import failures
from lambda_hat_core.store.store import Store

RowVerdict = Literal["ok", "suspect", "failed", "missing"]

_FIGURES = ("llc_convergence_combined", "tempering", "rank", "trace", "wnv", "energy")
"""The figures of a run, in the order in which they are shown."""

_PARTS = re.compile(r"^(?P<head>.*?) \((?P<parts>.*)\)$")


class Row(NamedTuple):
    """One run.

    Attributes:
        run: the id of the run.
        member: its target and label.
        short: a name that distinguishes it from the other runs of its target.
        facts: the content of estimate.json, empty if there is none.
        verdict: the verdict; missing if the run was not made.
        reasons: the reasons for the verdict, one sentence each.
        advice: what to set so that each of the reasons does not occur again; as many, or none for
            a run without an analysis.
        notes: statements that do not affect the verdict.
        figures: PNG files of its analysis, in the order in which they are shown.
        settings: what the run really used, by name; empty without an analysis.
        work: full-gradient evaluations by purpose.
        log: the lines that the run told.
        localised: the predicted relative effect of the localiser, also if another run of the same
            posterior has accounted for it.
        means: the means of its observables.
    """

    run: str
    member: Member
    short: str
    facts: dict[str, Any]
    verdict: RowVerdict
    reasons: list[str]
    advice: list[str]
    notes: list[str]
    figures: list[Path]
    settings: Mapping[str, Any] = MappingProxyType({})
    work: Mapping[str, float] = MappingProxyType({})
    log: str = ""
    localised: float | None = None
    means: tuple[ObservedMean, ...] = ()

    @property
    def caveats(self) -> list[Caveat]:
        """Return what the number is not, in a few words each."""
        return caveats(self.facts, self.notes, self.localised)

    def told(self) -> list[str]:
        """Return the reasons with their way out, and the other statements, one sentence each."""
        ways_out = self.advice or [""] * len(self.reasons)
        pairs = zip(self.reasons, ways_out, strict=True)
        return [f"{why}: set {way_out}" if way_out else why for why, way_out in pairs] + self.notes


def read_rows(store: Store, gallery: Gallery) -> list[Row]:
    """Return a row for every run of the gallery, in the order of the gallery."""
    names = short_names(gallery)
    rows = [_row(store, run, member, names[run]) for run, member in gallery.runs.items()]
    parts = {_posterior(row): part for row in rows if (part := _localised(row)) is not None}
    return [_with_profile(row, rows)._replace(localised=parts.get(_posterior(row))) for row in rows]


def _posterior(row: Row) -> tuple[Any, ...]:
    """Return what determines the effect of the localiser."""
    facts = row.facts
    where = tuple(facts.get("restrict") or ())
    about = [float(f"{facts.get(name) or 0.0:.5g}") for name in ("nbeta", "gamma", "prior")]
    return (row.member.target, facts.get("loss"), where, *about)


def _localised(row: Row) -> float | None:
    return (row.facts.get("ledger") or {}).get("localisation", {}).get("relative")


def _with_profile(row: Row, rows: list[Row]) -> Row:
    """Fill in the exact value from a run of `tempered` that was analysed after this one."""
    facts = row.facts
    if facts.get("llc") is None or facts["llc_oracle"] is not None:
        return row
    others = [
        other.facts
        for other in rows
        if other.run != row.run
        and other.member.target == row.member.target
        and other.facts.get("tempered")
    ]
    at: dict[str, Any] = {
        name: facts.get(name) for name in ("nbeta", "gamma", "loss", "prior", "restrict")
    }
    found = from_profiles(others, **at)
    if found is None:
        return row
    told = finite_temperature(facts["llc"], facts["llc_se"], facts["llc_known"], found)
    notes = [note for note in row.notes if not note.startswith(FINITE)]
    facts = facts | {"llc_oracle": found.value, "llc_oracle_se": found.se}
    return row._replace(facts=facts, notes=[*notes, *([] if told is None else [told])])


def _row(store: Store, run: str, member: Member, short: str) -> Row:
    if store.is_complete("analyses", run):
        facts = store.read_json("analyses", run, "estimate.json")
        figures = sorted((store.path("analyses", run) / "figures").glob("*.png"), key=_place)
        said = facts["reasons"], facts["advice"], facts["notes"]
        settings = _settings(store.path("analyses", run) / "estimate.parquet")
        folder = store.path("runs", run)
        there, log = folder.is_dir(), folder / "log.txt"
        return Row(
            run,
            member,
            short,
            facts,
            facts["verdict"],
            *said,
            figures,
            settings,
            store.read_json("runs", run, "work.json").get("work", {}) if there else {},
            log.read_text() if log.exists() else "",
            means=read_means(store.path("analyses", run) / "observables.parquet"),
        )
    why = failures.read_failure(store, run)
    if why is None:
        return Row(run, member, short, {}, "missing", ["it was not run"], [], [], [])
    return Row(run, member, short, {}, "failed", [why], [], [], [])


def _settings(path: Path) -> dict[str, Any]:
    from pyarrow import parquet

    (written,) = parquet.read_table(path, columns=["settings"])["settings"].to_pylist()
    return json.loads(written or "{}")


def _place(figure: Path) -> tuple[int, str]:
    """Return the sort key of a figure; figures with unknown names come last."""
    name = figure.stem
    return (_FIGURES.index(name) if name in _FIGURES else len(_FIGURES), name)


def short_names(gallery: Gallery) -> dict[str, str]:
    """Return short names, which distinguish the runs of a target by sampler and settings."""
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
    """Split a run's label into the sampler's name with its flavour, and the other parts."""
    found = _PARTS.match(label)
    return (found["head"], found["parts"].split(", ")) if found else (label, [])
