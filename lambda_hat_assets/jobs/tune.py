"""`tune`: references and studies of a tuning file in one command, and what came out."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import yaml
from pydantic import Field

from lambda_hat_assets.assets.tuning import (
    STUDY_KEY,
    TRIALS_KEY,
    reference_events,
    study_metadata,
    trials_metadata,
)
from lambda_hat_assets.console import QUIET, console
from lambda_hat_assets.jobs.partitions import own, reap
from lambda_hat_assets.project import Project, code_version
from lambda_hat_assets.studies import check_budgets, payloads, routing, slots
from lambda_hat_core.plan.errors import ConfigError
from lambda_hat_core.plan.tuning import TunePlan
from lambda_hat_core.tuning.payloads import Payloads


class TuneConfig(dg.Config):
    """What to tune."""

    file: str | None = Field(
        None, description="name under config/tune, or a path; null: LAMBDA_HAT_TUNE"
    )
    set: list[str] = Field([], description="changes to it, such as objective.type=huber")
    dry_run: bool = Field(False, description="say what would be done, and do nothing")


def tune_job(project: Project) -> dg.JobDefinition:
    """Return the job; a study that cannot be conducted does not stop the others."""

    @dg.op
    def studies(context: dg.OpExecutionContext, config: TuneConfig) -> None:
        """Make the references that are needed, then conduct study after study."""
        if "card" in project.problems:
            raise ConfigError(project.problems["card"])
        plan = project.studies.plan(config.file, config.set)
        check_budgets(plan, project.card)
        if config.dry_run:
            context.log.info(yaml.safe_dump(plan.settings.model_dump(mode="json"), sort_keys=False))
        for line in routing(plan, project.card):
            context.log.info(line)
        if config.dry_run:
            return
        own(context)
        reap(context.instance)
        with payloads(project.store, project.card) as runner:
            failed = _conduct(context, project, plan, runner)
        context.log_event(dg.AssetMaterialization(TRIALS_KEY, metadata=trials_metadata(project)))
        _page(context, project, plan)
        if failed:
            lines = [f"{plan.label(id)}: {why}" for id, why in failed.items()]
            raise dg.Failure("; ".join(lines), metadata={"failed": failed}, allow_retries=False)

    @dg.job(
        name="tune",
        logger_defs={"console": console},
        executor_def=dg.in_process_executor,
        config=QUIET,
        description="Find samplers' settings: certified references, Optuna studies, presets.",
    )
    def tune():
        studies()

    return tune


def _conduct(
    context: dg.OpExecutionContext, project: Project, plan: TunePlan, runner: Payloads
) -> dict[str, str]:
    """Conduct every study and tell Dagster; return why some could not be."""
    from lambda_hat_core.tuning.conduct import conduct

    failed: dict[str, str] = {}
    told: set[str] = set()
    for id, study in plan.studies.items():
        at_once = slots(project.card, plan, study.spec.dtype)
        try:
            conducted = conduct(
                project.store,
                plan,
                id,
                runner,
                at_once,
                context.log.info,
                journal=project.card.shared_filesystem,
            )
        except ValueError as error:
            failed[id] = str(error)
            context.log.error(f"{plan.label(id)}: {error}")
        else:
            _tell(
                context,
                dg.AssetMaterialization(
                    STUDY_KEY,
                    partition=id,
                    description=plan.label(id),
                    metadata=study_metadata(project, plan, id),
                    tags={"dagster/data_version": id, "dagster/code_version": code_version()},
                ),
            )
            if conducted.preset is None:
                failed[id] = "no trial came to its end"
            else:
                context.log.info(f"{plan.label(id)}: {conducted.preset}")
        if study.spec.reference is not None and study.problem not in told:
            told.add(study.problem)
            _tell_reference(context, project, plan, study.problem)
    return failed


def _tell_reference(
    context: dg.OpExecutionContext, project: Project, plan: TunePlan, id: str
) -> None:
    from lambda_hat_core.tuning.reference import read

    if read(project.store, id) is not None:
        for event in reference_events(project, plan, id):
            _tell(context, event)


def _tell(context: dg.OpExecutionContext, event: Any) -> None:
    """Tell Dagster of a materialisation as this run's, of a check as the asset's."""
    tell: Callable[[Any], None] = (
        context.log_event
        if isinstance(event, dg.AssetMaterialization)
        else context.instance.report_runless_asset_event
    )
    tell(event)


def _page(context: dg.OpExecutionContext, project: Project, plan: TunePlan) -> None:
    from lambda_hat_core.gallery.tuning import write_page

    context.log.info(f"gallery: {write_page(project.store, plan)}")
