"""Targets: each partition is a trained minimum, or a checkpoint of a training."""

from collections.abc import Iterator

import dagster as dg

from lambda_hat_assets.compute.resource import Compute
from lambda_hat_assets.project.partitions import (
    BATCHES,
    TARGETS_KEY,
    TRAJECTORIES_KEY,
    in_order,
    to_many,
)
from lambda_hat_assets.project.project import CODE_VERSION, Project
from lambda_hat_assets.recording import checks
from lambda_hat_assets.recording.events import Event, recorded
from lambda_hat_assets.recording.fields import TARGET, schema
from lambda_hat_assets.running.pools import Routing


def targets_asset(project: Project) -> dg.AssetsDefinition:
    """Return the asset of all targets. They are built in float64."""
    partitions = dg.StaticPartitionsDefinition(in_order(project.targets))
    routing = Routing("float64")
    of_training = [
        (spec.trained_by.id, id)
        for id, spec in project.targets.items()
        if spec.trained_by is not None
    ]

    spec = dg.AssetSpec(
        TARGETS_KEY,
        deps=[dg.AssetDep(TRAJECTORIES_KEY, partition_mapping=to_many(of_training))]
        if of_training
        else [],
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
