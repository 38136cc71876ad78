"""index.html: one page that needs no server, network or framework. All text is escaped."""

import base64
import re
import struct
from collections.abc import Iterable, Sequence
from html import escape, unescape
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from lambda_hat_core.analysis.words import many
from lambda_hat_core.gallery import along, glossary, profiles, sheets, table
from lambda_hat_core.gallery.along import CurveSection
from lambda_hat_core.gallery.columns import count_words, estimate_words, with_values
from lambda_hat_core.gallery.curves import Stack
from lambda_hat_core.gallery.details import details
from lambda_hat_core.gallery.members import Gallery
from lambda_hat_core.gallery.profiles import Profile
from lambda_hat_core.gallery.rows import Row
from lambda_hat_core.gallery.sheets import Sheet

ASSETS = "assets"
_FEW_TARGETS = 12
_FEW_RUNS = 12
_WHOLE_RUNS = 30
"""Most runs whose pictures are all in the page that is one file."""

_OTHERS = re.compile(
    rf'<figure[^>]*><img src="{ASSETS}/run_\w+?_[0-9a-f]{{12}}_(?!llc_convergence)[^>]*></figure>'
)
_ID = re.compile(r"^(tgt|trj|run_\w+?)_[0-9a-f]{12}_")
_SHADES = re.compile(
    r"^(tgt_[0-9a-f]{12}_(data|predictions|sheet_\d+)|run_\w+_[0-9a-f]{12}_kernel_\w+)\.png$"
)
"""Pictures of data and heat maps, whose shades mean something, or may: dark mode does not invert
them."""

HERE = Path(__file__).parent
"""The folder of the style sheet and the scripts."""


class PageSection(NamedTuple):
    """A target and its runs.

    Attributes:
        id: the target.
        label: the target in words.
        meta: the content of meta.json, empty if the target was not made.
        rows: the target's runs.
        comparisons: file names of the figures that compare all runs.
        profiles: curves over gamma and nbeta.
        figures: file names of the target's own figures.
        diagnostics: file names of each run's figures, by run id.
        sheets: calibration sheets.
    """

    id: str
    label: str
    meta: dict[str, Any]
    rows: list[Row]
    comparisons: list[str]
    profiles: list[Profile]
    figures: list[str]
    diagnostics: dict[str, list[str]]
    sheets: list[Sheet]


def page(
    gallery: Gallery,
    sections: Sequence[PageSection | CurveSection],
    rows: list[Row],
    folder: Path,
    *,
    overlaid: Sequence[Stack] = (),
) -> str:
    """Return the page.

    Args:
        gallery: its name, and the labels of its targets.
        sections: the targets and trainings, in order.
        rows: the runs, in order.
        folder: where the PNG files are, from which their sizes are read.
        overlaid: the curves of all trainings over each other.
    """
    experiment, labels = gallery.experiment, gallery.targets
    place = {id: training for training, at in gallery.trainings.items() for id in at.steps}
    samplers = len({row.member.sampler for row in rows})
    lede = (
        f"{many(len(rows), 'run')} of {many(samplers, 'sampler')} "
        f"on {many(len(labels), 'target')}: {count_words(rows)}."
    )
    columns = with_values(rows)
    names = ("style.css", "table.js", "curves.js")
    style, *scripts = (HERE.joinpath(name).read_text() for name in names)

    def line(row: Row) -> str:
        target = row.member.target
        return table.line(row, labels[target], place.get(target, target), columns)

    def figure(name: str, of: str) -> str:
        return _figure(name, of, folder)

    def part(of: PageSection | CurveSection) -> str:
        is_training = isinstance(of, CurveSection)
        return along.section(of, figure) if is_training else _section(of, folder)

    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(experiment)}: local learning coefficients</title>
