"""The asset of galleries: its dependencies, its metadata, and its place in `llc`."""

import dagster as dg
import pytest

from lambda_hat_core.store import experiments

GALLERIES = dg.AssetKey("galleries")


@pytest.fixture
def project(site):
    site.experiment("a", target_seeds=(0, 1))
    site.experiment("b", target_seeds=(1, 2), samplers=("nuts", "sgld"))
    experiments.write_asked(site.project().store, "b", "b")
    return site.project(LAMBDA_HAT_EXPERIMENT="a")


def metadata(instance, key):
    event = instance.fetch_materializations(
        dg.AssetRecordsFilter(GALLERIES, asset_partitions=[key]), limit=1
    ).records[0]
    return event.asset_materialization.metadata


@pytest.mark.parametrize("name", ["a", "b"])
def test_a_gallery_depends_on_the_runs_of_its_experiment_only(project, built, name):
    graph = built(project).asset_graph
    below = graph.get(GALLERIES)
    assert set(below.partitions_def.get_partition_keys()) == {"a", "b"}
    found = set()
    for above, mapping in below.partition_mappings.items():
        upstream = graph.get(above).partitions_def
        result = mapping.get_upstream_mapped_partitions_result_for_partitions(
            below.partitions_def.subset_with_partition_keys([name]), below.partitions_def, upstream
        )
        found |= set(result.partitions_subset.get_partition_keys())
    assert found == set(project.plans[name].runs)


def test_llc_draws_the_gallery_of_its_experiment_once_and_reports_it_each_time(
    site, project, built
):
    for _ in range(2):
        result = built(project).get_job("llc").execute_in_process(instance=site.instance)
        assert result.success
    assert site.instance.get_materialized_partitions(GALLERIES) == {"a"}
    told = site.instance.fetch_materializations(GALLERIES, limit=10).records
    reused = [each.asset_materialization.metadata["reused"].value for each in told]
    assert reused == [True, False], "the newest comes first"
    found = metadata(site.instance, "a")
    assert found["n_runs"].value == 2
    assert found["profiles"].value == "- nuts: one plateau"
    assert "data:image/webp;base64" in found["gamma_profile"].value
    assert found["path"].value == str(project.store.path("galleries", "a") / "index.html")
    assert project.store.is_complete("galleries", "a")


def test_the_job_and_the_command_promote_the_same_files(
    site, project, built, tmp_path, monkeypatch
):
    from lambda_hat_assets import cli
    from lambda_hat_assets.commands import promote

    repository = built(project)
    assert repository.get_job("llc").execute_in_process(instance=site.instance).success
    config = {"experiment": "a", "plots": ["trace.png"], "outdir": str(tmp_path / "job")}
    result = repository.get_job("promote").execute_in_process(
        instance=site.instance, run_config={"ops": {"copy_plots": {"config": config}}}
    )
    assert result.success
    monkeypatch.setattr(promote, "CONFIG", site.config)
    monkeypatch.setenv("LAMBDA_HAT_HOME", str(project.store.root))
    outdir = str(tmp_path / "command")
    assert cli.main(["promote", "a", "--plots", "trace.png", "--outdir", outdir]) == 0
    one, other = (
        {path.name: path.read_bytes() for path in (tmp_path / by / "a").iterdir()}
        for by in ("job", "command")
    )
    assert one == other
    assert set(one) == {"nuts_trace.png", "gallery.md"}
    assert cli.main(["promote", "a", "--plots", "none.png", "--outdir", outdir]) == 2


def test_a_gallery_that_cannot_be_made_fails_only_its_partition(site, project, built_local):
    site.card(command=["/does/not/exist"])
    broken = built_local(site.project())
    job = broken.get_job("gallery")
    result = job.execute_in_process(instance=site.instance, partition_key="b", raise_on_error=False)
    assert not result.success
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert "cannot be started" in failure.step_failure_data.error.message
    assert not project.store.root.joinpath("failures", "b.parquet").exists()


def test_the_command_compares_two_experiments(site, project, tmp_path, monkeypatch, capsys):
    """The second is the first with a change, as the command itself made it."""
    from lambda_hat_assets import cli
    from lambda_hat_assets.commands import compare, run

    for command in (compare, run):
        monkeypatch.setattr(command, "CONFIG", site.config)
    for name, value in site.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["run", "a", "posterior.gamma=5"]) == 0
    assert "a_posterior.gamma=5" in site.project().wanted().plans
    capsys.readouterr()
    assert cli.main(["compare", "a", "a_posterior.gamma=5"]) == 0
    name = "lambda_hat_a_a_posterior.gamma=5.html"
    assert capsys.readouterr().out == f"{name}\n"
    assert "a_posterior.gamma=5 against a" in (tmp_path / name).read_text()
    assert cli.main(["compare", "a", "none"]) == 2
    assert "none" in capsys.readouterr().err
