"""Trajectories as an asset: trained before their checkpoints are targets, once for all."""

import dagster as dg
import pytest
import yaml

from lambda_hat_core.store import experiments, failures
from tests.assets.conftest import Quiet

MODEL = {"model": {"widths": [3]}, "data": {"n_data": 40}, "training": {"steps": 100}}


def experiment(site, name, *steps, seeds=(0,), samplers=({"name": "sghmc"},)):
    entries = [MODEL | {"seed": seed, "checkpoints": {"at": [*steps]}} for seed in seeds]
    content = {"experiment": name, "targets": entries, "samplers": [*samplers]}
    path = site.config / "experiment" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content))


def llc(site, repository, **config):
    return repository.get_job("llc").execute_in_process(
        instance=site.instance,
        run_config={"ops": {"plan": {"config": config}}},
        raise_on_error=False,
    )


def partitions(site, *path):
    return site.instance.get_materialized_partitions(dg.AssetKey(path))


def kinds(site):
    return [kind for _, kind, _ in site.calls()]


def test_the_job_trains_once_and_then_makes_every_checkpoint(site, built):
    experiment(site, "default", 0, 10, 100)
    project = site.project()
    assert llc(site, built(project)).success
    assert partitions(site, "trajectories") == {*project.trajectories}
    assert partitions(site, "targets") == {*project.targets}
    assert partitions(site, "analyses", "sghmc") == {*project.runs}
    assert kinds(site) == ["trajectories", *["targets"] * 3, *["runs", "analyses"] * 3]
    before = site.calls()
    assert llc(site, built(project)).success
    assert site.calls() == before


def test_the_gallery_tells_a_training_its_curve_once(site, built):
    experiment(site, "default", 0, 10, 100)
    project = site.project()
    (id,) = project.trajectories
    for _ in range(2):
        assert llc(site, built(project)).success
    told = site.instance.fetch_observations(dg.AssetKey("trajectories"), limit=9).records
    (seen,) = (each.asset_observation for each in told)
    assert seen.partition == id
    assert seen.metadata["boundaries"].value == "- nβ 10, nuts: maximum at step 3"
    assert seen.metadata["along"].value.startswith("![along](data:image/webp;base64,")
    page = project.store.path("galleries", "default") / "index.html"
    assert seen.metadata["gallery"].value == str(page)
    assert site.instance.get_materialized_partitions(dg.AssetKey("trajectories")) == {id}


def test_two_experiments_share_a_training_and_a_third_step_goes_on(site, built):
    experiment(site, "default", 0, 100)
    experiment(site, "other", 100)
    project = site.project()
    assert (
        llc(site, built(project)).success and llc(site, built(project), experiment="other").success
    )
    assert kinds(site).count("trajectories") == 1 and kinds(site).count("targets") == 2
    experiment(site, "more", 0, 50, 100)
    project = site.project(LAMBDA_HAT_EXPERIMENT="more")
    assert llc(site, built(project)).success
    assert kinds(site).count("trajectories") == 2 and kinds(site).count("targets") == 3
    (facts,) = [
        project.store.read_json("trajectories", id, "meta.json") for id in project.trajectories
    ]
    assert facts["steps"] == [0, 50, 100]


def test_partitions_are_sorted_by_step_whichever_experiment_asks(site, built):
    experiment(site, "a", 100, 0, seeds=(0, 1))
    experiment(site, "default", 50, seeds=(0, 1))
    project = site.project()
    experiments.write_asked(project.store, "a", "a")
    graph = built(project).asset_graph
    for path in (["targets"], ["runs", "sghmc"]):
        keys = graph.get(dg.AssetKey(path)).partitions_def.get_partition_keys()
        targets = [project.targets[getattr(project.runs.get(key), "target", key)] for key in keys]
        assert [spec.step for spec in targets] == [0, 50, 100] * 2
        assert len({spec.seed for spec in targets[:3]}) == 1


def test_checkpoints_are_downstream_of_their_training_and_held_runs_of_their_source(site, built):
    held = {"name": "sghmc", "hold": {"from": "last"}}
    experiment(site, "default", 0, 100, seeds=(0, 1), samplers=(held,))
    experiment(site, "plain", 0)
    (site.config / "experiment" / "plain.yaml").write_text(
        "targets: [{model: {kind: quadratic}}]\nsamplers: [{name: nuts}]\n"
    )
    project = site.project()
    graph = built(project).asset_graph

    def upstream(below, above, key):
        node, source = graph.get(dg.AssetKey(below)), graph.get(dg.AssetKey(above))
        mapping = graph.get_partition_mapping(node.key, source.key)
        return set(
            mapping.get_upstream_mapped_partitions_result_for_partitions(
                downstream_partitions_subset=node.partitions_def.subset_with_partition_keys([key]),
                downstream_partitions_def=node.partitions_def,
                upstream_partitions_def=source.partitions_def,
            ).partitions_subset.get_partition_keys()
        )

    for id, spec in project.targets.items():
        above = {spec.trajectory.id} if spec.trajectory else set()
        assert upstream(["targets"], ["trajectories"], id) == above
    for id, run in project.runs.items():
        if run.sampler.kind == "sghmc":
            assert upstream(["runs", "sghmc"], ["targets"], id) == {run.target, run.hold} - {None}


def test_a_training_that_fails_blocks_its_own_checkpoints_alone(site, built_local):

    experiment(site, "default", 0, 100, seeds=(0, 12))
    project = site.project()
    result = llc(site, built_local(project))
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert failure.step_key == "report"
    for id, spec in project.targets.items():
        why = failures.read_failure(project.store, id)
        if spec.seed == 12:
            assert f"its training {spec.trajectory.id} failed: seed 12 always diverges" in why
        else:
            assert why is None and project.store.is_complete("targets", id)
    done = {id for id, run in project.runs.items() if project.targets[run.target].seed == 0}
    assert partitions(site, "analyses", "sghmc") == done


@pytest.mark.parametrize("seeds", [(0,), (0, 12)])
def test_the_plain_command_does_the_same(site, seeds):
    from lambda_hat_assets.compute import plain
    from lambda_hat_core.gallery.members import gallery_of

    experiment(site, "default", 0, 100, seeds=seeds)
    project = site.project()
    plan = project.plan(None)

    class Listener(Quiet):
        def ended(self, key, failure):
            pass

    failures, gallery = plain.make(project.store, project.card, plan, gallery_of(plan), Listener())
    assert gallery is None
    failed = {id for id, spec in plan.targets.items() if spec.seed == 12}
    blocked = {id for id, run in plan.runs.items() if run.target in failed}
    trainings = {id for id, wanted in plan.trajectories.items() if wanted.spec.seed == 12}
    assert failures.keys() == failed | blocked | trainings
    assert all("seed 12 always diverges" in why for why in failures.values())
    assert sorted(kinds(site)).count("targets") == 2


def test_the_graph_of_a_project_with_trainings_loads_as_in_the_browser(site):
    """All jobs at once: names of jobs and of ops must differ."""
    from lambda_hat_assets.definitions import build, compute

    experiment(site, "default", 0, 10)
    project = site.project()
    dg.Definitions.validate_loadable(build(project, compute(project)))
