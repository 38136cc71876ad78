"""The llc job with a worker that computes nothing: artifacts, reuse, failures and messages."""

import dagster as dg

from tests.assets.conftest import out_of_sync


def llc(site, repository, **config):
    return repository.get_job("llc").execute_in_process(
        instance=site.instance,
        run_config={"ops": {"plan": {"config": config}}},
        raise_on_error=False,
    )


def partitions(site, *path):
    return site.instance.get_materialized_partitions(dg.AssetKey(path))


def test_every_partition_is_materialised_in_a_batch_and_made_once(site, built):
    site.experiment(target_seeds=(0, 1), samplers=("nuts", "sgld"))
    project = site.project()
    assert llc(site, built(project)).success
    assert partitions(site, "targets") == set(project.targets)
    for kind in ("runs", "analyses"):
        made = partitions(site, kind, "nuts") | partitions(site, kind, "sgld")
        assert made == set(project.runs)
    (batch,) = site.instance.get_runs(dg.RunsFilter(job_name="nuts"))
    ends = [batch.tags[f"dagster/asset_partition_range_{end}"] for end in ("start", "end")]
    assert sorted(ends) == sorted(key for key in project.runs if "nuts" in key)
    before = site.calls()
    assert len(before) == 2 + 2 * 4
    assert llc(site, built(project)).success
    assert site.calls() == before


def steps(result):
    return sorted(event.step_key for event in result.all_events if event.is_step_success)


def test_a_step_is_started_for_each_worker_that_saves_time(site, built):
    site.experiment(name="one", seeds=(1, 2))
    site.experiment(name="two", samplers=("nuts", "sgld"), seeds=(3,))
    repository = built(site.project(LAMBDA_HAT_EXPERIMENT="one"))
    sharing = ["share_runs", "share_targets"]
    first = ["plan", "report", "runs_float64[1]", *sharing, "targets_float64[1]"]
    assert steps(llc(site, repository)) == first
    found = steps(llc(site, repository, experiment="two"))
    assert found == ["plan", "report", "runs_float32[1]", "runs_float64[1]", *sharing]
    assert steps(llc(site, repository)) == ["plan", "report", *sharing]


def test_each_dtype_has_its_own_process(site, built):
    site.experiment(samplers=("nuts", "sgld"))
    llc(site, built(site.project()))
    x64 = {(key.split("_")[1], kind): bit for key, kind, bit in site.calls()}
    assert x64[("nuts", "runs")] == "1"
    assert x64[("sgld", "runs")] == "0"
    assert {bit for key, kind, bit in site.calls() if kind == "targets"} == {"1"}


def test_a_failing_run_is_a_row_with_its_reason_and_affects_no_other(site, built_local):
    from lambda_hat_core.store import sql

    site.experiment(seeds=(1, 13, 14))
    project = site.project()
    result = llc(site, built_local(project))
    assert not result.success
    by_seed = {spec.seed: id for id, spec in project.runs.items()}
    assert partitions(site, "analyses", "nuts") == {by_seed[1]}
    with sql.connect(project.store) as connection:
        rows = connection.execute("SELECT seed, verdict, reasons[1] FROM llc").fetchall()
    found = {seed: (verdict, reason) for seed, verdict, reason in rows}
    assert found[1][0] == "ok"
    assert found[13] == ("failed", "seed 13 always fails")
    assert found[14][0] == "failed"
    assert "signal 6" in found[14][1]
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert failure.step_key == "report"
    started = {event.step_key for event in result.all_events if event.is_step_start}
    making = {"targets_float64[1]", "runs_float64[1]"}
    assert started == {"plan", "share_targets", "share_runs", "report", *making}
    assert by_seed[13] in failure.step_failure_data.error.message


