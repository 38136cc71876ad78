"""Five thousand partitions in one experiment, each of which costs no more than each of a few."""

import asyncio
import sys
from contextlib import ExitStack

import dagster as dg
import pytest

from tests.counts import FEW, MANY, calls_of_each, statements

NUTS = dg.AssetKey(["runs", "nuts"])

_DEFINITIONS = """
from pathlib import Path
from lambda_hat_assets.definitions import build, compute
from lambda_hat_assets.project.project import load_project
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
def sized(site):
    """A function that gives the site an experiment with that many runs, half of them of nuts."""

    def size(runs):
        site.experiment(target_seeds=range(runs // 50), seeds=range(25), samplers=("nuts", "sgld"))
        return site

    size(FEW)
    return size


def test_loading_definitions_costs_in_proportion(sized):
    from lambda_hat_assets.definitions import build, compute

    loaded = []

    def work(runs):
        site = sized(runs)

        def load():
            project = site.project()
            definitions = build(project, compute(project))
            dg.Definitions.validate_loadable(definitions)
            loaded.append((project, definitions))

        return load

    assert calls_of_each(work) < 500
    project, definitions = loaded[-1]
    assert len(project.runs) == MANY
    partitions = definitions.get_assets_def(NUTS).partitions_def
    assert len(partitions.get_partition_keys()) == MANY // 2


def test_printing_the_plan_costs_in_proportion(sized, monkeypatch, capsys):
    from lambda_hat_assets import cli
    from lambda_hat_assets.commands import plan

    def work(runs):
        site = sized(runs)
        monkeypatch.setattr(plan, "CONFIG", site.config)
        monkeypatch.setenv("LAMBDA_HAT_HOME", str(site.root / "runs"))
        return lambda: cli.main(["plan", "default"])

    assert calls_of_each(work) < 1500
    assert f"{MANY // 50} targets, 0 exist; {MANY} runs, 0 exist" in capsys.readouterr().out


@pytest.fixture
def asked(sized, tmp_path_factory):
    """A function that serves that many runs and returns a function that queries an asset's page."""
    from dagster._core.remote_origin import InProcessCodeLocationOrigin
    from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
    from dagster_graphql.schema import create_schema

    schema, open_ones = create_schema(), ExitStack()

    def serve(runs):
        site = sized(runs)
        file = site.root / f"definitions_{runs}.py"
        names = {"environment": site.environment, "config": str(site.config)}
        file.write_text(_DEFINITIONS.format(**names))
        loadable = LoadableTargetOrigin(
            executable_path=sys.executable,
            python_file=str(file),
            attribute="defs",
            working_directory=str(site.root),
        )
        target = InProcessWorkspaceLoadTarget(InProcessCodeLocationOrigin(loadable, "sized"))
        folder = tmp_path_factory.mktemp("history")  # on disk, as a web server needs it
        instance = open_ones.enter_context(dg.DagsterInstance.local_temp(str(folder)))
        workspace = open_ones.enter_context(WorkspaceProcessContext(instance, target))
        graph = workspace.create_request_context().asset_graph
        made = graph.get(NUTS).partitions_def.get_partition_keys()[: runs // 50]
        for run in made:
            event = dg.AssetMaterialization(NUTS, partition=run)
            instance.report_runless_asset_event(event)

        def ask():
            context = workspace.create_request_context()
            found = asyncio.run(schema.execute_async(_PAGE, context_value=context))
            assert not found.errors
            node = found.data["assetNodeOrError"]
            assert node["partitionStats"] == {
                "numMaterialized": len(made),
                "numPartitions": runs // 2,
            }
            assert len(node["partitionKeysByDimension"][0]["partitionKeys"]) == runs // 2
            assert set(node["assetPartitionStatuses"]["materializedPartitions"]) == set(made)

        return ask

    with open_ones:
        yield serve


def test_the_page_of_an_asset_costs_in_proportion(asked):
    sent = []

    def work(runs):
        ask = asked(runs)

        def counted():
            with statements() as seen:
                ask()
            sent.append(len(seen))

        return counted

    assert calls_of_each(work) < 100
    assert len(set(sent)) == 1, "as many questions to the database, however many partitions"
