"""The graph in the UI, and the definitions that it is built from."""

import dagster as dg
import pytest
import yaml

from lambda_hat_assets.project.project import CODE_VERSION
from lambda_hat_core.config.errors import ConfigError
from lambda_hat_core.store import experiments, sql
from lambda_hat_core.store.damaged import read_asked
from tests.assets.conftest import ROOT, out_of_sync


@pytest.fixture
def repository(site, built):
    site.experiment(target_seeds=(0, 1), samplers=("nuts", "sgld"))
    return built(site.project())


def node(repository, *path):
    return repository.asset_graph.get(dg.AssetKey(path))


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


def test_an_invalid_file_does_not_affect_the_others(site, built):
    site.experiment()
    site.experiment("broken").write_text("targets: [")
    project = site.project()
    assert set(project.plans) == {"default"}
    assert "broken.yaml:2: not valid YAML" in project.problems["broken"]
    assert project.plan(None).experiment == "default"
    assert len(node(built(project), "targets").partitions_def.get_partition_keys()) == 1


def test_an_invalid_or_missing_selected_file_is_refused(site):
    from lambda_hat_core.config.errors import ConfigError

    site.experiment()
    broken = site.experiment("broken")
    broken.write_text("targets: [")
    with pytest.raises(ConfigError, match=r"broken\.yaml:2: not valid YAML"):
        site.project(LAMBDA_HAT_EXPERIMENT=str(broken)).plan(None)
    with pytest.raises(ConfigError, match=r'LAMBDA_HAT_EXPERIMENT is "defualt".*did you mean'):
        site.project(LAMBDA_HAT_EXPERIMENT="defualt").plan(None)
    with pytest.raises(ConfigError, match='LAMBDA_HAT_CARD is "nope": no such card'):
        site.project(LAMBDA_HAT_CARD="nope").plan(None)


def test_an_experiment_outside_config_is_loaded_with_the_others(site, tmp_path):
    site.experiment()
    other = site.experiment("other", target_seeds=(7,))
    elsewhere = tmp_path / "elsewhere.yaml"
    other.rename(elsewhere)
    project = site.project(LAMBDA_HAT_EXPERIMENT=str(elsewhere))
    assert project.selected == "other"
    assert set(project.plans) == {"default", "other"}
    assert len(project.targets) == 2


def test_partitions_follow_the_files_and_not_the_selected_experiment(site):
    site.experiment("a", target_seeds=(1, 2))
    site.experiment("b", target_seeds=(2, 3))
    orders = [list(site.project(LAMBDA_HAT_EXPERIMENT=name).targets) for name in "ab"]
    assert orders[0] == orders[1]


def keys(repository, *path):
    return set(node(repository, *path).partitions_def.get_partition_keys())


def test_the_graph_has_what_was_asked_for_and_nothing_else(site, built):
    site.experiment(target_seeds=(0, 1))
    site.experiment("other", target_seeds=(1, 2), samplers=("sgld",))
    project = site.project()
    repository = built(project)
    assert keys(repository, "galleries") == {"default"}
    assert keys(repository, "targets") == set(project.plans["default"].targets)
    assert dg.AssetKey(["runs", "sgld"]) not in repository.asset_graph.get_all_asset_keys()

    def llc(**config):
        return repository.get_job("llc").execute_in_process(
            instance=site.instance, run_config={"ops": {"plan": {"config": config}}}
        )

    assert llc().success
    assert out_of_sync(site.instance, repository, repository.asset_graph.get_all_asset_keys()) == []
    assert left(site, built(site.project())) == set()
    assert llc(experiment="other").success
    repository = built(site.project())
    assert keys(repository, "galleries") == {"default", "other"}
    assert keys(repository, "targets") == set(project.targets)
    assert left(site, repository) == set()
    assert llc(experiment="other", overrides=["posterior.gamma=5"]).success
    changed = site.project()
    repository = built(changed)
    name = "other_posterior.gamma=5"
    assert keys(repository, "galleries") == {"default", "other", name}
    assert {spec.posterior.gamma for spec in changed.plans[name].runs.values()} == {5.0}
    assert left(site, repository) == set()
    with sql.connect(project.store) as connection:
        found = connection.execute("SELECT experiment, count(*) FROM llc GROUP BY 1 ORDER BY 1")
        assert found.fetchall() == [("default", 2), ("other", 4)]


def test_changes_that_do_not_fit_are_refused_and_ask_for_nothing(site, built):
    site.experiment()
    job = built(site.project()).get_job("llc")
    config = {"ops": {"plan": {"config": {"overrides": ["posterior.gama=5"]}}}}
    result = job.execute_in_process(instance=site.instance, raise_on_error=False, run_config=config)
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert "posterior.gama" in str(failure.step_failure_data.error.cause.message)
    assert read_asked(site.project().store) == {}


