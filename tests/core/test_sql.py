import os
import re
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from lambda_hat_core.config.data import NoData
from lambda_hat_core.config.model import Quadratic
from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.config.samplers.base import Until
from lambda_hat_core.config.samplers.stochastic import Sgld
from lambda_hat_core.config.samplers.tempered import Tempered
from lambda_hat_core.config.spec import RunSpec, TargetSpec
from lambda_hat_core.store import records, sql, views
from lambda_hat_core.store.inventory import orphans
from lambda_hat_core.store.store import Store
from tests.counts import reads

LLC = (
    "run_id target_id experiment sampler flavour dtype seed loss n d nbeta gamma n_chains n_draws "
    "n_burn llc llc_se llc_lo llc_hi llc_known llc_oracle loss0 ess_bulk ess_tail r_hat v_m "
    "work_fge wall_s verdict reasons created_at label settings acceptance n_divergent ess_min "
    "v_m_se at_minimum descent step trajectory_id restrict advice stopped_by"
).split()

COLUMNS = {
    "trajectories": "trajectory_id step target_id train_loss test_loss metric label".split(),
    "llc": LLC,
    "targets": "target_id kind label n d loss0 grad_norm min_eigenvalue llc_known "
    "llc_known_reason seed spec created_at failure".split(),
    "checks": "run_id target_id name passed severity value threshold words".split(),
    "draws": "run_id chain draw loss llc dist2 cumulative_fge".split(),
    "profiles": "run_id replica nbeta llc llc_se acceptance "
    "exchange_rate log_evidence log_evidence_se".split(),
    "experiments": "experiment target_id run_id".split(),
    "trials": "problem method number state parameters llc llc_se llc_ref objective v_m work_fge "
    "wall_s run_id reason study".split(),
    "observables": "run_id name index mean se r_hat at_minimum".split(),
    "covariances": "run_id a b index_a index_b cov se".split(),
}

WRITER = """
import sys
from lambda_hat_core.store import records
from lambda_hat_core.store.store import Store
store = Store(sys.argv[1])
i = 0
while True:
    folder = store.path("analyses", f"run_sgld_{i:012x}")
    row = {"run_id": folder.name, "verdict": "ok", "llc": 1.0}
    records.write("llc", [row], folder / "estimate.parquet")
    records.write_experiment(store, "e", [("t", folder.name)])
    if i == 0:
        print("go", flush=True)
    i += 1
"""


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "a [home]'s")


def test_the_replicas_of_a_run_are_rows_of_profiles(store):
    from lambda_hat_core.analysis.tempering import tempering
    from tests.core import traces

    run = spec()
    found = tempering(traces.replicated()).replicas
    records.write_profile(run.id, found, store.path("analyses", run.id) / "profile.parquet")
    rows = sql.query(store, "SELECT replica, nbeta, llc, log_evidence FROM profiles").rows
    assert rows == [(i, r.nbeta, r.llc, r.log_evidence) for i, r in enumerate(found)]
    assert rows[-1][1:3] == (0.0, None)


def test_checks_of_runs_and_of_targets_are_rows_of_checks(store):
    from lambda_hat_core.analysis.checks import checks
    from tests.core.test_verdict import META, good

    run, target = spec(), target_spec()
    made = [check._asdict() for check in checks(good(r_hat=1.2), META)]
    records.write_checks(
        {"run_id": run.id}, made, store.path("analyses", run.id) / "checks.parquet"
    )
    meta = {"is_minimum": False, "audit_reasons": ["|grad| = 3"], "off_centre_bias": 2.0}
    records.write_checks(
        {"target_id": target.id},
        [records.audited(meta | {"audit_limit": 0.05})],
        store.path("targets", target.id) / "checks.parquet",
    )
    failed = "SELECT run_id, target_id, name, value, threshold, words FROM checks WHERE NOT passed"
    mixing, audit = sorted(sql.query(store, failed).rows, key=lambda row: row[2])
    assert mixing[:5] == (run.id, None, "converged", 1.2, 1.1) and "R-hat" in mixing[5]
    assert audit == (None, target.id, "minimum", 2.0, 0.05, "|grad| = 3")
    assert sql.query(store, "SELECT count(*) FROM checks").rows == [(len(made) + 1,)]


def test_the_exact_value_may_come_from_a_run_that_was_analysed_later(store):
    run = spec()
    add_run(store, run, llc=1.0, nbeta=200.000001, gamma=1.0)
    exact = "SELECT llc_oracle FROM llc WHERE sampler = 'sgld'"
    assert sql.query(store, exact).rows == [(None,)]
    cold = run.model_copy(update={"sampler": Tempered()})
    others = (("ok", 200.0, 1.25), ("suspect", 200.0, 9.0), ("ok", 50.0, 7.0))
    for seed, (verdict, nbeta, llc) in enumerate(others):
        one = cold.model_copy(update={"seed": seed})
        add_run(store, one, llc=llc, nbeta=nbeta, gamma=1.0, verdict=verdict)
    assert sql.query(store, exact).rows == [(1.25,)]
    assert set(sql.query(store, exact.replace("sgld", "tempered")).rows) == {(None,)}
    assert sql.query(store, "SELECT count(*) FROM llc").rows == [(4,)]


