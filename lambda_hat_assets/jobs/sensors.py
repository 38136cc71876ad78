"""Sensors: `llc` after a change under config/, off until switched on; pools kept in order."""

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
    """Return the sensor; the state at its first look is what changes are compared with."""

    @dg.sensor(
        name="config_changed",
        job=job,
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Launches llc, which makes what is missing, when a file under config/ changes.",
    )
    def config_changed(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        now = fingerprint(CONFIG)
        changed = context.cursor not in (None, now)
        requests = [dg.RunRequest(run_key=now)] if changed else []
        return dg.SensorResult(run_requests=requests, cursor=now)

    return config_changed


def pools_sensor(project: Project) -> dg.SensorDefinition:
    """Return the sensor that sees to the slots of runs which `dagster dev` starts."""

    @dg.sensor(
        name="pools",
        minimum_interval_seconds=int(LOOK),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Gives each dtype's pool the card's number of slots, and ends runs whose "
        "process was killed.",
    )
    def pools(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        set_limits(context.instance, project.card)
        return dg.SkipReason(f"{reap(context.instance)} runs ended with their process")

    return pools
