"""The table of all runs: headings that sort, and one line per run."""

from collections.abc import Sequence
from html import escape

from lambda_hat_core.gallery.columns import PRECISE, Column
from lambda_hat_core.gallery.rows import Row, split

_VERDICT_AT = 3
"""Index of the verdict's column, which follows that of the estimate."""


def headings(columns: Sequence[Column]) -> str:
    """Return the headings, each of which sorts and explains itself on hover."""
    names = [
        ("target", "the minimum w* whose LLC is estimated", ""),
        ("sampler", "the sampler, with its posterior, precision and seed", ""),
    ]
    names += [(column.heading, column.meaning, "number") for column in columns]
    names.insert(_VERDICT_AT, ("verdict", "result of the checks, with reasons and ways out", ""))
    return "".join(
        f'<th scope="col" aria-sort="none" class="{kind}">'
        f'<button type="button" title="{escape(meaning)}">{escape(heading)}</button></th>'
        for heading, meaning, kind in names
    )


def line(row: Row, target: str, section: str, columns: Sequence[Column]) -> str:
    """Return the line of a run.

    Args:
        row: the run.
        target: the label of its target.
        section: the id of the part of the page about it.
        columns: those of the table.
    """
    name, parts = split(row.member.label)
    verdict = pill(row) + "".join(f"<small>{line}</small>" for line in reasons(row))
    cells = [
        f'<td class="target"><a href="#{section}">{escape(target)}</a></td>',
        f'<td class="sampler" data-sort="{escape(row.member.label)}"><a href="#{row.run}">'
        f"{escape(name)}</a><small>{escape(', '.join(parts))}</small></td>",
        *(_cell(row, column) for column in columns),
    ]
    cells.insert(_VERDICT_AT, f'<td class="verdict" data-sort="{row.verdict}">{verdict}</td>')
    return f'<tr data-run="{row.run}">{"".join(cells)}</tr>'


def reasons(row: Row) -> list[str]:
    """Return the reasons for a verdict as HTML, each with its way out."""
    ways_out = row.advice or [""] * len(row.reasons)
    return [
        escape(why) + (f' <span class="advice">set {escape(way_out)}</span>' if way_out else "")
        for why, way_out in zip(row.reasons, ways_out, strict=True)
    ]


def _cell(row: Row, column: Column) -> str:
    value = row.facts.get(column.name)
    start = f'<td class="number {column.name}" data-label="{escape(column.heading)}"'
    if value is None:
        return f'{start} data-sort=""><span class="absent">&ndash;</span></td>'
    extra = ""
    if column.name == "llc":
        extra = "".join(f' data-{name}="{row.facts[name]}"' for name in PRECISE)
    text = escape(column.text(row.facts))
    below = f"<small>{escape(column.below(row.facts))}</small>" if column.below else ""
    if column.name == "llc":
        below += "".join(
            f'<small class="caveat" title="{escape(meaning)}">{escape(words)}</small>'
            for words, meaning in row.caveats
        )
    return f'{start} data-sort="{value!r}"{extra}>{text}{below}</td>'


def pill(row: Row) -> str:
    """Return the verdict as a coloured word."""
    word = "not run" if row.verdict == "missing" else row.verdict
    return f'<span class="pill {row.verdict}">{word}</span>'
