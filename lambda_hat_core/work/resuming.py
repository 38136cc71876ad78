"""Where runs and trainings keep their state between processes. JAX is imported inside functions."""

from pathlib import Path
from typing import Any

from lambda_hat_core.config.spec import RunSpec
from lambda_hat_core.store.store import Store


def checkpoint_folder(store: Store, id: str) -> Path:
    """Return the folder of the checkpoints of a run or a training."""
    return store.root / "checkpoints" / id


def resumable(store: Store, spec: RunSpec) -> Any:
    """Return where the state of a run is kept between processes."""
    import jax

    from lambda_hat_core.samplers import drive
    from lambda_hat_core.samplers.resume import DiskCheckpoint
    from lambda_hat_core.store.checkpoint import CheckpointFile

    target = store.read_json("targets", spec.target, "manifest.json")["files"]
    identity = {
        "spec": spec.id,
        "numerics_version": spec.numerics_version,
        "target": {name: entry["sha256"] for name, entry in target.items()},
        "devices": jax.device_count(),
        "chunks": drive.CHUNKS,
    }
    return DiskCheckpoint(CheckpointFile(checkpoint_folder(store, spec.id), identity))
