"""Experiments in the project and in the graph: files and cards, who asked for them, members."""

import dagster as dg
import pytest

from lambda_hat_core.config.errors import ConfigError
from lambda_hat_core.store import experiments, sql
from lambda_hat_core.store.damaged import read_asked
from tests.assets.conftest import node, out_of_sync


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
