import json

import pytest

from lambda_hat_core.store import failures, sql
from lambda_hat_core.store.store import Store
from lambda_hat_core.work import making, outcomes
from tests.core.fake_numerics import FakeTargets, fake_expected, fake_sample, run, target


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "home")


@pytest.fixture(autouse=True)
def numerics(monkeypatch):
    """Replace the numerics during a test."""
    import sys

    import lambda_hat_core
    from lambda_hat_core import precision
    from lambda_hat_core import sample as sampling
    from lambda_hat_core.analysis.figures import run as figures
    from lambda_hat_core.work import timing

    fake = FakeTargets("lambda_hat_core.targets")
    monkeypatch.setitem(sys.modules, fake.__name__, fake)
    monkeypatch.setattr(lambda_hat_core, "targets", fake, raising=False)
    monkeypatch.setattr(sampling, "sample", fake_sample)
    monkeypatch.setattr(timing, "expected", fake_expected)
    monkeypatch.setattr(precision, "require", lambda dtype: None)
    monkeypatch.setattr(figures, "draw_figures", lambda trace, found, folder, **rest: [])


def make(store, spec, log=lambda line: None):
    making.build_target(store, target(), log)
    sampled = making.sample_run(store, spec, target(), log)
    return sampled, making.analyse_run(store, spec, target(), log)


def test_the_results_of_a_run_are_in_the_store_and_in_sql(store):
    said = []
    sampled, analysed = make(store, run(), said.append)
    assert (sampled.status, analysed.status) == ("made", "made")
    for kind, names in {
        "targets": {"spec.json", "meta.json", "target.parquet", "manifest.json"},
        "runs": {"spec.json", "trace.nc", "work.json", "log.txt", "manifest.json"},
        "analyses": {"spec.json", "estimate.json", "estimate.parquet", "draws.parquet", "figures"},
    }.items():
        folder = store.path(kind, target().id if kind == "targets" else run().id)
        assert names <= {path.name for path in folder.iterdir()}
        assert store.verify(kind, folder.name) is None
    log = (store.path("runs", run().id) / "log.txt").read_text()
    assert "100% of 10 draws" in log and log.strip() in "\n".join(said)
    row = sql.query(
        store,
        "SELECT run_id, target_id, llc, llc_known, llc_oracle, loss, n, d, "
        "n_chains, n_draws, n_burn, work_fge, verdict FROM llc",
    ).rows[0]
    assert row[:2] == (run().id, target().id)
    assert row[2] == pytest.approx(analysed.record["llc"])
    assert row[3:] == (1.5, 1.5, "own", 1000, 3, 4, 20, 10, 10.0, analysed.record["verdict"])
    draws = sql.query(store, "SELECT chain, draw, llc, 100 * loss FROM draws ORDER BY ALL").rows
    assert [row[:2] for row in draws[:11]] == [(0, i) for i in range(10)] + [(1, 0)]
    assert all(row[2] == pytest.approx(row[3]) for row in draws)
    assert sum(row[2] for row in draws) / len(draws) == pytest.approx(row[2])
    assert sql.query(store, "SELECT target_id, kind, label, n, d, seed FROM targets").rows == [
        (target().id, "quadratic", "fake", 1000, 3, 0)
    ]
    spec = sql.query(store, "SELECT spec FROM targets").rows[0][0]
    assert type(target()).model_validate_json(spec) == target()


def test_second_call_reuses_and_gives_the_same_record(store):
    _, first = make(store, run())
    sampled, analysed = make(store, run())
    assert (sampled.status, analysed.status) == ("reused", "reused")
    assert analysed.record == first.record
    json.dumps(analysed.record, allow_nan=False)
    assert {check["name"] for check in analysed.record["checks"]} >= {"finite", "converged"}
    assert analysed.record["path"] == str(store.path("analyses", run().id))


@pytest.mark.parametrize(("times", "passed"), [(3.9, True), (4.1, False)])
def test_the_budget_of_a_run_is_four_times_its_forecast(store, monkeypatch, times, passed):
    from lambda_hat_core import sample as sampling

    forecast = run().sampler.work(1000)

    def costly(posterior, spec, **rest):
        return fake_sample(posterior, spec, **rest)._replace(work={"sampling": times * forecast})

    monkeypatch.setattr(sampling, "sample", costly)
    record = make(store, run())[1].record
    (check,) = (c for c in record["checks"] if c["name"] == "work_within_budget")
    assert check["passed"] is passed
    assert check["value"] == pytest.approx(times * forecast)
    assert check["threshold"] == pytest.approx(4 * forecast)


