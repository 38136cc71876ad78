"""`tune`: computes the references and conducts the studies of a tuning file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import yaml
from pydantic import Field

from lambda_hat_assets.assets.tuning import (
    REFERENCE_KEY,
    STUDY_KEY,
    TRIALS_KEY,
    reference_told,
    study_metadata,
    trials_metadata,
)
from lambda_hat_assets.compute.resource import Compute
from lambda_hat_assets.compute.trials import runners
from lambda_hat_assets.project.about import LABEL_TAG, some_of
from lambda_hat_assets.project.project import Project
from lambda_hat_assets.project.studies import check_budgets, routing, slots
from lambda_hat_assets.recording.events import versions
from lambda_hat_assets.running.console import QUIET, console
from lambda_hat_assets.running.endings import reap
from lambda_hat_core.config.errors import ConfigError
from lambda_hat_core.plan.study import TunePlan
from lambda_hat_core.tuning.payloads import Runner


def tune_job(project: Project, executor: dg.ExecutorDefinition) -> dg.JobDefinition:
    """Return the job. A study that cannot be conducted does not stop the others."""
    known = ", ".join(project.studies.plans) or "none"

    class TuneConfig(dg.Config):
        """The run config of the job."""

        file: str | None = Field(
            None,
            description=f"a name under config/tune ({known}), or a path; null: LAMBDA_HAT_TUNE",
        )
        set: list[str] = Field([], description="changes to the file, such as objective.type=huber")
        dry_run: bool = Field(False, description="print what would be done, and do nothing")

    @dg.op
    def studies(
        context: dg.OpExecutionContext, config: TuneConfig, compute: dg.ResourceParam[Compute]
    ) -> Iterator[Any]:
        """Compute the references that are needed, and conduct the studies one after another."""
        if "card" in project.problems:
            raise ConfigError(project.problems["card"])
        plan = project.studies.plan(config.file, config.set)
        check_budgets(plan, project.card)
        if config.dry_run:
            context.log.info(yaml.safe_dump(plan.settings.model_dump(mode="json"), sort_keys=False))
        context.instance.add_run_tags(
            context.run_id, {LABEL_TAG: some_of(map(plan.label, plan.studies))}
        )
        for line in routing(plan, project.card):
            context.log.info(line)
        failed: dict[str, str] = {}
        if not config.dry_run:
            reap(context.instance)
            with runners(context, project, compute) as runner:
                yield from _conduct(context, project, plan, runner, failed)
            yield dg.AssetMaterialization(TRIALS_KEY, metadata=trials_metadata(project))
            context.log.info(f"gallery: {_page(project, plan)}")
        if failed:
            lines = [f"{plan.label(id)}: {why}" for id, why in failed.items()]
            raise dg.Failure("; ".join(lines), metadata={"failed": failed}, allow_retries=False)
        yield dg.Output(None)

    opened = {"file": project.studies.selected, "set": [], "dry_run": False}

    @dg.job(
        name="tune",
        logger_defs={"console": console},
        executor_def=executor,
        config={"ops": {"studies": {"config": opened}}} | QUIET,
        description="Find settings of samplers: certified references, Optuna studies, presets.",
    )
    def tune():
        studies()

    return tune


def _conduct(
    context: dg.OpExecutionContext,
    project: Project,
    plan: TunePlan,
    runner: Runner,
    failed: dict[str, str],
) -> Iterator[Any]:
    """Conduct every study and yield events for Dagster; add the reasons of failures to `failed`."""
    from lambda_hat_core.tuning.conduct import conduct

    told: set[str] = set()
    journal = project.card.shared_filesystem
    for id, study in plan.studies.items():
        at_once = slots(project.card, plan, study.spec.dtype)
        done = None
        try:
            done = conduct(
                project.store, plan, id, runner, at_once, context.log.info, journal=journal
            )
        except ValueError as error:
            failed[id] = str(error)
            context.log.error(f"{plan.label(id)}: {error}")
        if study.spec.reference is not None and study.problem not in told:
            told.add(study.problem)
            yield from _reference_events(project, plan, study.problem)
        if done is None:
            continue
        yield _materialisation(STUDY_KEY, plan, id, study_metadata(project, plan, id))
        if done.preset is None:
            failed[id] = "no trial was completed"
        else:
            context.log.info(f"{plan.label(id)}: {done.preset}")


def _reference_events(project: Project, plan: TunePlan, id: str) -> Iterator[Any]:
    from lambda_hat_core.tuning.reference import read

    if read(project.store, id) is not None:
        metadata, check = reference_told(project, plan, id)
        yield _materialisation(REFERENCE_KEY, plan, id, metadata)
        yield dg.AssetCheckEvaluation(asset_key=REFERENCE_KEY, partition=id, **check)


def _materialisation(
    asset: dg.AssetKey, plan: TunePlan, id: str, metadata: dict[str, Any]
) -> dg.AssetMaterialization:
    sources = {} if asset == REFERENCE_KEY else {REFERENCE_KEY: plan.studies[id].problem}
    return dg.AssetMaterialization(
        asset,
        description=plan.label(id),
        partition=id,
        metadata=metadata,
        tags=versions(id, sources),
    )


def _page(project: Project, plan: TunePlan) -> Path:
    from lambda_hat_core.tuning.page import write_page

    return write_page(project.store, plan)