def spec(seed=0):
    return RunSpec(
        target=f"tgt_{'0' * 12}",
        sampler=Sgld(precond="adam"),
        posterior=PosteriorSpec(loss="mse"),
        seed=seed,
        dtype="float32",
    )


def add_run(store, run, **values):
    row = records.run_row(run) | {"verdict": "ok", "reasons": [], **values}
    records.write("llc", [row], store.path("analyses", run.id) / "estimate.parquet")


@pytest.mark.parametrize("view", COLUMNS)
def test_empty_store_gives_an_empty_view_with_every_column(store, view):
    with duckdb.connect(str(sql.refresh(store)), read_only=True) as connection:
        cursor = connection.execute(f"SELECT * FROM {view}")
        assert [column[0] for column in cursor.description or ()] == COLUMNS[view]
        assert cursor.fetchall() == []


def test_types_of_an_empty_view_are_those_of_a_full_one(store):
    describe = "DESCRIBE llc"
    empty = sql.query(store, describe)
    add_run(store, spec(), llc=1.0, reasons=["a", "b"])
    assert sql.query(store, describe) == empty
    types = {row[0]: row[1] for row in empty.rows}
    assert types["reasons"] == "VARCHAR[]" and types["created_at"] == "TIMESTAMP"
    assert types["n"] == "BIGINT" and types["llc"] == "DOUBLE" and types["experiment"] == "VARCHAR"


def test_a_run_has_one_row_per_experiment(store):
    run = spec()
    add_run(store, run, llc=2.5, reasons=["because"])
    assert sql.query(store, "SELECT experiment, llc FROM llc").rows == [(None, 2.5)]
    records.write_experiment(store, "e", [(run.target, run.id)])
    rows = sql.query(store, "SELECT experiment, flavour, loss, n_burn, reasons FROM llc").rows
    assert rows == [("e", "adam", "mse", 400, ["because"])]


def test_a_failure_is_shown_until_there_is_an_analysis(store):
    run = spec()
    records.write_experiment(store, "e", [(run.target, run.id)])
    records.write_failure(store, run, "killed by\nsignal 9")
    found = "SELECT run_id, experiment, sampler, verdict, reasons, llc FROM llc"
    assert sql.query(store, found).rows == [
        (run.id, "e", "sgld", "failed", ["killed by signal 9"], None)
    ]
    assert records.read_failure(store, run.id) == "killed by signal 9"
    add_run(store, run, llc=1.0)
    assert sql.query(store, "SELECT verdict, llc FROM llc").rows == [("ok", 1.0)]
    records.clear_failure(store, run.id)
    assert records.read_failure(store, run.id) is None
    assert sql.query(store, "SELECT verdict, llc FROM llc").rows == [("ok", 1.0)]


def test_a_run_that_failed_before_its_stop_rule_ended_it_has_no_length(store):
    run = spec()
    free = run.model_copy(update={"sampler": run.sampler.model_copy(update={"until": Until()})})
    for one in (run, free):
        records.write_failure(store, one, "killed")
    rows = sql.query(store, "SELECT n_draws, n_burn, stopped_by FROM llc ORDER BY 1").rows
    fixed = run.sampler.n_draws, run.sampler.n_burn
    assert rows == [(*fixed, "failure"), (None, None, "failure")]


def target_spec(seed=0, **model):
    return TargetSpec(model=Quadratic(d=3, **model), data=NoData(), seed=seed)


def test_a_failed_target_is_shown_until_it_is_built(store):
    target = target_spec(seed=5)
    run = spec().model_copy(update={"target": target.id})
    records.write_failure(store, target, "the loss\nis not finite", "Traceback")
    records.write_failure(store, run, f"its target {target.id} failed: the loss is not finite")
    facts = "SELECT target_id, kind, label, seed, failure FROM targets"
    why = "the loss is not finite"
    label = "quadratic d = 3, condition 1, n = 1000, seed 5"
    assert sql.query(store, facts).rows == [(target.id, "quadratic", label, 5, why)]
    rest = "SELECT n, d, loss0, grad_norm, min_eigenvalue, llc_known, llc_known_reason FROM targets"
    assert sql.query(store, rest).rows == [(None,) * 7]
    ((text, made),) = sql.query(store, "SELECT spec, created_at FROM targets").rows
    assert TargetSpec.model_validate_json(text) == target and made is not None
    joined = "SELECT verdict, kind, failure FROM llc JOIN targets USING (target_id)"
    assert sql.query(store, joined).rows == [("failed", "quadratic", why)]
    assert records.read_failure(store, target.id) == why
    meta = {"label": "a bowl", "n": 1000, "d": 3, "loss0": 0.0}
    built = store.path("targets", target.id) / "target.parquet"
    records.write("targets", [records.target_row(target, meta)], built)
    facts = "SELECT label, n, failure FROM targets"
    assert sql.query(store, facts).rows == [("a bowl", 1000, None)], "before the note is gone"
    records.clear_failure(store, target.id)
    assert sql.query(store, facts).rows == [("a bowl", 1000, None)]