def test_the_budget_is_that_of_the_batch_that_was_used(store):
    from lambda_hat_core.config.data import NoData
    from lambda_hat_core.config.model import Custom
    from lambda_hat_core.config.spec import TargetSpec

    own = TargetSpec(model=Custom(factory="json:loads"), data=NoData())
    spec = run().model_copy(update={"target": own.id})
    making.build_target(store, own, print)
    making.sample_run(store, spec, own, print)
    checks = making.analyse_run(store, spec, own, print).record["checks"]
    (threshold,) = (c["threshold"] for c in checks if c["name"] == "work_within_budget")
    whole = spec.sampler.model_copy(update={"batch_size": None})
    assert threshold == pytest.approx(4 * whole.work(1000))
    assert threshold > 4.1 * spec.sampler.work(1000)


def test_a_non_finite_result_is_a_complete_row_and_is_not_retried(store):
    sampled, _ = make(store, run(seed=13))
    assert sampled.record["failure"] == "the loss is not finite"
    assert make(store, run(seed=13))[0].status == "reused"
    rows = sql.query(store, "SELECT llc, verdict, len(reasons) > 0 FROM llc").rows
    assert rows == [(None, "failed", True)]
    assert (
        "stopped: the loss is not finite"
        in (store.path("runs", run(seed=13).id) / "log.txt").read_text()
    )


def test_an_exception_leaves_a_row_but_no_folder_until_a_success(store, monkeypatch):
    from lambda_hat_core import sample as sampling

    spec = run(seed=14)
    with pytest.raises(RuntimeError):
        make(store, spec)
    assert store.list("runs") == ()
    assert failures.read_failure(store, spec.id) == "RuntimeError: a bug"
    assert "fake_sample" in failures.failure_path(store, spec.id).with_suffix(".txt").read_text()
    assert sql.query(store, "SELECT run_id, verdict FROM llc").rows == [(spec.id, "failed")]
    monkeypatch.setattr(
        sampling, "sample", lambda posterior, spec, **rest: fake_sample(posterior, run(), **rest)
    )
    make(store, spec)
    assert failures.read_failure(store, spec.id) is None
    assert sql.query(store, "SELECT run_id, llc > 0 FROM llc").rows == [(spec.id, True)]
    assert list(store.root.glob(f"failures/{spec.id}*")) == []


def test_a_failed_target_is_recorded_and_its_runs_name_it(store):
    with pytest.raises(FloatingPointError):
        making.build_target(store, target(9), print)
    assert failures.read_failure(store, target(9).id) == "the training loss is not finite"
    with pytest.raises(FileNotFoundError, match=f"make {target().id} first"):
        making.sample_run(store, run(), target(), print)
    facts = "SELECT target_id, kind, seed, label, failure FROM targets"
    label = "quadratic d = 3, condition 1, n = 1000, seed 9"
    assert sql.query(store, facts).rows == [
        (target(9).id, "quadratic", 9, label, "the training loss is not finite")
    ]
    assert sql.query(store, "SELECT run_id FROM llc").rows == [(run().id,)]


def test_a_target_that_is_built_later_has_no_failure_record(store, monkeypatch):
    import lambda_hat_core

    with pytest.raises(FloatingPointError):
        making.build_target(store, target(9), print)
    monkeypatch.setattr(lambda_hat_core.targets, "build", lambda spec, *rest: spec)
    making.build_target(store, target(9), print)
    facts = "SELECT target_id, label, n, failure FROM targets"
    assert sql.query(store, facts).rows == [(target(9).id, "fake", 1000, None)]
    assert list(store.root.glob("failures/tgt_*")) == []


def test_a_corrupt_run_is_made_again_with_a_message(store):
    make(store, run())
    path = store.path("runs", run().id) / "trace.nc"
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    said = []
    assert make(store, run(), said.append)[0].status == "made"
    assert any("made again: trace.nc" in line for line in said)


def test_the_checkpoint_is_deleted_after_the_run(store):
    folder = making.checkpoint_folder(store, run().id)
    folder.mkdir(parents=True)
    (folder / "state.npz").touch()
    make(store, run())
    assert not folder.exists()


def test_a_wrong_dtype_is_refused_before_anything_is_recorded(store, monkeypatch):
    from lambda_hat_core import precision

    making.build_target(store, target(), print)
    monkeypatch.undo()
    monkeypatch.setattr(
        precision, "require", lambda dtype: (_ for _ in ()).throw(ValueError(dtype))
    )
    with pytest.raises(ValueError, match="float32"):
        making.sample_run(store, run(), target(), print)
    assert not failures.failure_path(store, run().id).exists()


def test_descriptions_are_one_line():
    assert outcomes.describe(ValueError("a\n b")) == "a b"
    assert outcomes.describe(KeyError("x")) == "KeyError: 'x'"
    assert "lower n_chains" in outcomes.describe(MemoryError())
