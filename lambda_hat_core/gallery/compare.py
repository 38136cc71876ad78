"""One page that compares two experiments: the differences of their estimates, with errors."""

import base64
from collections.abc import Sequence
from html import escape

from lambda_hat_core.analysis.diagnostics import t_quantile
from lambda_hat_core.analysis.figures import forest, style
from lambda_hat_core.analysis.figures.forest import Interval
from lambda_hat_core.analysis.words import many, plus_minus, short
from lambda_hat_core.config.errors import Place
from lambda_hat_core.gallery.columns import estimate_words
from lambda_hat_core.gallery.members import Gallery
from lambda_hat_core.gallery.page import HERE
from lambda_hat_core.gallery.pairs import Pair, Paired, paired
from lambda_hat_core.gallery.rows import read_rows
from lambda_hat_core.gallery.table import pill, reasons
from lambda_hat_core.store.store import Store

_MOST_CHANGES = 4
"""Most settings of a pair that are listed as different."""

_WORST = ("failed", "missing", "suspect", "ok")


def comparison(store: Store, first: Gallery, second: Gallery) -> str:
    """Return a page with its pictures in itself.

    Args:
        store: has the runs.
        first: the experiment that is compared with.
        second: the experiment whose estimates are subtracted from.

    Raises:
        ConfigError: if the experiments have no target in common.
    """
    shared = [id for id in first.targets if id in second.targets]
    if not shared:
        rule = f"{first.experiment} and {second.experiment} have no target in common"
        way_out = "write the same entries under targets of both; then their ids are the same"
        raise Place("compare").error(rule, way_out)
    rows = [
        [row for row in read_rows(store, gallery) if row.member.target in shared]
        for gallery in (first, second)
    ]
    found = paired(*rows)
    names = first.experiment, second.experiment
    style_sheet, script = (HERE.joinpath(name).read_text() for name in ("style.css", "table.js"))
    differing = {pair.second.run for pair in found.differing()}
    body = "\n".join(
        _line(pair, first.targets, names, differs=pair.second.run in differing)
        for pair in found.pairs
    )
    figures = "".join(_figure(id, first.targets[id], found, names) for id in shared)
    title = f"{names[1]} against {names[0]}"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}: local learning coefficients</title>