<style>
{style}</style>
</head>
<body>
<header>
<h1>{escape(experiment)}</h1>
<p class="lede">{escape(lede)}</p>
<p class="note">The estimate is nβ E[L<sub>n</sub>(w) &minus; L<sub>n</sub>(w*)] with its standard
error. “Known λ” is the exact LLC at w*, without the localiser. “Exact” is the expectation at the
run's own nβ and gamma, which a correct sampler reproduces. V_M is 1 at equilibrium.</p>
{_navigation(sections)}
</header>
<main>
{along.overlay(overlaid, figure)}
<div class="tools">
<label>Filter <input id="filter" type="search" placeholder="nuts suspect"></label>
<span id="spoken" class="note" role="status" aria-live="polite"></span></div>
<div class="scroll" tabindex="0" role="region" aria-label="All runs">
<table id="runs">
<caption class="unseen">All runs; the buttons in the headings sort.</caption>
<thead><tr>{table.headings(columns)}</tr></thead>
<tbody>
{_lines(map(line, rows))}
</tbody>
</table>
</div>
{glossary.as_html()}
{_lines(map(part, sections))}
</main>
<footer class="note">{escape(_newest(rows))}
<a class="send" href="{quote(one_file(experiment))}">This page in one file, to send.</a>
To compare it with another experiment on the same targets:
<code>lambda-hat compare {escape(experiment)} OTHER</code>.</footer>
<script>
{"".join(scripts)}</script>
</body>
</html>
"""


def one_file(experiment: str) -> str:
    """Return the name of the page that has all pictures in itself, to be sent to others."""
    return f"lambda_hat_{experiment}.html"


def inlined(text: str, folder: Path) -> str:
    """Return a page with its pictures in itself, and without links to itself and to the store.

    A page of many runs could not be sent with all their pictures. Each run then has only that of
    its convergence, and the last line of the page says so.

    Args:
        text: the page.
        folder: the folder of the page.
    """

    def data(source: re.Match[str]) -> str:
        content = (folder / unescape(source[1])).read_bytes()
        return f'src="data:image/png;base64,{base64.b64encode(content).decode()}"'

    said = ""
    if text.count("data-run=") > _WHOLE_RUNS:
        text = _OTHERS.sub("", text)
        said = "To keep this file small, it has only the convergence of each run."
    text = re.sub(r'<a class="send".*?</a>', said, text)
    text = re.sub(rf'<a href="{along.STORE}/[^"]*">(.*?)</a>', "", text)
    return re.sub(rf'src="({ASSETS}/[^"]*)"', data, text)


def _lines(parts: Iterable[str]) -> str:
    return "\n".join(parts)


def _newest(rows: Sequence[Row]) -> str:
    times = [row.facts["created_at"] for row in rows if row.facts]
    if not times:
        return "No run has been analysed yet."
    newest = max(times).replace("T", " ")
    count = many(len(times), "analysis", "analyses")
    return f"Made by lambda_hat from {count}, the newest made at {newest} UTC."


def _navigation(sections: Sequence[PageSection | CurveSection]) -> str:
    links = (f'<li><a href="#{s.id}">{escape(s.label)}</a></li>' for s in sections)
    many = ' class="many"' if len(sections) > _FEW_TARGETS else ""
    return f'<nav{many} aria-label="Targets"><ul>{"".join(links)}</ul></nav>'


def _section(section: PageSection, folder: Path) -> str:
    parts = [
        f'<section aria-labelledby="{section.id}">',
        f'<h2 id="{section.id}">{escape(section.label)}</h2>',
        f'<p class="facts">{_target_facts(section)}</p>',
        _figures(section.comparisons, section.label, folder),
        sheets.section(section.sheets, lambda name: _figure(name, section.label, folder)),
        profiles.section(section.profiles, lambda name: _figure(name, section.label, folder)),
    ]
    if section.figures:
        parts.append(
            "<details><summary>The target: training, fit, data and curvature at w*</summary>"
            f"{_figures(section.figures, section.label, folder)}</details>"
        )
    runs = _lines(_run(row, section.diagnostics[row.run], folder) for row in section.rows)
    if len(section.rows) > _FEW_RUNS:
        runs = (
            f"<details><summary>Details of all {len(section.rows)} runs</summary>{runs}</details>"
        )
    return _lines([*parts, runs, "</section>"])


def _target_facts(section: PageSection) -> str:
    meta = section.meta
    if not meta:
        return f"<code>{section.id}</code> was not made."
    known = "" if meta["llc_known"] is None else f"known λ = {meta['llc_known']:.4g}, "
    facts = [f"n = {meta['n']}", f"d = {meta['d']}", f"L(w*) = {meta['loss0']:.4g}"]
    if meta.get("test_loss") is not None:
        facts.append(f"test loss {meta['test_loss']:.4g}")
    facts.append(f"|gradient| = {meta['grad_norm']:.2g}")
    facts.append(f"lowest eigenvalue {meta['min_eigenvalue']:.2g}")
    audit = "; ".join(meta["audit_reasons"]) or "w* passed its audit"
    said = ", ".join(facts)
    return (
        f"<code>{section.id}</code> · {escape(said)} · {escape(audit)} · "
        f"{escape(known + meta['llc_known_reason'])}"
    )


def _run(row: Row, figures: list[str], folder: Path) -> str:
    told = [*table.reasons(row), *map(escape, row.notes)]
    reasons = "".join(f"<li>{line}</li>" for line in told)
    return (
        f'<details id="{row.run}"><summary>{escape(row.short)} '
        f'<span class="said">{escape(estimate_words(row))}</span> {table.pill(row)}</summary>'
        f'<p class="facts"><code>{row.run}</code> · {escape(row.member.label)}</p>'
        + (f'<ul class="reasons">{reasons}</ul>' if reasons else "")
        + _figures(figures, row.short, folder)
        + details(row)
        + "</details>"
    )


def _figures(names: Sequence[str], of: str, folder: Path) -> str:
    if not names:
        return ""
    return f'<div class="figures">{"".join(_figure(name, of, folder) for name in names)}</div>'


def _figure(name: str, of: str, folder: Path) -> str:
    width, height = _size(folder / name)
    words = ["tall"] * (height > width) + ["shades"] * bool(_SHADES.search(name))
    kind = f' class="{" ".join(words)}"' if words else ""
    what = _ID.sub("", name).removesuffix(".png").replace("_", " ")
    return (
        f'<figure{kind}><img src="{ASSETS}/{escape(name)}" alt="{escape(f"{what} of {of}")}" '
        f'width="{width}" height="{height}" loading="lazy" decoding="async"></figure>'
    )


def _size(path: Path) -> tuple[int, int]:
    """Return width and height of a PNG, from its header."""
    with path.open("rb") as file:
        return struct.unpack(">II", file.read(24)[16:])
