"""A sensor that launches `llc` when a file under config/ changes. Off until switched on."""

import hashlib
from pathlib import Path

import dagster as dg

from lambda_hat_assets.project import CONFIG


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
