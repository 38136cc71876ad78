"""Sensors: one runs `llc` after a change under config/, the other maintains the pools."""

import hashlib
from pathlib import Path

import dagster as dg

from lambda_hat_assets.project.project import CONFIG, Project
from lambda_hat_assets.running.endings import LOOK, reap
from lambda_hat_assets.running.pools import set_limits


def fingerprint(folder: Path) -> str:
    """Return a hash of the names and contents of all YAML files in a folder."""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.yaml")):
        digest.update(str(file.relative_to(folder)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def config_sensor(job: dg.JobDefinition) -> dg.SensorDefinition:
    """Return the sensor that runs `llc` when config/ has changed since its last evaluation."""

    @dg.sensor(
        name="config_changed",
        job=job,
        minimum_interval_seconds=10,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Runs llc, which makes missing artifacts, when a file under config/ changes.",
    )
    def config_changed(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        now = fingerprint(CONFIG)
        changed = context.cursor not in (None, now)
        requests = [dg.RunRequest(run_key=now)] if changed else []
        return dg.SensorResult(run_requests=requests, cursor=now)

    return config_changed


def pools_sensor(project: Project) -> dg.SensorDefinition:
    """Return the sensor that sets the limits of the pools and frees lost slots."""

    @dg.sensor(
        name="pools",
        minimum_interval_seconds=int(LOOK),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Sets the number of slots of each dtype's pool to the card's, and marks runs "
        "whose process was killed as failed.",
    )
    def pools(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        set_limits(context.instance, project.card)
        return dg.SkipReason(f"marked {reap(context.instance)} runs of dead processes as failed")

    return pools
