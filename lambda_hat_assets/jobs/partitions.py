"""Jobs that make partitions of one asset, and how `llc` runs them inside its own steps."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from lambda_hat_assets.assets.experiments import EXPERIMENTS_KEY
from lambda_hat_assets.assets.galleries import GALLERIES_KEY
from lambda_hat_assets.assets.results import RESULTS_KEY
from lambda_hat_assets.jobs import cards
from lambda_hat_assets.project.about import SAMPLER_TAG
from lambda_hat_assets.project.partitions import TARGETS_KEY, TRAJECTORIES_KEY, SamplerFamily
from lambda_hat_assets.running.console import PARENT_TAG, QUIET
from lambda_hat_assets.running.endings import OWNER_TAG, owner
from lambda_hat_assets.running.pools import Routing

RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"
GALLERIES_JOB = "gallery"
RESULTS_JOB = "results"
TARGETS_JOB = "targets"
TRAJECTORIES_JOB = "trajectories"


def partition_jobs(families: Sequence[SamplerFamily], *, trains: bool = False) -> list[Any]:
    """Return the jobs of targets, of each family of runs, of galleries and of the table.

    Args:
        families: the assets of all runs.
        trains: whether there are trainings whose checkpoints are targets, which have a job too.
    """
    wide = Routing("float64").tags

    def job(name: str, keys: list[dg.AssetKey], tags: dict[str, str], words: str):
        return dg.define_asset_job(name, keys, tags=tags, config=QUIET, description=words)

    trainings = [
        job(TRAJECTORIES_JOB, [TRAJECTORIES_KEY], wide, "Train networks, and keep checkpoints.")
    ]
    return [
        *(trainings if trains else []),
        job(TARGETS_JOB, [TARGETS_KEY], wide, "Train, polish and audit minima, the targets."),
        *(
            job(
                family.name,
                [family.runs_key, family.analyses_key],
                Routing(family.dtype).tags | {SAMPLER_TAG: family.name},
                f"Sample with {family.sampler} in {family.dtype}, and estimate the LLC.",
            )
            for family in families
        ),
        job(
            GALLERIES_JOB,
            [GALLERIES_KEY, EXPERIMENTS_KEY],
            wide,
            "Draw the page of an experiment, and list its members with their states.",
        ),
        job(RESULTS_JOB, [RESULTS_KEY], {}, "Write the table of all results, llc.duckdb."),
    ]


def materialise(
    context: dg.OpExecutionContext, job: dg.JobDefinition, keys: Sequence[str] = ()
) -> bool:
    """Run a partition job in this process, as a separate Dagster run.

    Args:
        context: the context of the step that runs in this process.
        job: the job to run.
        keys: a contiguous range of its partitions; empty for an asset without partitions.

    Returns:
        Whether everything was made; the log names what failed.
    """
    tags = {PARENT_TAG: context.run_id, OWNER_TAG: owner(), **cards.tags(context)}
    if len(keys) > 1:
        tags |= {RANGE_START_TAG: keys[0], RANGE_END_TAG: keys[-1]}
    return job.execute_in_process(
        run_config=QUIET,
        instance=context.instance,
        partition_key=keys[0] if len(keys) == 1 else None,
        raise_on_error=False,
        tags=tags,
    ).success
