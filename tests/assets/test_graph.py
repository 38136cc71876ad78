"""The graph in the UI, and the definitions that it is built from."""

import dagster as dg
import pytest
import yaml

from lambda_hat_assets.project.project import CODE_VERSION
from tests.assets.conftest import ROOT, node


@pytest.fixture
def repository(site, built):
    site.experiment(target_seeds=(0, 1), samplers=("nuts", "sgld"))
    return built(site.project())


def test_the_graph_has_the_stages_of_an_experiment(repository):
    parents = {
        key.to_user_string(): {parent.to_user_string() for parent in node_.parent_keys}
        for key, node_ in ((key, repository.asset_graph.get(key)) for key in ALL)
    }
    assert parents["runs/nuts"] == parents["runs/sgld"] == {"targets"}
    assert parents["analyses/nuts"] == {"runs/nuts"}
    for each in ("galleries", "experiments"):
        assert parents[each] == {"analyses/nuts", "analyses/sgld"}
    assert parents["llc_results"] == {"galleries", "analyses/nuts", "analyses/sgld"}
    assert {key for key in repository.asset_graph.get_all_asset_keys()} == ALL


ALL = {
    dg.AssetKey(path.split("/"))
    for path in [
        *"targets runs/nuts runs/sgld analyses/nuts analyses/sgld".split(),
        *"galleries experiments llc_results".split(),
    ]
}


def test_every_asset_has_a_description(repository):
    for key in ALL:
        asset = repository.asset_graph.get(key)
        assert asset.description.endswith("."), key
        assert ". " not in asset.description, key
        assert asset.group_name in ("targets", "nuts", "sgld", "results")
        assert asset.kinds
        assert asset.code_version == CODE_VERSION, key
        assert {"fields", "dagster/column_schema"} & asset.metadata.keys(), key
    for kind in ("runs", "analyses"):
        asset = node(repository, kind, "sgld")
        assert asset.tags["lambda_hat/dtype"] == "float32"
        assert asset.pools == {"lambda_hat_float32"}


def test_runs_depend_on_their_own_target(repository, site):
    runs = site.project().runs
    mapping = node(repository, "runs", "nuts").partition_mappings[dg.AssetKey("targets")]
    up, down = node(repository, "targets"), node(repository, "runs", "nuts")
    for run, spec in runs.items():
        if spec.sampler.kind != "nuts":
            continue
        found = mapping.get_upstream_mapped_partitions_result_for_partitions(
            down.partitions_def.subset_with_partition_keys([run]),
            down.partitions_def,
            up.partitions_def,
        )
        assert set(found.partitions_subset.get_partition_keys()) == {spec.target}


def test_checks_are_partitioned_and_are_those_of_the_core(repository):
    from lambda_hat_core.analysis.checks import CHECK_NAMES

    keys = repository.asset_graph.asset_check_keys
    analyses = [key for key in keys if key.asset_key == dg.AssetKey(["analyses", "nuts"])]
    assert {key.name for key in analyses} == set(CHECK_NAMES)
    assert {key.name for key in keys if key.asset_key == dg.AssetKey("targets")} == {"minimum"}
    for key in keys:
        check = repository.asset_graph.get(key)
        assert check.partitions_def == repository.asset_graph.get(key.asset_key).partitions_def


def test_a_sampler_in_its_other_precision_has_separate_assets(site, built):
    path = site.experiment(samplers=("sgld",))
    content = yaml.safe_load(path.read_text())
    content["samplers"].append({"name": "sgld", "seed": 1, "dtype": "float64"})
    path.write_text(yaml.safe_dump(content))
    repository = built(site.project())
    for name, dtype in (("sgld", "float32"), ("sgld_float64", "float64")):
        asset = node(repository, "runs", name)
        assert asset.tags["lambda_hat/dtype"] == dtype
        assert asset.group_name == "sgld"
        assert len(asset.partitions_def.get_partition_keys()) == 1


def test_a_backfill_batches_keys(repository):
    policy = node(repository, "runs", "nuts").backfill_policy
    assert policy.max_partitions_per_run > 1


def test_the_launchpad_opens_with_what_a_person_chooses(repository):
    job = repository.get_job("llc")
    opened = {"experiment": "default", "overrides": [], "set": []}
    assert job.run_config["ops"]["plan"]["config"] == opened


def test_dagster_dev_without_the_projects_env_file_says_why_it_cannot_start(
    site, monkeypatch, capsys
):
    from lambda_hat_assets import definitions

    site.experiment()
    project = site.project()
    monkeypatch.setenv("DAGSTER_MODULE_NAME", "lambda_hat_assets")
    definitions._tell(project)
    assert "DAGSTER_MODULE_NAME" not in capsys.readouterr().err
    monkeypatch.setenv("DAGSTER_IS_DEV_CLI", "1")
    definitions._tell(project)
    assert "unset it, or copy the project's .env" in capsys.readouterr().err


def test_the_sensor_launches_llc_when_a_file_changes(site, repository, monkeypatch):
    from lambda_hat_assets.jobs import sensors

    monkeypatch.setattr(sensors, "CONFIG", site.config)
    sensor = repository.get_sensor_def("config_changed")
    assert sensor.default_status == dg.DefaultSensorStatus.STOPPED

    def tick(cursor):
        with dg.build_sensor_context(instance=site.instance, cursor=cursor) as context:
            found = sensor.evaluate_tick(context)
        return found.run_requests, found.cursor

    requests, cursor = tick(None)
    assert not requests
    assert not tick(cursor)[0]
    site.experiment("new", target_seeds=(9,))
    assert len(tick(cursor)[0]) == 1


def test_the_shipped_experiments_load_as_in_the_browser():
    from lambda_hat_assets.definitions import build, compute
    from lambda_hat_assets.project.project import load_project

    project = load_project({}, ROOT / "config")
    dg.Definitions.validate_loadable(build(project, compute(project)))


def test_every_job_says_what_it_does(repository):
    jobs = [job for job in repository.get_all_jobs() if not job.name.startswith("__")]
    assert len(jobs) == 8
    assert all((job.description or "").endswith(".") for job in jobs)


def test_people_find_runs_by_the_words_of_what_they_make(site, built):
    site.experiment(target_seeds=(0, 1), seeds=(1, 2))
    site.card(max_concurrent=1)
    project = site.project()
    repository = built(project)
    assert repository.get_job("llc").execute_in_process(instance=site.instance).success
    run = next(iter(project.runs))
    clicked = repository.get_job("nuts")
    assert clicked.execute_in_process(instance=site.instance, partition_key=run).success
    (newest, *_), *others = (
        site.instance.get_runs(dg.RunsFilter(job_name=name)) for name in ("nuts", "targets", "llc")
    )
    spec = project.runs[run]
    assert newest.tags["lambda_hat/label"] == project.labels[run]
    assert newest.tags["lambda_hat/target"] == project.labels[spec.target]
    assert newest.tags["lambda_hat/sampler"] == "nuts"
    (targets,), (llc,) = others
    assert "seed 0; " in targets.tags["lambda_hat/target"]
    assert targets.tags["lambda_hat/label"].endswith(", and 1 more")
    for found in (newest, targets, llc):
        assert found.tags["lambda_hat/experiment"] == "default"
        shown = {name for name in found.tags if not name.startswith((".dagster/", "dagster/"))}
        assert {name.partition("/")[0] for name in shown} == {"lambda_hat"}
        assert not shown & {"lambda_hat/process", "lambda_hat/llc"}