<style>
{style_sheet}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
<p class="lede">{escape(_lede(found, shared))}</p>
<p class="note">The difference is the estimate of {escape(names[1])} minus that of
{escape(names[0])}, with the standard error of independent errors; z is their ratio. Where |z| is
above {found.limit:.2f}, the runs differ by more than chance: with this many pairs that happens by
chance on one page in twenty. A pair whose runs are not both ok says little.</p>
</header>
<main>
<div class="tools">
<label>Filter <input id="filter" type="search" placeholder="nuts differs"></label>
<span id="spoken" class="note" role="status" aria-live="polite"></span></div>
<div class="scroll" tabindex="0" role="region" aria-label="All pairs">
<table id="runs">
<caption class="unseen">All pairs of runs; the buttons in the headings sort.</caption>
<thead><tr>{_headings(names)}</tr></thead>
<tbody>
{body}
</tbody>
</table>
</div>
{figures}
{_alone(found, names, first, second)}
</main>
<script>
{script}</script>
</body>
</html>
"""


def _lede(found: Paired, shared: Sequence[str]) -> str:
    count = many(len(found.pairs), "pair")
    said = f"{count} of runs with the same target and sampler, on {many(len(shared), 'target')}"
    known = [pair for pair in found.pairs if pair.z is not None]
    same = sum(pair.same for pair in found.pairs)
    differ = found.differing()
    parts = [f"{many(len(differ), 'differs', 'differ')} by more than chance"] if known else []
    if same:
        parts.append(f"{many(same, 'is', 'are')} one run of both")
    missing = len(found.pairs) - len(known) - same
    if missing:
        parts.append(f"{missing} cannot be compared")
    return f"{said}: {', '.join(parts)}." if parts else f"{said}."


def _headings(names: tuple[str, str]) -> str:
    columns = (
        ("target", "the minimum w* whose LLC is estimated", ""),
        (
            "sampler",
            "the sampler, what sets it apart from the others here, and what the two runs "
            "were set to differently",
            "",
        ),
        ("difference ± se", "second minus first, with its standard error", "number"),
        ("verdicts", "result of the checks of both runs", ""),
        ("z", "the difference in standard errors", "number"),
        (names[0], "the first estimate", "number"),
        (names[1], "the second estimate", "number"),
        ("work ratio", "full-gradient evaluations, second by first", "number"),
    )
    return "".join(
        f'<th scope="col" aria-sort="none" class="{kind}">'
        f'<button type="button" title="{escape(meaning)}">{escape(heading)}</button></th>'
        for heading, meaning, kind in columns
    )


def _line(pair: Pair, labels: dict[str, str], names: tuple[str, str], *, differs: bool) -> str:
    target, sampler = labels[pair.first.member.target], pair.first.short
    z = pair.z
    words = "the same run" if pair.same else "differs" if differs else "agrees"
    said = "cannot be compared" if pair.difference is None else words
    text = "" if pair.difference is None else plus_minus(pair.difference, pair.se)
    if pair.same:
        text = "0"
    flag = ' class="caveat"' if differs else ""
    works = [row.facts.get("work_fge") for row in pair]
    ratio = works[1] / works[0] if works[0] and works[1] else None
    return "".join(
        [
            f'<tr data-run="{pair.second.run}">',
            f'<td class="target">{escape(target)}</td>',
            f'<td class="sampler" data-sort="{escape(sampler)}">{escape(sampler)}'
            f"<small>{escape(_changes(pair))}</small></td>",
            f'<td class="number llc" data-label="difference" data-sort="{_sort(pair.difference)}">'
            f"{escape(text) or '&ndash;'}<small{flag}>{said}</small></td>",
            f'<td class="verdict" data-sort="{_worst(pair)}">{_verdicts(pair)}</td>',
            _number("z", z, "" if z is None else f"{z:+.2f}"),
            *(
                _number(name, row.facts.get("llc"), estimate_words(row))
                for name, row in zip(names, pair, strict=True)
            ),
            _number("work ratio", ratio, "" if ratio is None else f"{ratio:.3g}"),
            "</tr>",
        ]
    )


def _number(label: str, value: float | None, text: str) -> str:
    start = f'<td class="number" data-label="{escape(label)}" data-sort="{_sort(value)}">'
    return f"{start}{escape(text) if text else '<span class="absent">&ndash;</span>'}</td>"


def _sort(value: float | None) -> str:
    return "" if value is None else repr(value)


def _worst(pair: Pair) -> str:
    return min((row.verdict for row in pair), key=_WORST.index)


def _verdicts(pair: Pair) -> str:
    told = "".join(
        f"<small>{place}: {line}</small>"
        for place, row in zip(("first", "second"), pair, strict=True)
        for line in reasons(row)
    )
    return f"{pill(pair.first)} {pill(pair.second)}{told}"


def _changes(pair: Pair) -> str:
    found = pair.changes()
    words = [f"{name}: {_text(one)} to {_text(other)}" for name, one, other in found]
    shown = words[:_MOST_CHANGES]
    more = [f"{len(words) - len(shown)} more"] if len(words) > len(shown) else []
    return "; ".join([*shown, *more])


def _text(value: object) -> str:
    if isinstance(value, float):
        return short(value)
    words = "none" if value is None else str(value)
    return words if len(words) <= 24 else f"{words[:21]}..."


def _figure(id: str, label: str, found: Paired, names: tuple[str, str]) -> str:
    """Return the differences of a target's pairs, drawn, as an element that holds the picture."""
    mine = [pair for pair in found.pairs if pair.first.member.target == id and not pair.same]
    intervals = [_interval(pair) for pair in mine if pair.difference is not None]
    if not intervals:
        return ""
    said = f"{many(len(intervals), 'difference')}, 90 % intervals: {names[1]} minus {names[0]}"
    drawn = forest.forest_figure(
        intervals, label, said, [style.ReferenceLine(0.0, "no difference", "--")], what="difference"
    )
    width, height = (round(style.DPI * inches) for inches in drawn.get_size_inches())
    data = base64.b64encode(style.png(drawn)).decode()
    return (
        f'<section aria-labelledby="{id}"><h2 id="{id}">{escape(label)}</h2>'
        f'<div class="figures"><figure><img src="data:image/png;base64,{data}" '
        f'alt="differences of {escape(label)}" width="{width}" height="{height}"></figure></div>'
        "</section>"
    )


def _interval(pair: Pair) -> Interval:
    difference, se = pair.difference, pair.se
    assert difference is not None
    reach = t_quantile(float("inf")) * (se or 0.0)
    worst = _worst(pair)
    return Interval(
        sampler=pair.first.member.sampler,
        label=pair.first.short,
        llc=difference,
        se=se,
        lo=None if se is None else difference - reach,
        hi=None if se is None else difference + reach,
        verdict="ok" if worst == "ok" else "failed" if worst == "failed" else "suspect",
    )


def _alone(found: Paired, names: tuple[str, str], first: Gallery, second: Gallery) -> str:
    """Return what only one of the experiments has."""
    parts = []
    for name, rows, mine, other in (
        (names[0], found.only_first, first, second),
        (names[1], found.only_second, second, first),
    ):
        told = [f"{row.short} on {mine.targets[row.member.target]}" for row in rows]
        told += [
            f"the target {label}" for id, label in mine.targets.items() if id not in other.targets
        ]
        if told:
            items = "".join(f"<li>{escape(words)}</li>" for words in told)
            parts.append(f"<h2>Only in {escape(name)}</h2><ul>{items}</ul>")
    return "\n".join(parts)
