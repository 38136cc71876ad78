"""Small pieces of HTML that several parts of a page share."""

from collections.abc import Iterable

from lambda_hat_core.gallery.rows import Row


def lines(parts: Iterable[str]) -> str:
    """Return parts of a page, one after the other."""
    return "\n".join(parts)


def pill(row: Row) -> str:
    """Return the verdict of a run in its colour."""
    word = "not run" if row.verdict == "missing" else row.verdict
    return f'<span class="pill {row.verdict}">{word}</span>'
