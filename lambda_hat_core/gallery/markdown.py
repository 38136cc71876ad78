"""A gallery as Markdown, for a document, a notebook or the UI."""

from collections.abc import Sequence

from lambda_hat_core.analysis.words import many
from lambda_hat_core.gallery import glossary
from lambda_hat_core.gallery.columns import cell_words, count_words, estimate_words
from lambda_hat_core.gallery.rows import Row

_MOST_ROWS = 40
_SHOWN = ("llc_known", "llc_oracle", "work_fge", "wall_s")


def table(rows: Sequence[Row], labels: dict[str, str]) -> str:
    """Return the runs as a Markdown table.

    Args:
        rows: the runs, of which at most 40 are listed.
        labels: labels of their targets, by id.
    """
    lines = [
        "| target | sampler | LLC ± se | known λ | exact | verdict | FGE | seconds |",
        "|---|---|--:|--:|--:|---|--:|--:|",
    ]
    for row in rows[:_MOST_ROWS]:
        known, oracle, work, seconds = (cell_words(row, name) for name in _SHOWN)
        verdict = "; ".join([f"**{row.verdict}**", *row.told()])
        names = [labels[row.member.target], row.member.label, estimate_words(row)]
        cells = [*names, known, oracle, verdict, work, seconds]
        lines.append(f"| {' | '.join(_escaped(cell) for cell in cells)} |")
    if len(rows) > _MOST_ROWS:
        lines.append(f"\nThe page index.html lists {many(len(rows) - _MOST_ROWS, 'more run')}.")
    return "\n".join(lines)


def document(
    experiment: str, rows: list[Row], labels: dict[str, str], figures: dict[str, list[str]]
) -> str:
    """Return the whole document: counts, table, comparisons of each target, and the glossary.

    Args:
        experiment: the title.
        rows: the runs.
        labels: labels of the targets, by id.
        figures: paths of the figures relative to the document's folder, by target.
    """
    parts = [
        f"## {experiment}",
        f"{many(len(rows), 'run')}: {count_words(rows)}.",
        table(rows, labels),
    ]
    for target, paths in figures.items():
        parts.append(f"### {_escaped(labels[target])}")
        parts += [picture(path, labels[target]) for path in paths]
    return "\n\n".join([*parts, glossary.as_markdown()]) + "\n"


def picture(path: str, words: str) -> str:
    """Return an image, with brackets in its description replaced so that they cannot end it."""
    return f"![{words.replace('[', '(').replace(']', ')')}]({path})"


def _escaped(text: str) -> str:
    for letter in ("\\", "|", "<"):
        text = text.replace(letter, f"\\{letter}")
    return " ".join(text.split())
