"""Formats tables as Markdown and puts them into the pages of docs/."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd


def arguments(doc: str) -> argparse.Namespace:
    """Return the options of a bench that makes a table from a store: `home` and `docs`."""
    parser = argparse.ArgumentParser(description=doc.partition("\n\n")[0])
    parser.add_argument("--home", type=Path, default=Path("runs"), help="the store")
    parser.add_argument("--docs", type=Path, help="a page with a place for the table")
    return parser.parse_args()


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def markdown(frame: pd.DataFrame, digits: int = 4) -> str:
    """Return a frame as a Markdown table, with numbers to `digits` significant digits."""

    def text(value: object) -> str:
        if value is None or value != value:
            return "-"
        if isinstance(value, bool):
            return "yes" if value else "**no**"
        if not isinstance(value, float):
            return str(value)
        return f"{value:.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"

    rows = [[text(value) for value in row] for row in frame.astype(object).to_numpy().tolist()]
    return table(list(frame.columns), rows)


def rewrite(page: Path, name: str, text: str) -> None:
    """Put a table between its two markers.

    Raises:
        ValueError: if the page has no such markers.
    """
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, found, rest = page.read_text().partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"{page} has no place for a table: write {begin} and {end} into it")
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}")
