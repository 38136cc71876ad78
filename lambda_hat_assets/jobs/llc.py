"""`llc`: a whole experiment in one command: plan, trainings, targets, runs, report.

The missing keys are divided among a few steps per dtype, each of which has one worker: first the
trainings whose checkpoints are targets, then the targets, then, when their sizes are known, the
runs. A step makes its share in batches;
each batch is a separate Dagster run, which the UI shows as if it had been started there.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import dagster as dg
from pydantic import Field

from lambda_hat_assets.cards.card import DTYPES, Card
from lambda_hat_assets.compute.orders import Result
from lambda_hat_assets.jobs import report as reporting
from lambda_hat_assets.jobs.batches import Keys, batches, shares, step_count
from lambda_hat_assets.jobs.cards import card_of, prepare
from lambda_hat_assets.jobs.chosen import Chosen, Repository, chosen_by
from lambda_hat_assets.jobs.partitions import (
    GALLERIES_JOB,
    RESULTS_JOB,
    materialise,
)
from lambda_hat_assets.project.about import about
from lambda_hat_assets.project.partitions import TARGETS_KEY, TRAJECTORIES_KEY
from lambda_hat_assets.project.project import Project
from lambda_hat_assets.recording.events import events
from lambda_hat_assets.running.console import QUIET, console
from lambda_hat_assets.running.endings import reap, reaping
from lambda_hat_assets.running.pools import DTYPE_TAG, set_limits
from lambda_hat_core.config.samplers.base import Dtype
from lambda_hat_core.store import experiments, sql
from lambda_hat_core.store.damaged import left_out
from lambda_hat_core.store.store import Kind
from lambda_hat_core.work import outcomes
from lambda_hat_core.work.endings import end_with_parent
from lambda_hat_core.work.forecast import times
from lambda_hat_core.work.steps import is_trained, missing_steps

_CRASH = dg.RetryPolicy(max_retries=1, delay=1)
"""A step whose process dies is started once more, and makes the rest of its share."""

_PRIORITY: dict[Dtype, str] = {"float64": "1", "float32": "0"}
"""Steps of float64 start first, because their samplers use full-data gradients and take longer."""


def llc_job(
    project: Project, repository: Repository, executor: dg.ExecutorDefinition
) -> dg.JobDefinition:
    """Return the job that makes all artifacts of an experiment.

    Args:
        project: the project, with its experiments, store and card.
        repository: returns the definitions of the assets of a project.
        executor: an executor that runs each step in a separate process.
    """
    store = project.store
    known = ", ".join(project.names)

    class PlanConfig(dg.Config):
        """The run config of the job."""

        experiment: str | None = Field(
            None, description=f"one of: {known}; null: LAMBDA_HAT_EXPERIMENT"
        )
        overrides: list[str] = Field(
            [],
            description="changes to the experiment, such as posterior.gamma=5 or "
            "samplers.sgld.n_draws=500",
        )
        set: list[str] = Field(
            [],
            description="changes to the card that LAMBDA_HAT_CARD selects, which says where runs "
            "are computed, such as walltime=04:00:00 or float64.memory=16G",
        )

    def chosen_in(context: dg.OpExecutionContext) -> Chosen:
        end_with_parent()
        return chosen_by(context, project, repository)

    @dg.op(out={"experiment": dg.Out(str), "training": dg.DynamicOut(list)})
    def plan(context: dg.OpExecutionContext, config: PlanConfig) -> Iterator[Any]:
        """Compare the experiment with the store, and divide the missing trainings among steps."""
        del config
        set_limits(context.instance, project.card)
        chosen = chosen_in(context)
        name, members = chosen.plan.experiment, chosen.plan
        context.instance.add_run_tags(context.run_id, about(chosen.project, [name]))
        if name not in chosen.project.wanted().plans:
            context.log.info(
                f"{name} is new in this store: `Reload definitions` in the browser adds its "
                "partitions to the graph"
            )
        pairs = [(members.runs[run].target, run) for run in members.membership[name]]
        experiments.write_experiment(store, chosen.base, pairs, add=bool(chosen.changes))
        experiments.write_asked(store, name, chosen.base, chosen.changes)
        store.sweep()
        if not sql.is_fresh(store):
            sql.refresh(store)
        ghosts = reap(context.instance)
        if ghosts:
            context.log.info(f"marked {ghosts} Dagster runs as failed: their process has ended")
        card = prepare(context, project, members)
        if members.trajectories:
            _tell_of(context, chosen, "trajectories", TRAJECTORIES_KEY, members.trajectories)
        _tell_of(context, chosen, "targets", TARGETS_KEY, members.targets)
        missing = [key for key in members.targets if not store.is_complete("targets", key)]
        context.log.info(
            f"{name}: {len(members.targets)} targets, {len(missing)} of them to make; "
            f"{len(members.runs)} runs"
        )
        yield dg.Output(name, "experiment")
        untrained = [id for id, want in members.trajectories.items() if missing_steps(store, want)]
        yield from _outputs(_shares(untrained, card), "training")

    @_op("trajectories_float64", "float64")
    def train(context: dg.OpExecutionContext, training: Keys) -> int:
        """Train networks, and keep their weights at the steps of the checkpoints."""
        return _make(context, "trajectories", training)

    @dg.op(out=dg.DynamicOut(list))
    def share_targets(
        context: dg.OpExecutionContext, experiment: str, trained: list[int]
    ) -> Iterator[dg.DynamicOutput]:
        """Divide the missing targets among steps, but for checkpoints whose training failed."""
        del experiment, trained
        chosen = chosen_in(context)
        members = chosen.plan.targets
        missing = [
            id
            for id in chosen.targets
            if id in members
            and not store.is_complete("targets", id)
            and is_trained(store, members[id])
        ]
        yield from _outputs(_shares(missing, card_of(context, project)), "result")

    @_op("targets_float64", "float64")
    def make_targets(context: dg.OpExecutionContext, share: Keys) -> int:
        """Make targets."""
        return _make(context, "targets", share)

    @dg.op(out={dtype: dg.DynamicOut(list) for dtype in DTYPES})
    def share_runs(
        context: dg.OpExecutionContext, experiment: str, targets: list[int]
    ) -> Iterator[dg.DynamicOutput]:
        """Divide the missing runs whose target exists among steps, by their forecasts."""
        del targets
        chosen, card = chosen_in(context), card_of(context, project)
        families, members = chosen.families, chosen.plan.runs
        missing = {
            run: spec
            for run, spec in members.items()
            if not store.is_complete("analyses", run) and store.is_complete("targets", spec.target)
        }
        known = chosen.project.targets
        forecast = times(store, list(missing.values()), known)
        seconds = dict(zip(missing, forecast, strict=True))
        context.log.info(f"{experiment}: {len(missing)} of {len(members)} runs to make")
        for dtype in DTYPES:
            mine = [family for family in families if family.dtype == dtype]
            keys = [run for family in mine for run in family.runs if run in missing]
            specs = [missing[run] for run in keys]
            count = step_count(card, dtype, specs, seconds, known)
            yield from _outputs(shares(keys, seconds, count), dtype)
        for family in families:
            runs = [run for run in family.runs if run in members]
            _tell_of(context, chosen, "runs", family.runs_key, runs)
            _tell_of(context, chosen, "analyses", family.analyses_key, runs)

    def make_runs(dtype: Dtype) -> dg.OpDefinition:
        @_op(f"runs_{dtype}", dtype)
        def make(context: dg.OpExecutionContext, share: Keys) -> int:
            """Sample and analyse runs; if one fails, the others are computed nevertheless."""
            return _make(context, "analyses", share)

        return make

    def _make(context: dg.OpExecutionContext, kind: Kind, share: Keys) -> int:
        """Make the keys that the store lacks, in batches, and return how many were made."""
        chosen, made = chosen_in(context), 0
        is_made = chosen.project.is_made
        with reaping(context.instance):
            for name, batch in batches(share, chosen.order(kind)):
                missing = [key for key in batch if not is_made(kind, key)]
                if missing:
                    materialise(context, chosen.job(name), batch)
                made += sum(is_made(kind, key) for key in missing)
        return made

    @dg.op
    def report(
        context: dg.OpExecutionContext,
        experiment: str,
        targets: list[int],
        float64: list[int],
        float32: list[int],
    ) -> None:
        """Draw the gallery, update the table, and fail if any run has no usable estimate."""
        del targets
        chosen = chosen_in(context)
        members = chosen.plan
        reporting.note_blocked(store, members)
        drawn = materialise(context, chosen.job(GALLERIES_JOB), [experiment])
        materialise(context, chosen.job(RESULTS_JOB))
        known, damaged = reporting.rows(store, chosen.base)
        found = [row for row in known if row.run in members.runs]
        for path in damaged:
            context.log.warning(left_out(path))
        for line in reporting.table(found, members.labels):
            context.log.info(line)
        made = sum([*float64, *float32])
        context.log.info(f"{made} new runs; {store.root / sql.DATABASE}")
        failed = reporting.failed(found, members)
        if not drawn:
            raise dg.Failure("the gallery could not be made", allow_retries=False)
        if failed:
            raise dg.Failure(
                f"{len(failed)} of {len(members.runs)} runs failed: {'; '.join(failed)}",
                metadata={"failed": failed},
                allow_retries=False,
            )

    selected = {"experiment": project.selected} if project.selected in project.plans else {}
    opened = {"ops": {"plan": {"config": {**selected, "overrides": [], "set": []}}}}
    wide, narrow = make_runs("float64"), make_runs("float32")

    @dg.job(
        executor_def=executor,
        logger_defs={"console": console},
        config=opened | QUIET,
        description="Make the artifacts of an experiment that the store lacks: targets, runs, "
        "analyses, the gallery and the table.",
    )
    def llc():
        experiment, training = plan()
        trained = training.map(train).collect()
        targets = share_targets(experiment, trained).map(make_targets).collect()
        runs = share_runs(experiment, targets)
        report(
            experiment,
            targets,
            runs.float64.map(wide).collect(),
            runs.float32.map(narrow).collect(),
        )

    return llc


def _op(name: str, dtype: Dtype) -> Callable[[Callable[..., int]], dg.OpDefinition]:
    tags = {DTYPE_TAG: dtype, "dagster/priority": _PRIORITY[dtype]}
    return dg.op(name=name, tags=tags, retry_policy=_CRASH)


def _shares(keys: Keys, card: Card) -> list[Keys]:
    """Divide keys of float64, which count the same, among as many steps as the card allows."""
    return shares(keys, dict.fromkeys(keys, 1.0), min(len(keys), card.at_once("float64")))


def _outputs(found: Iterable[Keys], name: str) -> Iterator[dg.DynamicOutput]:
    for number, share in enumerate(found, 1):
        yield dg.DynamicOutput(share, mapping_key=str(number), output_name=name)


def _tell_of(
    context: dg.OpExecutionContext,
    chosen: Chosen,
    kind: Kind,
    asset: dg.AssetKey,
    keys: Iterable[str],
) -> None:
    """Report artifacts to Dagster that the store has but Dagster does not know of."""
    known = context.instance.get_materialized_partitions(asset)
    for key in keys:
        if key in known or not chosen.store.is_complete(kind, key):
            continue
        found = Result(key, kind, outcomes.record(chosen.store, kind, key), reused=True)
        for event in events(chosen.project, asset, found):
            context.instance.report_runless_asset_event(event)
