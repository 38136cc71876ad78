"""References (one per problem), studies (one per problem and method), and their trials."""

from typing import Any

import dagster as dg

from lambda_hat_assets.compute.resource import Compute
from lambda_hat_assets.compute.trials import runners
from lambda_hat_assets.project.partitions import to_many
from lambda_hat_assets.project.project import CODE_VERSION, Project
from lambda_hat_assets.project.studies import check_budgets, slots
from lambda_hat_assets.recording.events import picture
from lambda_hat_assets.recording.fields import REFERENCE, STUDY, pick, schema
from lambda_hat_core.plan.study import TunePlan
from lambda_hat_core.store import sql

REFERENCE_KEY = dg.AssetKey(["tuning", "reference"])
STUDY_KEY = dg.AssetKey(["tuning", "study"])
TRIALS_KEY = dg.AssetKey(["tuning", "trials"])
CERTIFIED = "certified"

_SHOWN = 200
_COLUMNS = "problem method number state objective llc llc_ref v_m work_fge parameters".split()


def tuning_assets(project: Project) -> list[dg.AssetsDefinition]:
    """Return the three assets, or none if config/tune has no studies."""
    problems, studies = project.studies.problems(), project.studies.studies()
    if not studies:
        return []
    references = dg.StaticPartitionsDefinition(list(problems))
    pairs = [(plan.studies[id].problem, id) for id, plan in studies.items()]

    @dg.asset(
        key=REFERENCE_KEY,
        partitions_def=references,
        group_name="tuning",
        kinds={"jax", "blackjax"},
        code_version=CODE_VERSION,
        metadata=schema(REFERENCE),
        check_specs=[
            dg.AssetCheckSpec(
                CERTIFIED,
                asset=REFERENCE_KEY,
                description="R-hat, effective draws, V_M and a run at a second gamma agree that "
                "the chains have mixed.",
                partitions_def=references,
            )
        ],
    )
    def reference(
        context: dg.AssetExecutionContext, compute: dg.ResourceParam[Compute]
    ) -> dg.MaterializeResult:
        """The certified estimate of an exact sampler, which other samplers are compared with."""
        from lambda_hat_core.tuning.reference import certify

        plan = problems[context.partition_key]
        check_budgets(plan, project.card)
        with runners(context, project, compute) as runner:
            certify(
                project.store,
                plan.problems[context.partition_key],
                runner,
                plan.settings.budget.reference_sec,
                context.log.info,
            )
        metadata, check = reference_told(project, plan, context.partition_key)
        return dg.MaterializeResult(
            metadata=metadata,
            check_results=[dg.AssetCheckResult(**check)],
            tags={"dagster/data_version": context.partition_key},
        )

    @dg.asset(
        key=STUDY_KEY,
        partitions_def=dg.StaticPartitionsDefinition(list(studies)),
        deps=[dg.AssetDep(REFERENCE_KEY, partition_mapping=to_many(pairs))],
        group_name="tuning",
        kinds={"optuna", "jax"},
        code_version=CODE_VERSION,
        metadata=schema(STUDY),
    )
    def study(
        context: dg.AssetExecutionContext, compute: dg.ResourceParam[Compute]
    ) -> dg.MaterializeResult:
        """One method tuned on one problem: all its trials, and the best settings among them."""
        from lambda_hat_core.tuning.conduct import conduct

        id = context.partition_key
        plan = studies[id]
        check_budgets(plan, project.card)
        with runners(context, project, compute) as runner:
            conduct(
                project.store,
                plan,
                id,
                runner,
                slots(project.card, plan, plan.studies[id].spec.dtype),
                context.log.info,
                journal=project.card.shared_filesystem,
            )
        return dg.MaterializeResult(metadata=study_metadata(project, plan, id))

    @dg.asset(
        key=TRIALS_KEY,
        deps=[STUDY_KEY],
        group_name="tuning",
        kinds={"duckdb", "parquet"},
    )
    def trials() -> dg.MaterializeResult:
        """Every trial of every study, as the SQL view `trials`."""
        return dg.MaterializeResult(metadata=trials_metadata(project))

    return [reference, study, trials]


def reference_told(
    project: Project, plan: TunePlan, id: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the metadata of an existing reference, and the fields of its check."""
    from lambda_hat_core.tuning.reference import read

    found = read(project.store, id)
    assert found is not None
    facts = found._asdict() | {
        "what": plan.label(id),
        "reasons": "; ".join(found.reasons) or "none",
    }
    check = {
        "check_name": CERTIFIED,
        "passed": found.certified,
        "severity": dg.AssetCheckSeverity.ERROR,
        "description": found.words(),
    }
    return pick(REFERENCE, facts), check


def study_metadata(project: Project, plan: TunePlan, id: str) -> dict[str, Any]:
    """Return the metadata of a finished study."""
    from lambda_hat_core.tuning.results import summary

    study = plan.studies[id]
    facts = summary(project.store, study, plan.problems[study.problem])
    folder = project.store.path("tuning", id)
    figures = sorted((folder / "figures").glob("*.png"))
    return {
        **pick(STUDY, facts | {"what": plan.label(id)}),
        "path": dg.MetadataValue.path(folder),
        "spec": dg.MetadataValue.json(study.spec.model_dump(mode="json")),
        **{path.stem: picture(path) for path in figures},
    }


def trials_metadata(project: Project) -> dict[str, Any]:
    """Refresh the SQL views and return the newest trials as a table."""
    path = sql.refresh(project.store)
    names = ", ".join(_COLUMNS)
    found = sql.query(
        project.store, f"SELECT {names} FROM trials ORDER BY problem, method, objective"
    )
    shown: list[dict[str, Any]] = [
        dict(zip(_COLUMNS, row, strict=True)) for row in found.rows[:_SHOWN]
    ]
    table = [dg.TableRecord(row) for row in shown]
    facts = {"path": dg.MetadataValue.path(path), "trials": len(found.rows)}
    return facts | ({"table": dg.MetadataValue.table(table)} if table else {})
