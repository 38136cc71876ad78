"""The page of a tuning file: all studies with their figures and best settings."""

from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from lambda_hat_core.analysis.words import many
from lambda_hat_core.gallery.figures import take
from lambda_hat_core.plan.study import TunePlan
from lambda_hat_core.store.store import Store
from lambda_hat_core.tuning.results import TRIALS, summary

_ASSETS = "assets"
_NUMBERS = {
    "trials": "trials",
    "pruned": "pruned",
    "failed": "failed",
    "objective": "objective",
    "llc": "LLC",
    "llc_ref": "reference",
    "v_m": "V_M",
    "work_fge": "gradients",
}


def write_page(store: Store, plan: TunePlan) -> Path:
    """Write galleries/tuning-<name>/index.html from the store's content, and return its path."""
    id = f"tuning-{plan.name}"
    with store.publish("galleries", id) as folder:
        (folder / _ASSETS).mkdir()
        (folder / "index.html").write_text(_page(store, plan, folder / _ASSETS))
    return store.path("galleries", id) / "index.html"


def _page(store: Store, plan: TunePlan, assets: Path) -> str:
    rows, sections = [], []
    for id, study in plan.studies.items():
        if not (store.path("tuning", id) / TRIALS).exists():
            continue
        facts = summary(store, study, plan.problems[study.problem])
        rows.append(_row(id, plan.label(id), facts))
        sections.append(_section(store, id, plan.label(id), facts, assets))
    title = escape(f"{plan.name}: tuned samplers")
    headings = "".join(f'<th scope="col">{name}</th>' for name in _NUMBERS.values())
    style = files("lambda_hat_core.gallery").joinpath("style.css").read_text()
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<header>
<h1>{title}</h1>
<p class="lede">{len(rows)} of {many(len(plan.studies), "study", "studies")},
{many(len(plan.problems), "problem")}. The objective is {escape(_objective(plan))};
lower is better.</p>
</header>
<main>
<div class="scroll" tabindex="0" role="region" aria-label="All studies">
<table>
<thead><tr><th scope="col">study</th>{headings}<th scope="col">best parameters</th></tr></thead>
<tbody>
{"".join(rows)}
</tbody>
</table>
</div>
{"".join(sections)}
</main>
</body>
</html>
"""


def _objective(plan: TunePlan) -> str:
    objective = plan.settings.objective
    words = {
        "abs": "|llc - reference|",
        "huber": f"|llc - reference|, quadratic below {objective.delta:g}",
        "certificate": "|log V_M| + se, without a reference",
    }[objective.type]
    return f"{words}, plus (bias^2 + se^2) FGE" if objective.cost else words


def _row(id: str, label: str, facts: dict[str, Any]) -> str:
    cells = "".join(f'<td class="number">{_number(facts[name])}</td>' for name in _NUMBERS)
    best = escape(facts["parameters"] or "no trial is complete")
    return f'<tr><td><a href="#{id}">{escape(label)}</a></td>{cells}<td>{best}</td></tr>\n'


def _number(value: float | int | None) -> str:
    return '<span class="absent">&ndash;</span>' if value is None else f"{value:.4g}"


def _section(store: Store, id: str, label: str, facts: dict[str, Any], assets: Path) -> str:
    folder = store.path("tuning", id) / "figures"
    names = [take(path, assets, id) for path in sorted(folder.glob("*.png"))]
    figures = "".join(
        f'<figure><img src="{_ASSETS}/{escape(name)}" loading="lazy" '
        f'alt="{escape(f"{Path(name).stem.removeprefix(id)} of {label}")}"></figure>'
        for name in names
    )
    preset = "" if facts["preset"] is None else f" · preset <code>{escape(facts['preset'])}</code>"
    return (
        f'<section aria-labelledby="{id}"><h2 id="{id}">{escape(label)}</h2>\n'
        f'<p class="facts"><code>{id}</code>{preset}</p>\n<div class="figures">{figures}</div>\n'
        "</section>\n"
    )
