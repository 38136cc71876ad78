"""`llc`: a whole experiment in one command: plan, targets, runs, report.

Targets and runs are shared out to a few steps a dtype. Each is a process with a warm worker, takes
keys until none is left, and opens a Dagster run of its own for every key: what it does looks as if
it had been clicked.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import dagster as dg
from pydantic import Field

from lambda_hat_assets.assets.common import DTYPE_TAG, TARGETS_KEY
from lambda_hat_assets.claims import Claims, rotated
from lambda_hat_assets.compute import Kind, Result
from lambda_hat_assets.console import QUIET, console
from lambda_hat_assets.jobs import report as reporting
from lambda_hat_assets.jobs.executor import executor
from lambda_hat_assets.jobs.partitions import (
    GALLERIES_JOB,
    RESULTS_JOB,
    TARGETS_JOB,
    materialise,
    own,
    reap,
)
from lambda_hat_assets.partitions import Family, family_name
from lambda_hat_assets.project import Project
from lambda_hat_assets.recording import events
from lambda_hat_core import records, sql, stages
from lambda_hat_core.config.samplers import Dtype

_CRASH = dg.RetryPolicy(max_retries=1, delay=1)
"""A step whose process dies is started again and takes what is left."""


class PlanConfig(dg.Config):
    """What to run."""

    experiment: str | None = Field(
        None, description="name of a loaded experiment; null: LAMBDA_HAT_EXPERIMENT"
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

    @dg.op(out={"experiment": dg.Out(str), "shares": dg.DynamicOut(list)})
    def plan(context: dg.OpExecutionContext, config: PlanConfig) -> Iterator[Any]:
        """Compare the experiment with the store and share out the targets that are missing."""
        own(context)
        chosen = project.plan(config.experiment)
        members = [(chosen.runs[run].target, run) for run in chosen.membership[chosen.experiment]]
        records.write_experiment(store, chosen.experiment, members)
        if not sql.is_fresh(store):
            sql.refresh(store)
        ghosts = reap(context.instance)
        if ghosts:
            context.log.info(f"{ghosts} earlier runs ended with their process")
        for line in project.card.routing():
            context.log.info(line)
        todo = _missing(context, project, "targets", TARGETS_KEY, chosen.targets)
        context.log.info(
            f"{chosen.experiment}: {len(chosen.targets)} targets, {len(todo)} of them to make; "
            f"{len(chosen.runs)} runs"
        )
        yield dg.Output(chosen.experiment, "experiment")
        yield from _shares(project, todo, "float64", "shares")

    @dg.op(out={"float64": dg.DynamicOut(list), "float32": dg.DynamicOut(list)})
    def fan_out(
        context: dg.OpExecutionContext, experiment: str, made: list[int]
    ) -> Iterator[dg.DynamicOutput]:
        """Share out the runs that are missing, one dtype a step."""
        del made
        chosen = project.plan(experiment)
        todo: dict[Dtype, list[str]] = {"float64": [], "float32": []}
        for family in families:
            mine = [run for run in family.runs if run in chosen.runs]
            for run in _missing(context, project, "analyses", family.analyses_key, mine):
                if store.is_complete("targets", chosen.runs[run].target):
                    todo[family.dtype].append(run)
        count = sum(map(len, todo.values()))
        context.log.info(f"{experiment}: {count} of {len(chosen.runs)} runs to make")
        for dtype, keys in todo.items():
            yield from _shares(project, _by_shape(project, keys), dtype, dtype)

    @dg.op
    def report(
        context: dg.OpExecutionContext, experiment: str, float64: list[int], float32: list[int]
    ) -> None:
        """Refresh the table, tell what came out, and fail if anything has no usable number."""
        Claims(context.run_id).forget()
        chosen = project.plan(experiment)
        reporting.note_blocked(store, chosen)
        drawn = materialise(context, job(GALLERIES_JOB), experiment)
        materialise(context, job(RESULTS_JOB))
        found = reporting.rows(store, experiment)
        for line in reporting.table(found, chosen.labels):
            context.log.info(line)
        context.log.info(
            f"{sum(float64) + sum(float32)} runs made now; {store.root / sql.DATABASE}"
        )
        failed = reporting.failed(found, chosen)
        if drawn is not None:
            raise dg.Failure(f"the gallery could not be made: {drawn}", allow_retries=False)
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
        "analyses and the table.",
    )
    def llc():
        experiment, shares = plan()
        runs = fan_out(experiment, shares.map(make_targets).collect())
        report(
            experiment,
            runs.float64.map(sample["float64"]).collect(),
            runs.float32.map(sample["float32"]).collect(),
        )

    return llc


def _taker(
    project: Project, what: str, dtype: Dtype, job: Callable[[str], dg.JobDefinition]
) -> dg.OpDefinition:
    """Return the op that takes keys of one dtype until none is left."""
    kind: Kind = "targets" if what == "targets" else "runs"

    @dg.op(name=f"{what}_{dtype}", tags={DTYPE_TAG: dtype}, retry_policy=_CRASH)
    def take(context: dg.OpExecutionContext, keys: list[str]) -> int:
        """Make what nobody else has taken; the failure of a key is in its own run."""
        made = 0
        claims = Claims(context.run_id)
        for key in claims.take(keys, lambda key: project.store.is_leased(kind, key)):
            name = TARGETS_JOB if kind == "targets" else family_name(project.runs[key])
            why = materialise(context, job(name), key)
            made += why is None
            if why is not None:
                context.log.error(f"{key} failed: {why}")
        return made

    return take


def _missing(
    context: dg.OpExecutionContext,
    project: Project,
    kind: Kind,
    asset: dg.AssetKey,
    keys: Iterable[str],
) -> list[str]:
    """Return the keys that the store lacks; what it has and Dagster lacks is told to Dagster."""
    known = context.instance.get_materialized_partitions(asset)
    lacking: list[str] = []
    for key in keys:
        if not project.store.is_complete(kind, key):
            lacking.append(key)
        elif key not in known:
            found = Result(key, kind, stages.record(project.store, kind, key), reused=True)
            for event in events(project, asset, found):
                context.instance.report_runless_asset_event(event)
    return lacking


def _by_shape(project: Project, keys: Iterable[str]) -> list[str]:
    """Return the keys with those together that one compilation serves."""
    groups: dict[str, list[str]] = {}
    for key in keys:
        run = project.runs[key]
        model = project.targets[run.target].model
        shape = f"{run.sampler.model_dump_json()} {model.model_dump_json()}"
        groups.setdefault(shape, []).append(key)
    return [key for group in groups.values() for key in group]


def _shares(
    project: Project, keys: list[str], dtype: Dtype, output: str
) -> Iterator[dg.DynamicOutput]:
    """Yield all keys once for each step that may take them, its own share first."""
    slots = min(len(keys), project.card.slots, project.card.tag(dtype).slots)
    for slot in range(slots):
        share = rotated(keys, slot, slots)
        yield dg.DynamicOutput(share, mapping_key=f"{slot + 1}_of_{slots}", output_name=output)
