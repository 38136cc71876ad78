"""The database file: its views, shared, copied, of an older version, invalid, without room."""

import os
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import duckdb
import pytest

from lambda_hat_core.store import failures, records, sql
from lambda_hat_core.store.inventory import orphans
from lambda_hat_core.store.store import Store
from tests.core.sqlstore import run_spec, spec, target_spec

WRITER = """
import sys
from lambda_hat_core.store import experiments, records
from lambda_hat_core.store.store import Store
store = Store(sys.argv[1])
i = 0
while True:
    folder = store.path("analyses", f"run_sgld_{i:012x}")
    row = {"run_id": folder.name, "verdict": "ok", "llc": 1.0}
    records.write("llc", [row], folder / "estimate.parquet")
    experiments.write_experiment(store, "e", [("t", folder.name)])
    if i == 0:
        print("go", flush=True)
    i += 1
"""


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "a [home]'s")


def test_garbage_collection_keeps_the_empty_files_of_the_views(store):
    sql.refresh(store)
    failures.write_failure(store, target_spec(), "a target", "Traceback")
    failures.write_failure(store, spec(), "a run")
    later = datetime.now(UTC) + timedelta(days=1)
    gone = {path.name for path in orphans(store, {spec().id}, later)}
    id = target_spec().id
    assert gone == {f"{id}.parquet", f"{id}.txt"}


def test_database_is_read_while_another_process_writes(store):
    database = sql.refresh(store)
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(store.root)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert writer.stdout is not None and writer.stdout.readline() == "go\n"
        counts, deadline = [], time.monotonic() + 120
        with duckdb.connect(str(database), read_only=True) as connection:
            while len(counts) < 20 or counts[-1] == counts[0]:
                assert time.monotonic() < deadline
                counts += connection.execute("SELECT count(DISTINCT run_id) FROM llc").fetchall()
                sql.refresh(store)
                time.sleep(0.02)
        assert writer.poll() is None
    finally:
        writer.kill()
        writer.wait()
        assert writer.stdout is not None
        writer.stdout.close()
    assert counts == sorted(counts)


def test_database_holds_views_only_and_is_small(store):
    database = sql.refresh(store)
    assert database.stat().st_size < 1_000_000
    with duckdb.connect(str(database), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM duckdb_tables()").fetchall() == [(0,)]
        tags = connection.execute("SELECT tags FROM duckdb_databases() WHERE NOT internal")
        assert "v1.0.0" in str(tags.fetchall())


def test_a_copied_store_answers_from_the_copy_and_a_moved_one_where_it_is(store, tmp_path):
    def labels(database):
        with duckdb.connect(str(database), read_only=True) as connection:
            return connection.execute("SELECT label FROM llc").fetchall()

    file = store.path("analyses", run_spec(1).id) / "estimate.parquet"
    records.write("llc", [{"run_id": run_spec(1).id, "label": "original"}], file)
    database = sql.refresh(store)
    assert sql.is_fresh(store)
    copy = shutil.copytree(store.root, tmp_path / "a [copy]*")
    row = {"run_id": run_spec(1).id, "label": "copy"}
    records.write("llc", [row], copy / file.relative_to(store.root))
    assert labels(database) == [("original",)] and labels(copy / database.name) == [("copy",)]
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{str(database).replace("'", "''")}' AS kept (READ_ONLY)")
        assert connection.execute("SELECT label FROM kept.llc").fetchall() == [("original",)]
    os.rename(store.root, tmp_path / "moved")
    assert labels(tmp_path / "moved" / database.name) == [("original",)]
    moved = Store(tmp_path / "moved")
    assert not sql.is_fresh(moved)
    sql.refresh(moved)
    assert sql.is_fresh(moved)


def test_an_invalid_database_file_is_rewritten(store):
    store.root.mkdir()
    (store.root / "llc.duckdb").write_text("garbage")
    assert not sql.is_fresh(store)
    sql.refresh(store)
    assert sql.is_fresh(store)


def test_a_folder_in_place_of_a_file_gives_way(store):
    sql.refresh(store)
    for name in ("llc.duckdb", "analyses/_schema/draws.parquet", "failures/_run_schema.parquet"):
        (store.root / name).unlink()
        (store.root / name).mkdir()
    assert not sql.is_fresh(store)
    sql.refresh(store)
    assert sql.is_fresh(store) and sql.query(store, "from draws").rows == []


def test_a_store_of_an_older_version_gets_the_columns_that_are_new(store, monkeypatch):
    older = {name: kind for name, kind in records.SCHEMAS["trials"].items() if name != "study"}
    with monkeypatch.context() as before:
        before.setitem(records.SCHEMAS, "trials", older)
        sql.refresh(store)
        assert sql.is_fresh(store)
    assert not sql.is_fresh(store)
    sql.refresh(store)
    assert sql.is_fresh(store)
    assert sql.query(store, "SELECT study FROM trials").rows == []


def test_a_full_disk_gives_one_line_and_keeps_the_old_database(tmp_path):
    import resource

    store = Store(tmp_path)
    before = sql.refresh(store).read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"no space left under .*nothing of llc\.duckdb") as error:
            sql.refresh(store)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(error.value)
    assert (store.root / sql.DATABASE).read_bytes() == before
    assert not list(store.root.glob(".*llc*"))
