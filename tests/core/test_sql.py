"""The views: which rows and columns there are, and when."""

import duckdb
import pytest

from lambda_hat_core.config.samplers.base import Until
from lambda_hat_core.config.samplers.tempered import Tempered
from lambda_hat_core.config.spec import TargetSpec
from lambda_hat_core.store import experiments, failures, records, sql
from lambda_hat_core.store.store import Store
from tests.core.sqlstore import COLUMNS, add_run, spec, target_spec


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
    experiments.write_experiment(store, "e", [(run.target, run.id)])
    rows = sql.query(store, "SELECT experiment, flavour, loss, n_burn, reasons FROM llc").rows
    assert rows == [("e", "adam", "mse", 400, ["because"])]


def test_a_failure_is_shown_until_there_is_an_analysis(store):
    run = spec()
    experiments.write_experiment(store, "e", [(run.target, run.id)])
    failures.write_failure(store, run, "killed by\nsignal 9")
    found = "SELECT run_id, experiment, sampler, verdict, reasons, llc FROM llc"
    assert sql.query(store, found).rows == [
        (run.id, "e", "sgld", "failed", ["killed by signal 9"], None)
    ]
    assert failures.read_failure(store, run.id) == "killed by signal 9"
    add_run(store, run, llc=1.0)
    assert sql.query(store, "SELECT verdict, llc FROM llc").rows == [("ok", 1.0)]
    failures.clear_failure(store, run.id)
    assert failures.read_failure(store, run.id) is None
    assert sql.query(store, "SELECT verdict, llc FROM llc").rows == [("ok", 1.0)]


def test_a_run_that_failed_before_its_stop_rule_ended_it_has_no_length(store):
    run = spec()
    free = run.model_copy(update={"sampler": run.sampler.model_copy(update={"until": Until()})})
    for one in (run, free):
        failures.write_failure(store, one, "killed")
    rows = sql.query(store, "SELECT n_draws, n_burn, stopped_by FROM llc ORDER BY 1").rows
    fixed = run.sampler.n_draws, run.sampler.n_burn
    assert rows == [(*fixed, "failure"), (None, None, "failure")]


def test_a_failed_target_is_shown_until_it_is_built(store):
    target = target_spec(seed=5)
    run = spec().model_copy(update={"target": target.id})
    failures.write_failure(store, target, "the loss\nis not finite", "Traceback")
    failures.write_failure(store, run, f"its target {target.id} failed: the loss is not finite")
    facts = "SELECT target_id, kind, label, seed, failure FROM targets"
    why = "the loss is not finite"
    label = "quadratic d = 3, condition 1, n = 1000, seed 5"
    assert sql.query(store, facts).rows == [(target.id, "quadratic", label, 5, why)]
    rest = "SELECT n, d, loss0, grad_norm, min_eigenvalue, llc_known, llc_known_reason FROM targets"
    assert sql.query(store, rest).rows == [(None,) * 7]
    ((text, made),) = sql.query(store, "SELECT spec, created_at FROM targets").rows
    assert TargetSpec.model_validate_json(text) == target and made is not None
    joined = "SELECT verdict, kind, failure, llc.label FROM llc JOIN targets USING (target_id)"
    words = f"sgld adam (mse, gamma 1, float32, seed 0) on {label}"
    assert sql.query(store, joined).rows == [("failed", "quadratic", why, words)]
    assert failures.read_failure(store, target.id) == why
    meta = {"label": "a bowl", "n": 1000, "d": 3, "loss0": 0.0}
    built = store.path("targets", target.id) / "target.parquet"
    records.write("targets", [records.target_row(target, meta)], built)
    facts = "SELECT label, n, failure FROM targets"
    assert sql.query(store, facts).rows == [("a bowl", 1000, None)], "before the note is gone"
    failures.clear_failure(store, target.id)
    assert sql.query(store, facts).rows == [("a bowl", 1000, None)]


def test_failures_of_runs_and_of_targets_are_distinguished(store):
    failures.write_failure(store, spec(), "a run")
    failures.write_failure(store, target_spec(), "a target")
    built = target_spec(seed=1)
    path = store.path("targets", built.id) / "target.parquet"
    records.write("targets", [records.target_row(built, {"label": "built"})], path)
    assert sql.query(store, "SELECT run_id, reasons FROM llc").rows == [(spec().id, ["a run"])]
    assert sorted(sql.query(store, "SELECT target_id, failure FROM targets").rows) == sorted(
        [(target_spec().id, "a target"), (built.id, None)]
    )
    types = {row[0]: row[1] for row in sql.query(store, "DESCRIBE targets").rows}
    assert types["failure"] == types["label"] == "VARCHAR" and types["n"] == "BIGINT"
    failures.clear_failure(store, target_spec().id)
    empty = sql.query(store, "DESCRIBE targets").rows
    assert {row[0]: row[1] for row in empty} == types


def test_failure_records_of_older_versions_can_be_read(store):
    target = target_spec()
    row = {"target_id": target.id, "seed": 0, "verdict": "failed", "reasons": ["an old reason"]}
    records.write("llc", [row], failures.failure_path(store, target.id))
    sql.refresh(store)
    found = "SELECT target_id, seed, kind, failure FROM targets"
    assert sql.query(store, found).rows == [(target.id, 0, None, "an old reason")]
