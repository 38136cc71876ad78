"""`llc`: a whole experiment in one command: plan, targets, runs, report.

Targets and runs are shared out to a few steps a dtype. Each is a process with a warm worker, takes
batches until none is left, and opens a Dagster run of its own for every batch: what it does looks
as if it had been clicked.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import dagster as dg
from pydantic import Field

from lambda_hat_assets.assets.common import DTYPE_TAG, GALLERIES_KEY, TARGETS_KEY
from lambda_hat_assets.claims import Claims
from lambda_hat_assets.compute import Kind, Result
from lambda_hat_assets.console import QUIET, console
from lambda_hat_assets.jobs import report as reporting
from lambda_hat_assets.jobs.batches import Keys, pace, shares, steps, stretches
from lambda_hat_assets.jobs.cards import card_of, prepare
from lambda_hat_assets.jobs.executor import executor
from lambda_hat_assets.jobs.partitions import (
    GALLERIES_JOB,
    RESULTS_JOB,
    TARGETS_JOB,
    materialise,
)
from lambda_hat_assets.partitions import Family, family_name
from lambda_hat_assets.pools import executor_pid, own, reap, reaping, set_limits
from lambda_hat_assets.project import Project
from lambda_hat_assets.recording import events
from lambda_hat_core import records, sql, stages
from lambda_hat_core.config.samplers import Dtype
from lambda_hat_core.forecast import times
from lambda_hat_core.gallery.members import gallery_of, is_current

_CRASH = dg.RetryPolicy(max_retries=1, delay=1)
"""A step whose process dies is started again and takes what is left."""


_PRIORITY: dict[Dtype, str] = {"float64": "1", "float32": "0"}
"""Long runs first: the samplers of float64 follow full-data gradients."""


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
        context: dg.OpExecutionContext, experiment: str, made: list[int]
    ) -> Iterator[dg.DynamicOutput]:
        """Share out the runs that are missing, one dtype a step."""
        del made
        chosen, card = project.plan(experiment), card_of(context, project)
        todo = [
            run
            for run, spec in chosen.runs.items()
            if not store.is_complete("analyses", run) and store.is_complete("targets", spec.target)
        ]
        context.log.info(f"{experiment}: {len(todo)} of {len(chosen.runs)} runs to make")
        specs = [project.runs[run] for run in todo]
        seconds = dict(zip(todo, times(store, specs, project.targets), strict=True))
        for dtype in ("float64", "float32"):
            mine = [family for family in families if family.dtype == dtype]
            left = [spec for spec in specs if spec.dtype == dtype]
            wanted = {spec.id for spec in left}
            found = [keys for family in mine for keys in stretches(family.runs, wanted)]
            yield from shares(found, steps(card, dtype, left, seconds), dtype)
            for family in mine:
                runs = [run for run in family.runs if run in chosen.runs]
                _tell_of(context, project, "runs", family.runs_key, runs)
                _tell_of(context, project, "analyses", family.analyses_key, runs)

    @dg.op
    def report(
        context: dg.OpExecutionContext, experiment: str, float64: list[int], float32: list[int]
    ) -> None:
        """Refresh the table, tell what came out, and fail if anything has no usable number."""
        Claims(context.run_id).forget()
        chosen = project.plan(experiment)
        reporting.note_blocked(store, chosen)
        known = context.instance.get_materialized_partitions(GALLERIES_KEY)
        drawn = experiment in known and is_current(store, gallery_of(chosen))
        drawn = drawn or materialise(context, job(GALLERIES_JOB), [experiment])
        materialise(context, job(RESULTS_JOB))
        found = reporting.rows(store, experiment)
        for line in reporting.table(found, chosen.labels):
            context.log.info(line)
        context.log.info(f"{sum(float64) + sum(float32)} runs are new; {store.root / sql.DATABASE}")
        failed = reporting.failed(found, chosen)
        if not drawn:
            raise dg.Failure("the gallery could not be made", allow_retries=False)
        if failed:
            raise dg.Failure(
                f"{len(failed)} of {len(chosen.runs)} runs failed: {'; '.join(failed)}",
                metadata={"failed": failed},
                allow_retries=False,
            )

    make_targets = _taker(project, "targets", "float64", job)
    sample = {dtype: _taker(project, "sample", dtype, job) for dtype in ("float64", "float32")}

    @dg.job(
        executor_def=executor(project.card),
        logger_defs={"console": console},
        config=QUIET,
        description="Make everything an experiment names and does not have: targets, runs, "
        "analyses, its gallery and the table.",
    )
    def llc():
        experiment, shared = plan()
        runs = fan_out(experiment, shared.map(make_targets).collect())
        report(
            experiment,
            runs.float64.map(sample["float64"]).collect(),
            runs.float32.map(sample["float32"]).collect(),
        )

    return llc


def _taker(
    project: Project, what: str, dtype: Dtype, job: Callable[[str], dg.JobDefinition]
) -> dg.OpDefinition:
    """Return the op that takes batches of one dtype until none is left."""
    kind: Kind = "targets" if what == "targets" else "runs"

    tags = {DTYPE_TAG: dtype, "dagster/priority": _PRIORITY[dtype]}

    @dg.op(name=f"{what}_{dtype}", tags=tags, retry_policy=_CRASH)
    def take(context: dg.OpExecutionContext, shared: list[Keys]) -> int:
        """Make what nobody else has taken; a key that fails does so in its own run."""
        made = 0
        claims = Claims(context.run_id)
        cut = pace(card_of(context, project), dtype, context.get_mapping_key() or "")
        with reaping(context.instance):
            for batch in claims.take(
                shared, cut.size, lambda key: project.store.is_leased(kind, key)
            ):
                began = time.monotonic()
                name = TARGETS_JOB if kind == "targets" else family_name(project.runs[batch[0]])
                materialise(context, job(name), batch)
                cut.took(time.monotonic() - began, len(batch))
                made += sum(project.store.is_complete(kind, key) for key in batch)
        return made

    return take


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
