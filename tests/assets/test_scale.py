"""Five thousand partitions in one experiment: the plan and the pages answer in seconds of CPU."""

import asyncio
import sys
import time

import dagster as dg
import pytest

_DEFINITIONS = """
from pathlib import Path
from lambda_hat_assets.definitions import build, compute
from lambda_hat_assets.project import load_project
project = load_project({environment!r}, Path({config!r}))
defs = build(project, compute(project))
"""

_PAGE = """query {
  assetNodeOrError(assetKey: {path: ["runs", "nuts"]}) { ... on AssetNode {
    description groupName kinds
    partitionKeysByDimension { name partitionKeys }
    partitionStats { numMaterialized numPartitions }
    assetPartitionStatuses {
      ... on DefaultPartitionStatuses { materializedPartitions unmaterializedPartitions }
    }
    assetMaterializations(limit: 1) { timestamp }
    metadataEntries { label }
    dependencyKeys { path }
    dependedByKeys { path }
  } }
}"""
"""What the UI asks for when it opens an asset's page."""


@pytest.fixture
def large(site):
    site.experiment(target_seeds=range(100), seeds=range(25), samplers=("nuts", "sgld"))
    return site


def test_the_plan_prints_in_seconds(large, monkeypatch, capsys):
    from lambda_hat_assets import cli
    from lambda_hat_assets.commands import plan

    monkeypatch.setattr(plan, "CONFIG", large.config)
    monkeypatch.setenv("LAMBDA_HAT_HOME", str(large.root / "runs"))
    began = time.process_time()
    assert cli.main(["plan", "default"]) == 0
    assert time.process_time() - began < 5
    assert "100 targets, 0 exist; 5000 runs, 0 exist" in capsys.readouterr().out


@pytest.fixture
def instance(tmp_path):
    """An instance on disk, which is what a web server needs."""
    folder = tmp_path / "history"
    folder.mkdir()
    with dg.DagsterInstance.local_temp(str(folder)) as instance:
        yield instance


@pytest.fixture
def ask(large, instance):
    """A function from a query to the answer of the web server's schema, in this process."""
    from dagster._core.remote_origin import InProcessCodeLocationOrigin
    from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
    from dagster_graphql.schema import create_schema

    file = large.root / "definitions.py"
    names = {"environment": large.environment, "config": str(large.config)}
    file.write_text(_DEFINITIONS.format(**names))
    loadable = LoadableTargetOrigin(
        executable_path=sys.executable,
        python_file=str(file),
        attribute="defs",
        working_directory=str(large.root),
    )
    target = InProcessWorkspaceLoadTarget(InProcessCodeLocationOrigin(loadable, "large"))
    schema = create_schema()
    with WorkspaceProcessContext(instance, target) as workspace:

        def answer(query):
            context = workspace.create_request_context()
            found = asyncio.run(schema.execute_async(query, context_value=context))
            assert not found.errors
            return found.data

        yield answer


def test_the_page_of_an_asset_answers_in_seconds(large, instance, ask):
    made = [run for run in large.project().runs if "nuts" in run][:100]
    for run in made:
        instance.report_runless_asset_event(
            dg.AssetMaterialization(dg.AssetKey(["runs", "nuts"]), partition=run)
        )
    began = time.process_time()
    node = ask(_PAGE)["assetNodeOrError"]
    assert time.process_time() - began < 3
    assert node["partitionStats"] == {"numMaterialized": 100, "numPartitions": 2500}
    assert len(node["partitionKeysByDimension"][0]["partitionKeys"]) == 2500
    assert set(node["assetPartitionStatuses"]["materializedPartitions"]) == set(made)
