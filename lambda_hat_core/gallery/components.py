"""Refined values by component: runs that differ only in the parameters that they sample."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lambda_hat_core.analysis.figures import style
from lambda_hat_core.analysis.figures.forest import Interval, forest_figure
from lambda_hat_core.analysis.words import many
from lambda_hat_core.gallery.rows import Row
from lambda_hat_core.gallery.series import Series
from lambda_hat_core.store.store import SPEC, Store

_WHOLE = "all parameters"


def draw_components(
    store: Store, id: str, label: str, rows: Sequence[Row], folder: Path
) -> list[str]:
    """Draw the intervals of the components of a target, one figure for each posterior.

    Args:
        store: has the specs of the runs.
        id: the target.
        label: the target in words.
        rows: its runs; those without an analysis are left out.
        folder: gets the PNG files.

    Returns:
        The names of the files.
    """
    groups: dict[str, list[tuple[str, Row]]] = {}
    for row in (row for row in rows if row.facts):
        posterior = store.read_json("analyses", row.run, SPEC)["posterior"]
        rest = json.dumps({**posterior, "restrict": None}, sort_keys=True)
        groups.setdefault(rest, []).append((_component(posterior), row))
    names = []
    for group in groups.values():
        components = {component for component, _ in group}
        if len(components) < 2:
            continue
        said = f"{many(len(components), 'component')}, d in brackets, 90 % intervals"
        figure = forest_figure([_interval(*one) for one in group], label, said, [])
        names.append(f"{id}_components{len(names) + 1}.png")
        style.save(figure, folder / names[-1])
    return names


def by_component(series: Sequence[Series]) -> list[Series]:
    """Return the curves of components under the posterior that they share, named after themselves.

    Those of the whole network belong to them; other curves are left out.
    """
    parts: dict[tuple[str, float, float, str], list[tuple[str, Series]]] = {}
    for one in series:
        words = one.at.loss.split(", ")
        only = [word.removeprefix("only ") for word in words if word.startswith("only ")]
        rest = ", ".join(word for word in words if not word.startswith("only "))
        key = (one.setting, one.at.nbeta, one.at.gamma, rest)
        named = one._replace(label=(*only, _WHOLE)[0], at=one.at._replace(loss=rest))
        parts.setdefault(key, []).append((named.label, named))
    return [
        one for group in parts.values() if len({name for name, _ in group}) > 1 for _, one in group
    ]


def _component(posterior: Mapping[str, Any]) -> str:
    chosen = posterior.get("restrict")
    return _WHOLE if chosen is None else " + ".join(chosen)


def _interval(component: str, row: Row) -> Interval:
    facts = row.facts
    at = {name: facts.get(f"llc_{name}") for name in ("se", "lo", "hi")}
    verdict: Any = row.verdict
    label = f"{component} ({facts['d']})"
    return Interval(row.member.sampler, label, facts.get("llc"), verdict=verdict, **at)
