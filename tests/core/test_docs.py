"""The SQL queries in the docs are valid for the views."""

import importlib.util
import re
from pathlib import Path

import pytest

from lambda_hat_core.store import sql, views
from lambda_hat_core.store.store import Store

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "sql.md").read_text()
QUERIES = re.findall(r"```sql\n(.*?)```", PAGE, flags=re.DOTALL)
README_QUERIES = re.findall(
    r'lambda-hat sql "(.*?)"', (ROOT / "README.md").read_text(), flags=re.DOTALL
)


@pytest.mark.parametrize("query", [*QUERIES, *README_QUERIES])
def test_the_queries_in_the_docs_are_valid_on_an_empty_store(tmp_path, query):
    assert sql.query(Store(tmp_path), query).rows == []


def test_the_queries_in_the_docs_are_found():
    assert len(QUERIES) == PAGE.count("```sql") == 6
    assert README_QUERIES


def test_results_are_taken_into_other_tools_as_the_page_says(tmp_path, monkeypatch):
    (block,) = re.findall(r"```py\n(.*?)```", PAGE, flags=re.DOTALL)
    if importlib.util.find_spec("polars") is None:
        block = "\n".join(line for line in block.splitlines() if "polars" not in line)
    sql.refresh(Store(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)
    found = {}
    exec(block, found)
    assert "llc_se" in found["frame"]
    assert "llc_se" in (tmp_path / "llc.csv").read_text()
    assert (tmp_path / "llc.parquet").exists()


@pytest.mark.parametrize("view", views.VIEWS)
def test_the_sql_page_lists_every_column(tmp_path, view):
    row = re.search(rf"^\| `{view}` \|.*\| `(.*)` \|$", PAGE, flags=re.MULTILINE)
    assert row is not None
    assert row[1].split(", ") == sql.query(Store(tmp_path), f"SELECT * FROM {view}").names
