"""One pair of assets per sampler and dtype: its runs, and their analyses."""

from collections.abc import Iterator

import dagster as dg

from lambda_hat_assets.compute.resource import Compute
from lambda_hat_assets.project.partitions import BATCHES, TARGETS_KEY, SamplerFamily, to_many
from lambda_hat_assets.project.project import CODE_VERSION, Project
from lambda_hat_assets.recording import checks
from lambda_hat_assets.recording.events import Event, recorded
from lambda_hat_assets.recording.fields import ANALYSIS, RUN, schema
from lambda_hat_assets.running.pools import Routing
from lambda_hat_core.store.store import Kind


def sampler_assets(project: Project, family: SamplerFamily) -> dg.AssetsDefinition:
    """Return `runs/<family>` and `analyses/<family>`, which are made by the same step."""
    routing = Routing(family.dtype)
    of_target = to_many(
        (target, run)
        for run in family.runs
        for target in (project.runs[run].target, project.runs[run].hold)
        if target is not None
    )
    of_kind: dict[Kind, dg.AssetKey] = {"runs": family.runs_key, "analyses": family.analyses_key}
    common = {
        "partitions_def": family.partitions,
        "group_name": family.sampler,
        "code_version": CODE_VERSION,
        "tags": routing.tags,
        "skippable": True,
    }
    runs = dg.AssetSpec(
        family.runs_key,
        deps=[dg.AssetDep(TARGETS_KEY, partition_mapping=of_target)],
        description=f"Draws of {family.sampler} in {family.dtype}: a trace of losses and scalars.",
        kinds={"jax", "blackjax"},
        metadata=schema(RUN),
        **common,
    )
    analyses = dg.AssetSpec(
        family.analyses_key,
        deps=[family.runs_key],
        description=f"The LLC estimated by {family.name}, with error, verdict and figures.",
        kinds={"arviz", "matplotlib"},
        metadata=schema(ANALYSIS),
        **common,
    )

    @dg.multi_asset(
        name=f"make_{family.name}",
        specs=[runs, analyses],
        check_specs=checks.specs(family.analyses_key, checks.ANALYSIS_CHECKS, family.partitions),
        can_subset=True,
        pool=routing.pool,
        op_tags=routing.tags,
        backfill_policy=BATCHES,
    )
    def sampler(
        context: dg.AssetExecutionContext, compute: dg.ResourceParam[Compute]
    ) -> Iterator[Event | dg.Output[None]]:
        kinds: list[Kind] = [
            kind for kind, key in of_kind.items() if key in context.selected_asset_keys
        ]
        results = compute.run(context, kinds, context.partition_keys)
        yield from recorded(context, project, of_kind, results)

    return sampler
