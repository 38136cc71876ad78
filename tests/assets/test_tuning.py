"""The tuning assets and the job, with a worker that computes nothing."""

import dagster as dg
import pytest
import yaml

from tests.assets.conftest import out_of_sync

# Dagster calls utcfromtimestamp for checks that the run did not plan.
pytestmark = pytest.mark.filterwarnings("ignore:.*utcfromtimestamp:DeprecationWarning")

REFERENCE, STUDY, TRIALS = (
    dg.AssetKey(["tuning", name]) for name in ("reference", "study", "trials")
)
FILE = {
    "problems": [{"name": "bowl", "model": {"kind": "quadratic", "d": 3}}],
    "methods": ["sgld", {"name": "mclmc", "seed": 5}],
    "max_trials_per_method": 3,
    "seeds_per_trial": 2,
    "concurrency": {"per_executor": {"float32": 1, "float64": 1}},
    "search_space": {
        "sgld": {"step_fraction": {"dist": "float", "low": 0.1, "high": 2.0}},
        "mclmc": {"n_tune": {"dist": "int", "low": 100, "high": 3000}},
    },
}


@pytest.fixture
def tuned(site):
    """A function that writes config/tune/demo.yaml and returns the project."""

    def write(**changes):
        site.experiment()
        path = site.config / "tune" / "demo.yaml"
        path.parent.mkdir()
        path.write_text(yaml.safe_dump(FILE | changes))
        return site.project(LAMBDA_HAT_TUNE="demo")

    return write


def tune(site, repository, **config):
    return repository.get_job("tune").execute_in_process(
        instance=site.instance,
        run_config={"ops": {"studies": {"config": config}}},
        raise_on_error=False,
    )


def partitions(site, key):
    return site.instance.get_materialized_partitions(key)


def metadata(site, key):
    event = site.instance.get_latest_materialization_event(key)
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


def test_one_command_makes_references_studies_presets_and_rows(site, tuned, built):
    from lambda_hat_core.store import sql

    project = tuned()
    plan = project.studies.plan(None, [])
    repository = built(project)
    assert tune(site, repository).success
    assert out_of_sync(site.instance, repository, [REFERENCE, STUDY, TRIALS]) == []
    assert partitions(site, REFERENCE) == set(plan.problems)
    assert partitions(site, STUDY) == set(plan.studies)
    assert metadata(site, REFERENCE)["certified"] is True
    shown = metadata(site, STUDY)
    assert shown["trials"] == 3 and shown["llc"] == 1.5
    assert {"history", "importance", "slice", "error_against_work"} <= shown.keys()
    assert metadata(site, TRIALS)["trials"] == 6
    rows = sql.query(
        project.store, "select method, count(*) from trials group by 1 order by 1"
    ).rows
    assert rows == [("mclmc", 3), ("sgld", 3)]
    ((joined,),) = sql.query(
        project.store,
        "select count(*) from trials join llc on contains(trials.run_id, llc.run_id)",
    ).rows
    assert joined == 12
    preset = project.store.root / "best" / "bowl" / "sgld.yaml"
    assert yaml.safe_load(preset.read_text())["kind"] == "sgld"
    page = (project.store.path("galleries", "tuning-demo") / "index.html").read_text()
    assert "sgld on bowl" in page and page.count("<img") == 8
    calls = site.calls()
    assert tune(site, built(project)).success and site.calls() == calls


def test_a_dry_run_prints_what_would_be_done_and_does_nothing(site, tuned, built, capfd):
    project = tuned()
    result = tune(site, built(project), dry_run=True, set=["max_trials_per_method=7"])
    assert result.success
    assert not (project.store.root / "tuning").exists()
    said = capfd.readouterr().err
    assert "max_trials_per_method: 7" in said and "float64 -> local" in said
    assert "studies: 2; runs: 28 at most; references: 1" in said


def test_overrides_make_other_studies(site, tuned, built):
    project = tuned()
    words = ["objective.type=certificate", "methods=[sgld]"]
    words += ["search_space={sgld: {thin: {dist: int, low: 1, high: 99}}}"]
    assert tune(site, built(project), set=words).success
    (study,) = partitions(site, STUDY)
    assert study not in project.studies.studies()
    assert partitions(site, REFERENCE) == set()
    assert metadata(site, STUDY)["objective"] == pytest.approx(0.01)