def test_failures_of_runs_and_of_targets_are_distinguished(store):
    records.write_failure(store, spec(), "a run")
    records.write_failure(store, target_spec(), "a target")
    built = target_spec(seed=1)
    path = store.path("targets", built.id) / "target.parquet"
    records.write("targets", [records.target_row(built, {"label": "built"})], path)
    assert sql.query(store, "SELECT run_id, reasons FROM llc").rows == [(spec().id, ["a run"])]
    assert sorted(sql.query(store, "SELECT target_id, failure FROM targets").rows) == sorted(
        [(target_spec().id, "a target"), (built.id, None)]
    )
    types = {row[0]: row[1] for row in sql.query(store, "DESCRIBE targets").rows}
    assert types["failure"] == types["label"] == "VARCHAR" and types["n"] == "BIGINT"
    records.clear_failure(store, target_spec().id)
    empty = sql.query(store, "DESCRIBE targets").rows
    assert {row[0]: row[1] for row in empty} == types


def test_failure_records_of_older_versions_can_be_read(store):
    target = target_spec()
    row = {"target_id": target.id, "seed": 0, "verdict": "failed", "reasons": ["an old reason"]}
    records.write("llc", [row], records.failure_path(store, target.id))
    sql.refresh(store)
    found = "SELECT target_id, seed, kind, failure FROM targets"
    assert sql.query(store, found).rows == [(target.id, 0, None, "an old reason")]


def test_garbage_collection_keeps_the_empty_files_of_the_views(store):
    sql.refresh(store)
    records.write_failure(store, target_spec(), "a target", "Traceback")
    records.write_failure(store, spec(), "a run")
    later = datetime.now(UTC) + timedelta(days=1)
    gone = {path.name for path in orphans(store, {spec().id}, later)}
    id = target_spec().id
    assert gone == {f"{id}.parquet", f"{id}.txt"}


def test_an_incomplete_folder_is_not_read(store):
    add_run(store, spec(), llc=1.0)
    shutil.copytree(
        store.path("analyses", spec().id), store.root / "analyses" / f".tmp-{spec().id}-x-1-y"
    )
    assert len(sql.query(store, "SELECT * FROM llc").rows) == 1


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


def test_an_invalid_database_file_is_rewritten(store):
    store.root.mkdir()
    (store.root / "llc.duckdb").write_text("garbage")
    assert not sql.is_fresh(store)
    sql.refresh(store)
    assert sql.is_fresh(store)


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
    records.write_asked(store, "small", "small")
    file = views.quoted(store.root / "experiments" / "small.json")
    assert sql.query(store, statement.format(file)).names


def test_unsafe_allows_to_write_a_file(store, tmp_path):
    file = tmp_path / "llc.csv"
    sql.query(store, f"copy (select 1 as one) to '{file}'", unsafe=True)
    assert file.read_text().split() == ["one", "1"]


def test_a_folder_in_place_of_a_file_gives_way(store):
    sql.refresh(store)
    for name in ("llc.duckdb", "analyses/_schema/draws.parquet", "failures/_run_schema.parquet"):
        (store.root / name).unlink()
        (store.root / name).mkdir()
    assert not sql.is_fresh(store)
    sql.refresh(store)
    assert sql.is_fresh(store) and sql.query(store, "from draws").rows == []


def test_an_empty_query_is_refused_in_one_line(store):
    with pytest.raises(ValueError, match=r'^the query is empty; write one, such as "from llc"$'):
        sql.query(store, "  ")


@pytest.mark.parametrize("cut", [slice(0, 40), slice(0, -9)])
@pytest.mark.parametrize("kind", ["analysis", "failure", "membership"])
def test_a_damaged_file_is_left_out_and_named_with_its_reason(store, kind, cut):
    runs = [run_spec(seed) for seed in (1, 2)]
    for spec in runs:
        row = {"run_id": spec.id, "llc": 1.0, "verdict": "ok"}
        records.write("llc", [row], store.path("analyses", spec.id) / "estimate.parquet")
    records.write_failure(store, run_spec(3), "no")
    records.write_failure(store, run_spec(4), "no")
    records.write_experiment(store, "e", [("t", spec.id) for spec in runs])
    sql.refresh(store)
    assert sql.query(store, "SELECT count(*) FROM llc").rows == [(4,)]
    path, left = {
        "analysis": (store.path("analyses", runs[1].id) / "estimate.parquet", 3),
        "failure": (records.failure_path(store, run_spec(4).id), 3),
        "membership": (store.root / "experiments" / "e.parquet", 4),
    }[kind]
    path.write_bytes(path.read_bytes()[cut])
    found = sql.query(store, "SELECT run_id, experiment FROM llc")
    assert len(found.rows) == left
    assert found.left_out == [path]
    assert ("e" in {row[1] for row in found.rows}) == (kind != "membership")


def run_spec(seed):
    at = {"posterior": PosteriorSpec(loss="own"), "seed": seed, "dtype": "float32"}
    return RunSpec(target=f"tgt_{0:012x}", sampler=Sgld(), **at)


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
