"""Queries of the store: what they read and leave out, what they may not do, and their answers."""

import re
import shutil
from pathlib import Path

import pytest

from lambda_hat_core.store import experiments, failures, records, sql, views
from lambda_hat_core.store.store import Store
from tests.core.sqlstore import COLUMNS, add_run, run_spec, spec
from tests.counts import reads


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "a [home]'s")


def test_an_incomplete_folder_is_not_read(store):
    add_run(store, spec(), llc=1.0)
    shutil.copytree(
        store.path("analyses", spec().id), store.root / "analyses" / f".tmp-{spec().id}-x-1-y"
    )
    assert len(sql.query(store, "SELECT * FROM llc").rows) == 1


def test_a_folder_whose_name_is_no_id_is_not_counted(store):
    folder = store.path("analyses", run_spec(1).id)
    records.write("llc", [{"run_id": run_spec(1).id}], folder / "estimate.parquet")
    for name in (f"{folder.name}.bak", f"{folder.name} (copy)", f"{folder.name}_old"):
        shutil.copytree(folder, folder.with_name(name))
    assert sql.query(store, "SELECT count(*) FROM llc").rows == [(1,)]
    assert store.list("analyses") == (folder.name,)


def test_columns_with_two_meanings_are_named_in_the_docs():
    """A column that two views have means the same in both, or the page says which do not."""
    page = (Path(__file__).parents[2] / "docs" / "sql.md").read_text()
    listed = page.partition("| column | in |")[2].partition("\n\n")[0]
    rows = [
        [re.findall(r"`(\w+)`", cell) for cell in line.split("|")[1:3]]
        for line in listed.splitlines()[2:]
    ]
    differ = {(column, view) for columns, views in rows for column in columns for view in views}
    keys = {"run_id", "target_id", "experiment", "trajectory_id", "step"}
    shared = {
        (column, view)
        for view, columns in COLUMNS.items()
        for column in columns
        if column not in keys and sum(column in others for others in COLUMNS.values()) > 1
    }
    assert differ == shared


def test_table_as_text():
    table = sql.Table(["name", "x", "ok"], [("ab", 1.23456789, True), (None, 10.0, False)])
    assert sql.show(table).splitlines() == [
        "name        x     ok",
        "----  -------  -----",
        "ab    1.23457   true",
        "null       10  false",
    ]
    long = sql.Table(["t"], [("y" * 100,), (["a", "b"],)])
    assert sql.show(long).splitlines()[2:] == ["y" * 57 + "...", "[a, b]"]
    assert "y" * 100 in sql.show(long, longest=None)
    assert sql.show(sql.Table(["a"], [])) == "a\n-"


def test_the_error_of_wrong_sql_is_one_line(store):
    with pytest.raises(ValueError, match=r"this SQL cannot be run: .*lcc") as info:
        sql.query(store, "select * from lcc")
    assert "\n" not in str(info.value)


@pytest.mark.parametrize(
    "statement",
    [
        "copy (select 1) to '{0}/x.csv'",
        "copy (pivot llc on verdict using count(*)) to '{0}/x.csv'",
        "explain analyze copy (select 1) to '{0}/x.csv'",
        "select 1; copy (select 1) to '{0}/x.csv'",
        "attach '{0}/x.db'",
        "set enable_external_access = true",
        "install httpfs",
        "select * from read_text('{1}/secret')",
        "select * from read_text('{0}/../secret')",
        "select * from glob('{1}/*')",
    ],
)
def test_a_query_neither_writes_nor_reads_beyond_the_store(tmp_path, statement):
    home = tmp_path / "a [b]*c"
    (tmp_path / "secret").write_text("secret")
    store = Store(home)
    assert sql.query(store, "from llc").rows == []
    before = sorted(home.rglob("*"))
    with pytest.raises(ValueError, match="--unsafe"):
        sql.query(store, statement.format(home, tmp_path))
    assert sorted(home.rglob("*")) == before


@pytest.mark.parametrize(
    "statement",
    [
        "-- all\nfrom llc",
        "explain from llc",
        "describe llc",
        "with a as (from llc) from a",
        "pivot llc on verdict using count(*)",
        "select content from read_text({0})",
    ],
)
def test_every_query_of_the_store_is_allowed(store, statement):
    experiments.write_asked(store, "small", "small")
    file = views.quoted(store.root / "experiments" / "small.json")
    assert sql.query(store, statement.format(file)).names


def test_unsafe_allows_to_write_a_file(store, tmp_path):
    file = tmp_path / "llc.csv"
    sql.query(store, f"copy (select 1 as one) to '{file}'", unsafe=True)
    assert file.read_text().split() == ["one", "1"]


def test_an_empty_query_is_refused_in_one_line(store):
    with pytest.raises(ValueError, match=r'^the query is empty; write one, such as "from llc"$'):
        sql.query(store, "  ")


@pytest.mark.parametrize("cut", [slice(0, 40), slice(0, -9)])
@pytest.mark.parametrize("kind", ["analysis", "failure", "membership"])
def test_a_damaged_file_is_left_out_and_named_with_its_reason(store, kind, cut):
    runs = [run_spec(seed) for seed in (1, 2)]
    for run in runs:
        row = {"run_id": run.id, "llc": 1.0, "verdict": "ok"}
        records.write("llc", [row], store.path("analyses", run.id) / "estimate.parquet")
    failures.write_failure(store, run_spec(3), "no")
    failures.write_failure(store, run_spec(4), "no")
    experiments.write_experiment(store, "e", [("t", run.id) for run in runs])
    sql.refresh(store)
    assert sql.query(store, "SELECT count(*) FROM llc").rows == [(4,)]
    path, left = {
        "analysis": (store.path("analyses", runs[1].id) / "estimate.parquet", 3),
        "failure": (failures.failure_path(store, run_spec(4).id), 3),
        "membership": (store.root / "experiments" / "e.parquet", 4),
    }[kind]
    path.write_bytes(path.read_bytes()[cut])
    found = sql.query(store, "SELECT run_id, experiment FROM llc")
    assert len(found.rows) == left
    assert found.left_out == [path]
    assert ("e" in {row[1] for row in found.rows}) == (kind != "membership")


def test_a_query_reads_the_file_of_each_run_twice(store):
    """One read finds the columns, and one reads the data, for any number of runs."""
    first = store.path("analyses", "run_sgld_000000000000") / "estimate.parquet"
    records.write("llc", [{"run_id": "run_sgld", "llc": 1.0, "verdict": "ok"}], first)
    content, runs = first.read_bytes(), 1000
    for i in range(1, runs):
        folder = store.path("analyses", f"run_sgld_{i:012x}")
        folder.mkdir()
        (folder / "estimate.parquet").write_bytes(content)
    sql.refresh(store)
    before = reads()
    assert sql.query(store, "SELECT count(*), avg(llc) FROM llc").rows == [(runs, 1.0)]
    assert runs < reads() - before < 2.5 * runs