def test_the_assets_of_tuning_make_the_same_as_the_job(site, tuned, built):
    project = tuned()
    job = built(project).get_job("__ASSET_JOB")
    (problem,) = project.studies.problems()
    for key, partition in ((REFERENCE, problem), (STUDY, next(iter(project.studies.studies())))):
        result = job.execute_in_process(
            instance=site.instance,
            asset_selection=[key],
            partition_key=partition,
        )
        assert result.success
        assert partitions(site, key) == {partition}
    check = dg.AssetCheckKey(REFERENCE, "certified")
    (found,) = site.instance.event_log_storage.get_asset_check_execution_history(check, limit=1)
    assert found.status.value == "SUCCEEDED"


def test_studies_are_in_the_graph_when_they_are_selected_or_begun(site, tuned, built):
    tuned()
    unasked = built(site.project())
    assert STUDY not in unasked.asset_graph.get_all_asset_keys()
    assert tune(site, unasked).success
    begun = built(site.project()).asset_graph
    assert REFERENCE in begun.get_all_asset_keys()
    assert partitions(site, STUDY) <= set(begun.get(STUDY).partitions_def.get_partition_keys())


def test_a_mistake_is_printed_and_affects_nothing_else(site, tuned, built, capfd):
    project = tuned(budget={"trial_sec": -1})
    assert "budget.trial_sec is -1: must be > 0" in project.studies.mistakes["demo"]
    repository = built(project)
    assert repository.get_job("llc") is not None
    assert not tune(site, repository).success
    assert "budget.trial_sec is -1" in capfd.readouterr().err


def test_budgets_must_fit_into_the_cards_walltimes(tuned):
    from types import SimpleNamespace

    from lambda_hat_assets.project.studies import check_budgets
    from lambda_hat_core.config.errors import ConfigError

    plan = tuned().studies.plan(None, ["budget.reference_sec=500", "budget.trial_sec=50"])

    def card(seconds):
        return SimpleNamespace(tag=lambda dtype: SimpleNamespace(seconds=seconds))

    check_budgets(plan, card(500))
    with pytest.raises(ConfigError) as caught:
        check_budgets(plan, card(100))
    (line,) = caught.value.lines
    assert "budget.reference_sec is 500.0: the card's jobs of float64 end after 100 s" in line


def test_a_failing_method_does_not_stop_the_others(site, tuned, built):
    from lambda_hat_core.store import sql

    project = tuned(methods=["sgld", {"name": "mclmc", "seed": 13}], seeds_per_trial=1)
    result = tune(site, built(project))
    assert not result.success
    rows = sql.query(project.store, "select distinct method, state, reason from trials").rows
    assert sorted(rows, key=str) == [
        ("mclmc", "failed", "seed 13 always fails"),
        ("sgld", "complete", None),
    ]


def test_a_trial_as_a_job_is_made_or_gives_the_reason(site, tmp_path, monkeypatch):
    from lambda_hat_assets.compute.trials import Jobs
    from lambda_hat_core.store.store import Store
    from lambda_hat_core.tuning.search import runs_of
    from tests.assets.conftest import FakeBackend

    monkeypatch.setattr("lambda_hat_assets.compute.trials.replay", lambda store, spec, steer: None)
    site.experiment()
    (site.config / "tune").mkdir()
    (site.config / "tune" / "demo.yaml").write_text(yaml.safe_dump(FILE))
    store = Store(tmp_path / "runs")
    plan = site.project().studies.plan(None, [])
    (problem,) = plan.problems.values()
    study = next(iter(plan.studies.values()))
    jobs = Jobs(None, store, lambda dtype: FakeBackend(store, dtype))
    jobs.build(problem.target)
    assert store.is_complete("targets", problem.target.id)
    for seed, status in ((0, "done"), (13, "failed")):
        spec = study.spec.model_copy(update={"seed": seed, "seeds_per_trial": 1})
        (run,) = runs_of(spec, {"thin": 2})
        ran = jobs.run(run, problem.target, lambda at: None, 1.0)
        assert ran.status == status
    assert ran.reason == "seed 13 always fails"
    calls = site.calls()
    again = jobs.run(runs_of(study.spec, {"thin": 2})[0], problem.target, lambda at: None, 1.0)
    assert again.reused and again.work_fge == 10.0 and site.calls() == calls
