"""The code location: `defs`, made from config/ and the environment. Imports no JAX."""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import dagster as dg

from lambda_hat_assets.assets.experiments import experiments_asset
from lambda_hat_assets.assets.galleries import GALLERIES_KEY, galleries_asset
from lambda_hat_assets.assets.results import results_asset
from lambda_hat_assets.assets.samplers import sampler_assets
from lambda_hat_assets.assets.targets import targets_asset
from lambda_hat_assets.assets.trajectories import trajectories_asset
from lambda_hat_assets.assets.tuning import tuning_assets
from lambda_hat_assets.cards.card import Card, LocalTag
from lambda_hat_assets.compute.local import LocalBackend
from lambda_hat_assets.compute.resource import Backend, Compute
from lambda_hat_assets.jobs.llc import llc_job
from lambda_hat_assets.jobs.partitions import partition_jobs
from lambda_hat_assets.jobs.promote import promote_job
from lambda_hat_assets.jobs.sensors import config_sensor, pools_sensor
from lambda_hat_assets.jobs.tune import tune_job
from lambda_hat_assets.mends import pool_wait, step_logs
from lambda_hat_assets.project.partitions import families
from lambda_hat_assets.project.project import Project, load_project
from lambda_hat_assets.running.console import console
from lambda_hat_assets.running.executor import in_one_process, in_processes
from lambda_hat_core.config.samplers.base import Dtype
from lambda_hat_core.store.store import Store

_HANGS = (
    "dagster dev cannot start while DAGSTER_MODULE_NAME is set: unset it, or copy the project's "
    ".env, which does that, into this folder"
)
"""Printed under `dagster dev`. Its server and daemon get a workspace, and reject a module in
addition to it, but they report this only when they are told to shut down."""


def compute(project: Project) -> Compute:
    """Return the compute resource of a project, with the backends of its card."""
    return Compute(project, partial(backend, project.store))


def backend(store: Store, dtype: Dtype, card: Card) -> Backend:
    """Return the backend that runs the payloads of a dtype, as the card says."""
    tag = card.tag(dtype)
    if isinstance(tag, LocalTag):
        return LocalBackend(store, card)
    from lambda_hat_assets.slurm.backend import SlurmBackend

    assert card.cluster is not None
    here = LocalBackend(store, Card())
    return SlurmBackend(store, dtype, tag, card.cluster, here)


def build(project: Project, resource: Compute) -> dg.Definitions:
    """Return the assets that somebody asked for, and all jobs, sensors and resources.

    The job `llc` may run any experiment of the project, also with changes to its file. When it
    begins, it records that somebody asked for it, and takes the assets that are shown from then on.
    """

    def cancel(run_id: str) -> None:
        if project.card.slurm:
            from lambda_hat_assets.slurm.cancel import cancel_jobs

            cancel_jobs(project.store, project.card, run_id, partial(print, file=sys.stderr))

    alone, forked = in_one_process(cancel), in_processes(project.card, cancel)

    def definitions(of: Project, *jobs: dg.JobDefinition, **others: Any) -> dg.Definitions:
        assets, partitioned = _graph(of.wanted())
        return dg.Definitions(
            assets=assets,
            jobs=[*jobs, *partitioned],
            resources={"compute": resource.of(of)},
            loggers={"console": console},
            executor=alone,
            **others,
        )

    llc = llc_job(project, lambda of: definitions(of).get_repository_def(), forked)
    others = [promote_job(project, alone), tune_job(project, alone)]
    sensors = [config_sensor(llc), pools_sensor(project)]
    return definitions(project, llc, *others, sensors=sensors)


def _graph(project: Project) -> tuple[list[dg.AssetsDefinition], list[Any]]:
    """Return the assets of a project, and the jobs that make partitions of one of them."""
    members = families(project.runs.values(), project.targets)
    with _unfinished_features():
        assets = [
            *([trajectories_asset(project)] if project.trajectories else []),
            targets_asset(project),
            *(sampler_assets(project, family) for family in members),
            galleries_asset(project, members),
            experiments_asset(project, members),
            *tuning_assets(project),
            results_asset(project, [GALLERIES_KEY, *(family.analyses_key for family in members)]),
        ]
    return assets, partition_jobs(members, trains=bool(project.trajectories))


@contextmanager
def _unfinished_features() -> Iterator[None]:
    """Silence Dagster's warnings about partitioned checks and batched backfills."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)
        warnings.simplefilter("ignore", dg.BetaWarning)
        yield


def _tell(project: Project) -> None:
    """Print the mistakes in files that could not be read, except those that the job reports."""
    if "lambda_hat_assets._preload" in sys.modules:
        return
    if os.environ.get("DAGSTER_IS_DEV_CLI") and os.environ.get("DAGSTER_MODULE_NAME"):
        print(_HANGS, file=sys.stderr)
    is_job = sys.argv[1:3] == ["job", "execute"]
    for name, lines in (project.problems | project.studies.mistakes).items():
        if not (is_job and name in ("card", project.selected)):
            print(lines, file=sys.stderr)


pool_wait.mend()
step_logs.mend()
_project = load_project()
_tell(_project)
defs = build(_project, compute(_project))
