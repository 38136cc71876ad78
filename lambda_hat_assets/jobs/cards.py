"""The card of an `llc` job, with the changes in its run config, and the checks before it runs."""

import math
import shlex
from collections.abc import Iterable
from typing import Any

import dagster as dg

from lambda_hat_assets.cards.card import DTYPES, Card
from lambda_hat_assets.cards.file import changed
from lambda_hat_assets.cards.slurm import SlurmTag
from lambda_hat_assets.compute.resource import CARD_TAG
from lambda_hat_assets.project.project import Project
from lambda_hat_core.config.errors import Place
from lambda_hat_core.config.spec import RunSpec
from lambda_hat_core.plan.plan import Plan
from lambda_hat_core.store.store import Store
from lambda_hat_core.work.forecast import forecast, history


def plan_config(context: dg.OpExecutionContext) -> dict[str, Any]:
    """Return the run config of the op `plan` of this job."""
    config: Any = context.run_config
    for name in ("ops", "plan", "config"):
        config = config.get(name) or {}
    return config


def words(context: dg.OpExecutionContext) -> list[str]:
    """Return the changes to the card that are in this job's run config."""
    return list(plan_config(context).get("set") or [])


def tags(context: dg.OpExecutionContext) -> dict[str, str]:
    """Return the tags that pass the changes on to the runs inside this job."""
    return {CARD_TAG: shlex.join(words(context))} if words(context) else {}


def card_of(context: dg.OpExecutionContext, project: Project) -> Card:
    """Return the card of a job.

    Raises:
        ConfigError: if a change is invalid, or raises a limit of the card in the file.
    """
    card = changed(project.card, words(context))
    for dtype in DTYPES:
        most, wanted = project.card.at_once(dtype), card.at_once(dtype)
        if wanted > most:
            raise Place("--set", f"{dtype}.max_concurrent").error(
                f"a job can lower the number that the card allows, {most}, but not raise it",
                "raise it in the card's file",
                wanted,
            )
    return card


def prepare(context: dg.OpExecutionContext, project: Project, plan: Plan) -> Card:
    """Log the card of a job, and check that the job can run with it.

    Raises:
        ConfigError: if runs would not fit their walltime, or the cluster cannot run payloads.
    """
    card = card_of(context, project)
    if words(context):
        context.log.info(f"card, changed by {' '.join(words(context))}:")
    for line in card.routing():
        context.log.info(line)
    for line in card.warnings():
        context.log.warning(line)
    require_walltimes(card, project.store, plan)
    if card.slurm and card.cluster is not None:
        from lambda_hat_assets.slurm.fitness import require
        from lambda_hat_assets.slurm.login import Login
        from lambda_hat_assets.slurm.resource import slurm_resource
        from lambda_hat_assets.slurm.watch import Watch

        # Entries differ in what their jobs ask for, which is not looked at here.
        slurm = slurm_resource(card.cluster, card.slurm[0])
        require(Watch(context), Login(slurm.ssh), slurm, card.slurm, project.store)
    return card


def require_walltimes(card: Card, store: Store, plan: Plan) -> None:
    """Refuse a plan with runs that would exceed their walltime, according to similar runs.

    Raises:
        ConfigError: naming the longest of those runs.
    """
    if not card.slurm:
        return
    known = history(store)
    missing = [spec for id, spec in plan.runs.items() if not store.is_complete("analyses", id)]
    times = [(spec, forecast(spec, plan.targets[spec.target], known).seconds) for spec in missing]
    require_fit(card, [(spec, seconds) for spec, seconds in times if seconds is not None])


def require_fit(card: Card, times: Iterable[tuple[RunSpec, float]]) -> None:
    """Refuse runs that take longer than the walltime of their dtype.

    Args:
        card: the card, which has the walltimes.
        times: the runs, each with its predicted duration in seconds.

    Raises:
        ConfigError: naming the longest of those runs.
    """
    for spec, seconds in sorted(times, key=lambda pair: pair[1], reverse=True):
        tag = card.tag(spec.dtype)
        if isinstance(tag, SlurmTag) and seconds > tag.seconds:
            hours, minutes = divmod(math.ceil(1.5 * seconds / 60), 60)
            enough = f"{spec.dtype}.walltime={hours:02d}:{minutes:02d}:00"
            raise Place("card", f"tags.{spec.dtype}.walltime").error(
                f"{spec.id} is predicted to take {seconds:.0f} s, from similar runs in the store, "
                "and would be cut off",
                f"raise it: {enough}, under ops.plan.config.set of the job's run config",
                tag.walltime,
            )