def test_the_launchpad_opens_with_what_a_person_chooses(repository):
    job = repository.get_job("llc")
    opened = {"experiment": "default", "overrides": [], "set": []}
    assert job.run_config["ops"]["plan"]["config"] == opened


def left(site, repository):
    """Return the partitions in the graph that are not materialised."""
    graph = repository.asset_graph
    wanted = {
        (key, partition)
        for key in graph.get_all_asset_keys()
        if graph.get(key).is_partitioned
        for partition in graph.get(key).partitions_def.get_partition_keys()
    }
    assert wanted
    return {pair for pair in wanted if pair[1] not in made(site, pair[0])}


def made(site, key):
    return site.instance.get_materialized_partitions(key)


def test_a_store_without_runs_and_a_selection_that_is_missing_show_every_experiment(site):
    site.experiment("a")
    site.experiment("b", target_seeds=(1,))
    assert set(site.project(LAMBDA_HAT_EXPERIMENT="c").wanted().plans) == {"a", "b"}
    assert set(site.project(LAMBDA_HAT_EXPERIMENT="b").wanted().plans) == {"b"}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("max_concurent: 3", "max_concurent is 3: no such key; did you mean max_concurrent"),
        ("tags: {float32: {threads: 0}}", "tags.float32.threads is 0: must be > 0"),
        ("tags: {float16: {}}", "tags.float16 is {}: no such key"),
        ("tags: {float32: {executor: slrm}}", 'tags.float32.executor is "slrm"'),
        ("tags: 3", "tags is 3: "),
    ],
)
def test_the_mistakes_of_a_card_are_reported(site, text, line):
    from lambda_hat_core.config.errors import ConfigError

    site.experiment()
    card = site.config / "card" / "bad.yaml"
    card.write_text(text)
    with pytest.raises(ConfigError) as error:
        site.project(LAMBDA_HAT_CARD=str(card)).plan(None)
    assert str(error.value).startswith(f"{card}: {line}")


def test_a_payload_has_its_dtype_and_threads_in_its_environment(monkeypatch):
    from lambda_hat_assets.cards.card import LocalTag

    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=x")
    found = LocalTag(threads=3, env={"A": "b"}).environment("float64")
    assert found["JAX_ENABLE_X64"] == "1"
    assert LocalTag().environment("float32")["JAX_ENABLE_X64"] == "0"
    assert found["XLA_FLAGS"].startswith("--xla_dump_to=x --xla_force_host_platform_device_count=3")
    assert found["OMP_NUM_THREADS"] == "1"
    assert found["A"] == "b"


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


def test_an_experiment_lists_its_members_with_states_and_links(site, built):
    site.experiment(target_seeds=(0, 13), seeds=(1,))
    project = site.project()
    job = built(project).get_job("llc")
    assert not job.execute_in_process(instance=site.instance, raise_on_error=False).success
    key = dg.AssetKey("experiments")
    told = site.instance.get_latest_materialization_event(key).asset_materialization
    assert told.partition == "default"
    assert told.metadata["what"].value == "default: 2 targets and 2 runs; 2 made, 2 failed"
    (run,) = [id for id in project.runs if id in partitions(site, "analyses", "nuts")]
    lines = told.metadata["members"].value.splitlines()
    (line,) = [line for line in lines if run in line]
    assert f"[{run}](/assets/analyses/nuts?view=partitions&partition={run})" in line
    assert project.labels[run] in line and "| made |" in line
    (failed,) = [line for line in lines if "tgt_" in line and "| failed: seed 13" in line]
    assert "seed 13" in failed


def partitions(site, *path):
    return site.instance.get_materialized_partitions(dg.AssetKey(path))


def test_experiments_of_the_package_are_beside_those_of_the_folder_and_shown_once_asked_for(site):
    site.experiment()
    site.card()
    project = site.project()
    assert {*project.plans} == {"default"} and {"default", "smoke"} <= {*project.names}
    assert {spec.model.kind for spec in project.plan("default").targets.values()} == {"quadratic"}
    assert len(project.plan("smoke").targets) == 3
    changed = project.changed("smoke", ["posterior.gamma=5"]).experiment
    experiments.write_asked(project.store, changed, "smoke", ["posterior.gamma=5"])
    later = site.project()
    assert {*later.wanted().plans} == {"default", changed}
    with pytest.raises(ConfigError, match="name one of: default, grokking, "):
        later.plan("nope")
