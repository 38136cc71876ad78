"""Targets: each partition is a trained minimum."""

from collections.abc import Iterator

import dagster as dg

from lambda_hat_assets.compute.resource import Compute
from lambda_hat_assets.project.partitions import BATCHES, TARGETS_KEY
from lambda_hat_assets.project.project import CODE_VERSION, Project
from lambda_hat_assets.recording import checks
from lambda_hat_assets.recording.events import Event, recorded
from lambda_hat_assets.recording.fields import TARGET, schema
from lambda_hat_assets.running.pools import Routing


def targets_asset(project: Project) -> dg.AssetsDefinition:
    """Return the asset of all targets. They are built in float64."""
    partitions = dg.StaticPartitionsDefinition(list(project.targets))
    routing = Routing("float64")

    spec = dg.AssetSpec(
        TARGETS_KEY,
        partitions_def=partitions,
        group_name="targets",
        description="A minimum w* of the loss with its data, trained, polished and audited.",
        kinds={"jax", "optax"},
        code_version=CODE_VERSION,
        tags=routing.tags,
        metadata=schema(TARGET),
        skippable=True,
    )

    @dg.multi_asset(
        name="make_targets",
        specs=[spec],
        check_specs=checks.specs(TARGETS_KEY, checks.TARGET_CHECKS, partitions),
        can_subset=True,
        pool=routing.pool,
        op_tags=routing.tags,
        backfill_policy=BATCHES,
    )
    def targets(
        context: dg.AssetExecutionContext, compute: dg.ResourceParam[Compute]
    ) -> Iterator[Event | dg.Output[None]]:
        results = compute.run(context, ["targets"], context.partition_keys)
        yield from recorded(context, project, {"targets": TARGETS_KEY}, results)

    return targets
