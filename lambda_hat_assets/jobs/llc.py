"""`llc`: a whole experiment in one command: plan, trainings, targets, runs, report.

The missing keys are divided among a few steps per dtype, each of which has one worker: first the
trainings whose checkpoints are targets, then the targets, then, when their sizes are known, the
runs. A step makes its share in batches;
each batch is a separate Dagster run, which the UI shows as if it had been started there.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import dagster as dg
from pydantic import Field

from lambda_hat_assets.cards.card import DTYPES, Card
from lambda_hat_assets.compute.orders import Result
from lambda_hat_assets.jobs import report as reporting
from lambda_hat_assets.jobs.batches import Keys, batches, shares, step_count
from lambda_hat_assets.jobs.cards import card_of, prepare
from lambda_hat_assets.jobs.partitions import (
    GALLERIES_JOB,
    RESULTS_JOB,
    TARGETS_JOB,
    TRAJECTORIES_JOB,
    materialise,
)
from lambda_hat_assets.project.about import about
from lambda_hat_assets.project.partitions import (
    TARGETS_KEY,
    TRAJECTORIES_KEY,
    SamplerFamily,
    in_order,
)
from lambda_hat_assets.project.project import Project
from lambda_hat_assets.recording.events import events
from lambda_hat_assets.running.console import QUIET, console
from lambda_hat_assets.running.endings import reap, reaping
from lambda_hat_assets.running.pools import DTYPE_TAG, set_limits
from lambda_hat_core.config.samplers.base import Dtype
from lambda_hat_core.store import records, sql
from lambda_hat_core.store.store import Kind
from lambda_hat_core.work import making
from lambda_hat_core.work.endings import end_with_parent
from lambda_hat_core.work.forecast import times
from lambda_hat_core.work.steps import is_trained, missing_steps

_CRASH = dg.RetryPolicy(max_retries=1, delay=1)
"""A step whose process dies is started once more, and makes the rest of its share."""

_PRIORITY: dict[Dtype, str] = {"float64": "1", "float32": "0"}
"""Steps of float64 start first, because their samplers use full-data gradients and take longer."""


class PlanConfig(dg.Config):
    """The run config of the job."""

    experiment: str | None = Field(
        None, description="name of a loaded experiment; null: LAMBDA_HAT_EXPERIMENT"
    )
    set: list[str] = Field(
        [], description="changes to the card, such as walltime=04:00:00 or float64.memory=16G"
    )


def llc_job(
    project: Project,
    families: Sequence[SamplerFamily],
    job: Callable[[str], dg.JobDefinition],
    executor: dg.ExecutorDefinition,
) -> dg.JobDefinition:
    """Return the job that makes all artifacts of an experiment.

    Args:
        project: the project, with its experiments, store and card.
        families: the assets of all runs.
        job: returns a partition job by name; it is called when the definitions are complete.
        executor: an executor that runs each step in a separate process.
    """
    store = project.store
    target_order = {TARGETS_JOB: in_order(project.targets)}
    training_order = {TRAJECTORIES_JOB: list(project.trajectories)}
    run_order = {family.name: family.runs for family in families}

    @dg.op(out={"experiment": dg.Out(str), "training": dg.DynamicOut(list)})
    def plan(context: dg.OpExecutionContext, config: PlanConfig) -> Iterator[Any]:
        """Compare the experiment with the store, and divide the missing trainings among steps."""
        end_with_parent()
        set_limits(context.instance, project.card)
        chosen = project.plan(config.experiment)
        context.instance.add_run_tags(context.run_id, about(project, [chosen.experiment]))
        if chosen.experiment not in project.wanted().plans:
            context.log.info(
                f"{chosen.experiment} is new in this store: `Reload definitions` in the browser "
                "adds its partitions to the graph"
            )
        members = [(chosen.runs[run].target, run) for run in chosen.membership[chosen.experiment]]
        records.write_experiment(store, chosen.experiment, members)
        if not sql.is_fresh(store):
            sql.refresh(store)
        ghosts = reap(context.instance)
        if ghosts:
            context.log.info(f"marked {ghosts} Dagster runs as failed: their process has ended")
        card = prepare(context, project, chosen)
        if chosen.trajectories:
            _tell_of(context, project, "trajectories", TRAJECTORIES_KEY, chosen.trajectories)
        _tell_of(context, project, "targets", TARGETS_KEY, chosen.targets)
        missing = [key for key in chosen.targets if not store.is_complete("targets", key)]
        context.log.info(
            f"{chosen.experiment}: {len(chosen.targets)} targets, {len(missing)} of them to make; "
            f"{len(chosen.runs)} runs"
        )
        yield dg.Output(chosen.experiment, "experiment")
        untrained = [id for id, want in chosen.trajectories.items() if missing_steps(store, want)]
        yield from _outputs(_shares(untrained, card), "training")

    @_op("trajectories_float64", "float64")
    def train(context: dg.OpExecutionContext, training: Keys) -> int:
        """Train networks, and keep their weights at the steps of the checkpoints."""
        return _make(context, "trajectories", batches(training, training_order))

    @dg.op(out=dg.DynamicOut(list))
    def share_targets(
        context: dg.OpExecutionContext, experiment: str, trained: list[int]
    ) -> Iterator[dg.DynamicOutput]:
        """Divide the missing targets among steps, but for checkpoints whose training failed."""
        del trained
        end_with_parent()
        chosen, card = project.plan(experiment), card_of(context, project)
        wanted = [id for id in target_order[TARGETS_JOB] if id in chosen.targets]
        missing = [
            id
            for id in wanted
            if not store.is_complete("targets", id) and is_trained(store, chosen.targets[id])
        ]
        yield from _outputs(_shares(missing, card), "result")

    @_op("targets_float64", "float64")
    def make_targets(context: dg.OpExecutionContext, share: Keys) -> int:
        """Make targets."""
        return _make(context, "targets", batches(share, target_order))

    @dg.op(out={dtype: dg.DynamicOut(list) for dtype in DTYPES})
    def share_runs(
        context: dg.OpExecutionContext, experiment: str, targets: list[int]
    ) -> Iterator[dg.DynamicOutput]:
        """Divide the missing runs whose target exists among steps, by their forecasts."""
        del targets
        end_with_parent()
        chosen, card = project.plan(experiment), card_of(context, project)
        missing = {
            run: spec
            for run, spec in chosen.runs.items()
            if not store.is_complete("analyses", run) and store.is_complete("targets", spec.target)
        }
        forecast = times(store, list(missing.values()), project.targets)
        seconds = dict(zip(missing, forecast, strict=True))
        context.log.info(f"{experiment}: {len(missing)} of {len(chosen.runs)} runs to make")
        for dtype in DTYPES:
            mine = [family for family in families if family.dtype == dtype]
            keys = [run for family in mine for run in family.runs if run in missing]
            specs = [missing[run] for run in keys]
            count = step_count(card, dtype, specs, seconds, project.targets)
            yield from _outputs(shares(keys, seconds, count), dtype)
        for family in families:
            runs = [run for run in family.runs if run in chosen.runs]
            _tell_of(context, project, "runs", family.runs_key, runs)
            _tell_of(context, project, "analyses", family.analyses_key, runs)

    def make_runs(dtype: Dtype) -> dg.OpDefinition:
        @_op(f"runs_{dtype}", dtype)
        def make(context: dg.OpExecutionContext, share: Keys) -> int:
            """Sample and analyse runs; if one fails, the others are computed nevertheless."""
            return _make(context, "analyses", batches(share, run_order))

        return make

    def _make(context: dg.OpExecutionContext, kind: Kind, found: Iterable[tuple[str, Keys]]) -> int:
        """Make the keys of some batches that the store lacks, and return how many were made."""
        end_with_parent()
        made = 0
        with reaping(context.instance):
            for name, batch in found:
                missing = [key for key in batch if not project.is_made(kind, key)]
                if missing:
                    materialise(context, job(name), batch)
                made += sum(project.is_made(kind, key) for key in missing)
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
        end_with_parent()
        chosen = project.plan(experiment)
        reporting.note_blocked(store, chosen)
        drawn = materialise(context, job(GALLERIES_JOB), [experiment])
        materialise(context, job(RESULTS_JOB))
        found = reporting.rows(store, experiment)
        for line in reporting.table(found, chosen.labels):
            context.log.info(line)
        made = sum([*float64, *float32])
        context.log.info(f"{made} new runs; {store.root / sql.DATABASE}")
        failed = reporting.failed(found, chosen)
        if not drawn:
            raise dg.Failure("the gallery could not be made", allow_retries=False)
        if failed:
            raise dg.Failure(
                f"{len(failed)} of {len(chosen.runs)} runs failed: {'; '.join(failed)}",
                metadata={"failed": failed},
                allow_retries=False,
            )

    wide, narrow = make_runs("float64"), make_runs("float32")

    @dg.job(
        executor_def=executor,
        logger_defs={"console": console},
        config=QUIET,
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
    project: Project,
    kind: Kind,
    asset: dg.AssetKey,
    keys: Iterable[str],
) -> None:
    """Report artifacts to Dagster that the store has but Dagster does not know of."""
    known = context.instance.get_materialized_partitions(asset)
    for key in keys:
        if key in known or not project.store.is_complete(kind, key):
            continue
        found = Result(key, kind, making.record(project.store, kind, key), reused=True)
        for event in events(project, asset, found):
            context.instance.report_runless_asset_event(event)