def test_damaged_records_and_leftovers_do_not_stop_the_job(site, built):
    from lambda_hat_core.store import failures, lease, process

    site.experiment(target_seeds=(0, 13))
    project = site.project()
    assert not llc(site, built(project)).success
    (failed,) = [id for id, spec in project.targets.items() if spec.seed == 13]
    damaged = failures.failure_path(project.store, failed)
    damaged.write_bytes(damaged.read_bytes()[:-9])
    members = project.store.root / "experiments" / "other.parquet"
    members.write_bytes(b"PAR1")
    left = project.store.root / "failures" / f".tmp-x-{process.host()}-999999999-ab"
    left.touch()
    held = project.store.lease_path("runs", "run_x")
    lease._create(held, lease.Owner(process.host(), 999_999_999, "1", "token"))
    site.experiment(target_seeds=(0,))
    result = llc(site, built(site.project()))
    assert result.success
    assert not left.exists() and not held.exists()


def test_a_failed_target_blocks_only_its_own_runs(site, built):
    from lambda_hat_core.store import failures

    site.experiment(target_seeds=(0, 13))
    project = site.project()
    assert not llc(site, built(project)).success
    made = partitions(site, "analyses", "nuts")
    assert {project.targets[project.runs[run].target].seed for run in made} == {0}
    (blocked,) = set(project.runs) - made
    reason = failures.read_failure(project.store, blocked)
    assert reason.endswith("failed: seed 13 always fails")


def test_a_target_that_fails_or_dies_is_a_row_with_its_reason(site, built_local):
    from lambda_hat_core.store import sql

    site.experiment(target_seeds=(0, 13, 14))
    project = site.project()
    assert not llc(site, built_local(project)).success
    found = sql.query(
        project.store,
        "SELECT targets.seed, kind, targets.label, failure, verdict, count(*) "
        "FROM targets JOIN llc USING (target_id) GROUP BY ALL ORDER BY 1",
    )
    built, failed, died = (row[1:] for row in found.rows)
    assert built[0] == "quadratic" and built[2:] == (None, "ok", 1)
    label = "quadratic d = 3, condition 1, n = 1000, seed 13"
    assert failed == ("quadratic", label, "seed 13 always fails", "failed", 1)
    assert "signal 6" in died[2] and died[3] == "failed"


def test_artifacts_unknown_to_dagster_are_recorded_without_computing(site, built):
    site.experiment()
    project = site.project()
    llc(site, built(project))
    before = site.calls()
    with dg.DagsterInstance.ephemeral() as other:
        result = built(project).get_job("llc").execute_in_process(instance=other)
        assert result.success
        assert other.get_materialized_partitions(dg.AssetKey("targets")) == set(project.targets)
        key = dg.AssetKey(["analyses", "nuts"])
        assert other.get_materialized_partitions(key) == set(project.runs)
        event = other.get_latest_materialization_event(key)
        assert event.asset_materialization.metadata["reused"].value is True
    assert site.calls() == before


def test_only_a_deleted_folder_is_made_again(site, built):
    site.experiment(seeds=(1, 2))
    project = site.project()
    llc(site, built(project))
    gone = min(project.runs)
    project.store.remove("runs", gone)
    project.store.remove("analyses", gone)
    before = site.calls()
    assert llc(site, built(project)).success
    assert [call[:2] for call in site.calls()[len(before) :]] == [
        (gone, "runs"),
        (gone, "analyses"),
    ]


def test_a_partition_run_makes_deleted_artifacts_and_reuses_the_others(site, built):
    site.experiment(seeds=(1, 2))
    project = site.project()
    llc(site, built(project))
    gone = min(project.runs)
    project.store.remove("analyses", gone)
    before = site.calls()
    clicked = built(project).get_job("nuts")
    assert clicked.execute_in_process(instance=site.instance, partition_key=gone).success
    assert [call[:2] for call in site.calls()[len(before) :]] == [(gone, "analyses")]
    told = [site.instance.get_latest_materialization_event(key) for key in NUTS]
    reused = [event.asset_materialization.metadata["reused"].value for event in told]
    assert reused == [True, False]


NUTS = (dg.AssetKey(["runs", "nuts"]), dg.AssetKey(["analyses", "nuts"]))


