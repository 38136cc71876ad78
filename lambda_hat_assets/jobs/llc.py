"""`llc`: a whole experiment in one command: plan, targets, runs, report.

Targets and runs are shared out to a few steps a dtype, which take batches until none is left.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import dagster as dg
from pydantic import Field

from lambda_hat_assets.assets.common import TARGETS_KEY
from lambda_hat_assets.claims import Claims
from lambda_hat_assets.compute import Kind, Result
from lambda_hat_assets.console import QUIET, console
from lambda_hat_assets.jobs import report as reporting
from lambda_hat_assets.jobs.batches import shares, stretches
from lambda_hat_assets.jobs.cards import prepare
from lambda_hat_assets.jobs.executor import executor
from lambda_hat_assets.jobs.partitions import RESULTS_JOB, materialise
from lambda_hat_assets.jobs.take import Makers
from lambda_hat_assets.partitions import Family
from lambda_hat_assets.pools import executor_pid, own, reap, set_limits
from lambda_hat_assets.project import Project
from lambda_hat_assets.recording import events
from lambda_hat_core import records, sql, stages


class PlanConfig(dg.Config):
    """What to run."""

    experiment: str | None = Field(
        None, description="name of a loaded experiment; null: LAMBDA_HAT_EXPERIMENT"
    )
    set: list[str] = Field(
        [], description="changes to the card, such as walltime=04:00:00 or float64.memory=16G"
    )


def llc_job(
    project: Project, families: Sequence[Family], job: Callable[[str], dg.JobDefinition]
) -> dg.JobDefinition:
    """Return the job that makes everything an experiment names.

    Args:
        project: what there is.
        families: the assets of its runs.
        job: finds a partition job by name, once the definitions are complete.
    """
    store = project.store
    makers = Makers(project, families, job)

    @dg.op(out={"experiment": dg.Out(str), "shared": dg.DynamicOut(list)})
    def plan(context: dg.OpExecutionContext, config: PlanConfig) -> Iterator[Any]:
        """Compare the experiment with the store and share out the targets that are missing."""
        own(context, executor_pid())
        set_limits(context.instance, project.card)
        chosen = project.plan(config.experiment)
        members = [(chosen.runs[run].target, run) for run in chosen.membership[chosen.experiment]]
        records.write_experiment(store, chosen.experiment, members)
        if not sql.is_fresh(store):
            sql.refresh(store)
        ghosts = reap(context.instance)
        if ghosts:
            context.log.info(f"{ghosts} earlier runs ended with their process")
        card = prepare(context, project, chosen)
        _tell_of(context, project, "targets", TARGETS_KEY, chosen.targets)
        todo = [key for key in chosen.targets if not store.is_complete("targets", key)]
        context.log.info(
            f"{chosen.experiment}: {len(chosen.targets)} targets, {len(todo)} of them to make; "
            f"{len(chosen.runs)} runs"
        )
        yield dg.Output(chosen.experiment, "experiment")
        count = min(len(todo), card.at_once("float64"))
        yield from shares([*stretches(list(project.targets), todo)], count, "shared")

    @dg.op(out={"float64": dg.DynamicOut(list), "float32": dg.DynamicOut(list)})
    def fan_out(
        context: dg.OpExecutionContext, experiment: str, early: list[int]
    ) -> Iterator[dg.DynamicOutput]:
        """Share out the runs that are missing, one dtype a step."""
        del early
        chosen = project.plan(experiment)
        left = makers.left(context, experiment)
        missing = sum(len(keys) for found, _ in left.values() for keys in found)
        context.log.info(f"{experiment}: {missing} of {len(chosen.runs)} runs to make")
        for dtype, (found, count) in left.items():
            yield from shares(found, count, dtype)
        for family in families:
            runs = [run for run in family.runs if run in chosen.runs]
            _tell_of(context, project, "runs", family.runs_key, runs)
            _tell_of(context, project, "analyses", family.analyses_key, runs)

    @dg.op
    def report(
        context: dg.OpExecutionContext,
        experiment: str,
        early: list[int],
        float64: list[int],
        float32: list[int],
    ) -> None:
        """Refresh the table, tell what came out, and fail if anything has no usable number."""
        Claims(context.run_id).forget()
        chosen = project.plan(experiment)
        reporting.note_blocked(store, chosen)
        drawn = makers.draw(context, experiment)
        materialise(context, job(RESULTS_JOB))
        found = reporting.rows(store, experiment)
        for line in reporting.table(found, chosen.labels):
            context.log.info(line)
        made = sum([*early, *float64, *float32])
        context.log.info(f"{made} runs are new; {store.root / sql.DATABASE}")
        failed = reporting.failed(found, chosen)
        if not drawn:
            raise dg.Failure("the gallery could not be made", allow_retries=False)
        if failed:
            raise dg.Failure(
                f"{len(failed)} of {len(chosen.runs)} runs failed: {'; '.join(failed)}",
                metadata={"failed": failed},
                allow_retries=False,
            )

    make_targets, wide, narrow = makers.targets(), makers.runs("float64"), makers.runs("float32")

    @dg.job(
        executor_def=executor(project.card),
        logger_defs={"console": console},
        config=QUIET,
        description="Make everything an experiment names and does not have: targets, runs, "
        "analyses, its gallery and the table.",
    )
    def llc():
        experiment, shared = plan()
        early = shared.map(lambda keys: make_targets(experiment, keys)).collect()
        runs = fan_out(experiment, early)
        report(
            experiment,
            early,
            runs.float64.map(lambda keys: wide(experiment, keys)).collect(),
            runs.float32.map(lambda keys: narrow(experiment, keys)).collect(),
        )

    return llc


def _tell_of(
    context: dg.OpExecutionContext,
    project: Project,
    kind: Kind,
    asset: dg.AssetKey,
    keys: Iterable[str],
) -> None:
    """Tell Dagster of what the store has and it does not know; nothing is computed."""
    known = context.instance.get_materialized_partitions(asset)
    for key in keys:
        if key in known or not project.store.is_complete(kind, key):
            continue
        found = Result(key, kind, stages.record(project.store, kind, key), reused=True)
        for event in events(project, asset, found):
            context.instance.report_runless_asset_event(event)
