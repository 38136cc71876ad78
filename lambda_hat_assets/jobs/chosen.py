"""The experiment that a job runs, with the changes to its file that are in the job's run config."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import dagster as dg

from lambda_hat_assets.jobs.cards import plan_config
from lambda_hat_assets.jobs.partitions import TARGETS_JOB, TRAJECTORIES_JOB
from lambda_hat_assets.project.partitions import SamplerFamily, families, in_order
from lambda_hat_assets.project.project import Project
from lambda_hat_core.plan.plan import Plan
from lambda_hat_core.store.store import Kind, Store

Repository = Callable[[Project], dg.RepositoryDefinition]
"""Returns the definitions of the part of a project that somebody asked for."""


class Chosen(NamedTuple):
    """An experiment, and the project that has it.

    Attributes:
        project: the project, to which an experiment with changes is added.
        plan: the experiment's plan; its name says the changes.
        base: the name of the experiment without the changes.
        changes: the changes, as `lambda-hat run` takes them.
        job: returns a partition job of the project by name.
    """

    project: Project
    plan: Plan
    base: str
    changes: list[str]
    job: Callable[[str], dg.JobDefinition]

    @property
    def store(self) -> Store:
        """The store of the project."""
        return self.project.store

    def order(self, kind: Kind) -> dict[str, Sequence[str]]:
        """Return the partitions of each job that makes a kind of artifact, in order."""
        if kind == "trajectories":
            return {TRAJECTORIES_JOB: list(self.project.trajectories)}
        if kind == "targets":
            return {TARGETS_JOB: self.targets}
        return {family.name: family.runs for family in self.families}

    @property
    def families(self) -> list[SamplerFamily]:
        """The assets of all runs of the project."""
        return families(self.project.runs.values(), self.project.targets)

    @property
    def targets(self) -> list[str]:
        """The targets of the project in the order of their partitions."""
        return in_order(self.project.targets)


def chosen_by(context: dg.OpExecutionContext, project: Project, repository: Repository) -> Chosen:
    """Return what the run config of a job chooses.

    Args:
        context: the context of a step of the job.
        project: the project as it was when the definitions were loaded.
        repository: returns the definitions of the assets; it is called when a job is needed.

    Raises:
        ConfigError: if there is no such experiment, or if the changes do not fit its file.
    """
    written = plan_config(context)
    changes = list(written.get("overrides") or [])
    base = project.plan(written.get("experiment"))
    plan = project.changed(base.experiment, changes) if changes else base
    is_new = bool(changes) or plan.experiment not in project.plans
    whole = project.with_plan(plan) if is_new else project
    build = cache(lambda: repository(whole))
    return Chosen(whole, plan, base.experiment, changes, lambda name: build().get_job(name))
