"""Runs on the stand-ins of SLURM's commands, started as a job and as a click in the UI."""

import json
import time

import dagster as dg

from lambda_hat_core.store import failures
from tests.assets.conftest import FakeBackend


def jobs(state):
    """Return the records of all jobs, in order."""
    return [
        json.loads(p.read_text()) for p in sorted(state.glob("*.json"), key=lambda p: int(p.stem))
    ]


def repository(project):
    """Return the definitions, in which no galleries are drawn."""
    from lambda_hat_assets.compute.resource import Compute
    from lambda_hat_assets.definitions import build
    from lambda_hat_assets.slurm.backend import SlurmBackend

    def backend(dtype, card):
        here = FakeBackend(project.store, dtype)
        return SlurmBackend(project.store, dtype, card.tag(dtype), card.cluster, here)

    return build(project, Compute(project, backend)).get_repository_def()


def llc(site, project, **config):
    job = repository(project).get_job("llc")
    config = {"ops": {"plan": {"config": config}}}
    return job.execute_in_process(instance=site.instance, run_config=config, raise_on_error=False)


def nuts(site, project, seed, tags=None):
    """Materialise the run with this seed, as a click does."""
    (key,) = [id for id, spec in project.runs.items() if spec.seed == seed]
    return (
        repository(project)
        .get_job("nuts")
        .execute_in_process(
            instance=site.instance, partition_key=key, raise_on_error=False, tags=tags
        )
    )


def made(site):
    return site.instance.get_materialized_partitions(dg.AssetKey(["analyses", "nuts"]))


def reason(project, seed):
    (key,) = [id for id, spec in project.runs.items() if spec.seed == seed]
    return failures.read_failure(project.store, key)


def until_hung(project):
    while not (project.store.root / "hung").exists():
        time.sleep(0.1)