def test_only_a_failed_partition_is_run_again(site, built_local):
    site.experiment(seeds=(1, 13))
    project = site.project()
    repository = built_local(project)
    assert not llc(site, repository).success
    (bad,) = [id for id, spec in project.runs.items() if spec.seed == 13]
    before = site.calls()
    again = repository.get_job("nuts").execute_in_process(
        instance=site.instance, partition_key=bad, raise_on_error=False
    )
    assert not again.success
    assert {call[0] for call in site.calls()[len(before) :]} == {bad}


def test_partitions_stay_in_sync_when_their_target_is_reported_again(site, built):
    site.experiment(target_seeds=(0, 1), samplers=("nuts", "sgld"))
    project = site.project()
    repository = built(project)
    assert llc(site, repository).success
    clicked = repository.get_job("targets")
    for key in project.targets:
        assert clicked.execute_in_process(instance=site.instance, partition_key=key).success
    assert out_of_sync(site.instance, repository, repository.asset_graph.get_all_asset_keys()) == []


def test_editing_the_file_adds_partitions_and_keeps_the_history_of_the_old(site, built):
    site.experiment(seeds=(1, 2))
    old = site.project()
    llc(site, built(old))
    site.experiment(seeds=(2, 3))
    edited = site.project()
    (gone,), (new,) = set(old.runs) - set(edited.runs), set(edited.runs) - set(old.runs)
    before = site.calls()
    assert llc(site, built(edited)).success
    assert {call[0] for call in site.calls()[len(before) :]} == {new}
    assert partitions(site, "analyses", "nuts") == {gone, new, *(set(old.runs) - {gone})}


def test_run_config_may_name_another_loaded_experiment(site, built):
    site.experiment()
    site.experiment("other", target_seeds=(5,))
    project = site.project()
    repository = built(project)
    assert llc(site, repository, experiment="other").success
    assert partitions(site, "targets") == set(project.plans["other"].targets)
    wrong = llc(site, repository, experiment="othr")
    (failure,) = [event for event in wrong.all_events if event.is_step_failure]
    assert 'experiment is "othr": no experiment of that name' in str(
        failure.step_failure_data.error.cause.message
    )


def test_a_failing_key_does_not_stop_the_others_of_its_batch(site, built):
    site.experiment(seeds=(*range(100, 109), 13), samplers=("sgld",))
    site.card(max_concurrent=1)
    project = site.project()
    assert not llc(site, built(project)).success
    (bad,) = [id for id, spec in project.runs.items() if spec.seed == 13]
    assert partitions(site, "analyses", "sgld") == set(project.runs) - {bad}
    runs = site.instance.get_runs(dg.RunsFilter(job_name="sgld"))
    assert [run.status for run in runs] == [dg.DagsterRunStatus.FAILURE]
    for asset in ("runs", "analyses"):
        unmade = site.instance.event_log_storage
        left = unmade.get_latest_asset_partition_materialization_attempts_without_materializations(
            dg.AssetKey([asset, "sgld"])
        )
        assert set(left) == {bad}
    checks = site.instance.event_log_storage.get_asset_check_execution_history(
        dg.AssetCheckKey(dg.AssetKey(["analyses", "sgld"]), "finite"), limit=20
    )
    events = [record.event.dagster_event for record in checks if record.event]
    made = [event for event in events if event.event_type_value == "ASSET_CHECK_EVALUATION"]
    passed = {event.asset_check_evaluation_data.partition for event in made}
    assert passed == set(project.runs) - {bad}


def test_a_line_says_whether_the_reference_is_the_exact_value_or_lambda():
    from lambda_hat_assets.jobs.report import ReportRow, table

    ours = ReportRow("run_a", "tgt_a", "nuts", 2.8, 0.1, 2.809, 5.0, "ok", [])
    (_, exact) = table([ours], {})
    (_, known) = table([ours._replace(oracle=None)], {})
    assert "+- 0.1  exact 2.809  ok" in exact and "lambda" not in exact
    assert "+- 0.1  known lambda 5  ok" in known
