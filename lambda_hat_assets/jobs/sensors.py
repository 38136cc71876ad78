"""Sensors: one runs `llc` after a change under config/, one keeps the pools in order."""

import hashlib
from pathlib import Path

import dagster as dg

from lambda_hat_assets.project.project import CONFIG, Project
from lambda_hat_assets.running.endings import LOOK, reap
from lambda_hat_assets.running.pools import set_limits


def fingerprint(folder: Path) -> str:
    """Return a hash of all YAML files of a folder, names and contents."""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.yaml")):
        digest.update(str(file.relative_to(folder)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def config_sensor(job: dg.JobDefinition) -> dg.SensorDefinition:
    """Return the sensor that runs `llc` when config/ differs from what it saw the last time."""

    @dg.sensor(
        name="config_changed",
        job=job,
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Runs llc, which makes what is missing, when a file under config/ changes.",
    )
    def config_changed(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        now = fingerprint(CONFIG)
        changed = context.cursor not in (None, now)
        requests = [dg.RunRequest(run_key=now)] if changed else []
        return dg.SensorResult(run_requests=requests, cursor=now)

    return config_changed


def pools_sensor(project: Project) -> dg.SensorDefinition:
    """Return the sensor that keeps the pools in order under `dagster dev`."""

    @dg.sensor(
        name="pools",
        minimum_interval_seconds=int(LOOK),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Gives each dtype's pool the card's number of slots, and marks runs whose "
        "process was killed as failed.",
    )
    def pools(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        set_limits(context.instance, project.card)
        return dg.SkipReason(f"marked {reap(context.instance)} runs of dead processes as failed")

    return pools
