"""Trajectories: each partition is one training, whose checkpoints are targets."""

from collections.abc import Iterator

import dagster as dg

from lambda_hat_assets.compute.resource import Compute
from lambda_hat_assets.project.partitions import BATCHES, TRAJECTORIES_KEY
from lambda_hat_assets.project.project import CODE_VERSION, Project
from lambda_hat_assets.recording.events import Event, recorded
from lambda_hat_assets.recording.fields import TRAJECTORY, schema
from lambda_hat_assets.running.pools import Routing


def trajectories_asset(project: Project) -> dg.AssetsDefinition:
    """Return the asset of all trainings that experiments take checkpoints of, in float64."""
    routing = Routing("float64")

    spec = dg.AssetSpec(
        TRAJECTORIES_KEY,
        partitions_def=dg.StaticPartitionsDefinition(list(project.trajectories)),
        group_name="targets",
        description="A training, with its weights and losses at the steps that experiments name.",
        kinds={"jax", "optax"},
        code_version=CODE_VERSION,
        tags=routing.tags,
        metadata=schema(TRAJECTORY),
        skippable=True,
    )

    @dg.multi_asset(
        name="make_trajectories",
        specs=[spec],
        pool=routing.pool,
        op_tags=routing.tags,
        backfill_policy=BATCHES,
    )
    def trajectories(
        context: dg.AssetExecutionContext, compute: dg.ResourceParam[Compute]
    ) -> Iterator[Event | dg.Output[None]]:
        results = compute.run(context, ["trajectories"], context.partition_keys)
        yield from recorded(context, project, {"trajectories": TRAJECTORIES_KEY}, results)

    return trajectories
