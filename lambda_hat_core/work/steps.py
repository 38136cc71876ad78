"""The steps of trainings in the store: which are there, and their weights."""

from pathlib import Path
from typing import Any

from lambda_hat_core.config.spec import TargetSpec, Trajectory
from lambda_hat_core.store.store import Store

META = "meta.json"


def step_file(folder: Path, step: int) -> Path:
    """Return the file of a step in the folder of a trajectory."""
    return folder / "steps" / f"step_{step:09}.npz"


def missing_steps(store: Store, wanted: Trajectory) -> set[int]:
    """Return the steps whose weights the store lacks."""
    if not store.is_complete("trajectories", wanted.id):
        return {*wanted.steps}
    return {*wanted.steps} - {*store.read_json("trajectories", wanted.id, META)["steps"]}


def is_trained(store: Store, spec: TargetSpec) -> bool:
    """Return whether the store has the weights of a checkpoint, or the target needs none."""
    training = spec.trained_by
    if training is None or spec.step is None:
        return True
    return not missing_steps(store, Trajectory(spec=training, steps=(spec.step,)))


def weights_of(store: Store, spec: TargetSpec) -> Any:
    """Return the flat weights of a checkpoint of one of our trainings; None for other targets.

    Raises:
        FileNotFoundError: if the store does not have them.
    """
    training = spec.trained_by
    if training is None or spec.step is None:
        return None
    from lambda_hat_core.targets.trajectory import flat_weights

    id = training.id
    if not is_trained(store, spec):
        folder = store.path("trajectories", id)
        raise FileNotFoundError(f"{folder} does not have step {spec.step}; make {id} first")
    shapes = store.read_json("trajectories", id, META)["shapes"]
    file = step_file(store.path("trajectories", id), spec.step)
    return flat_weights(file, [name for name, _ in shapes])
