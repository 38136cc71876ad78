"""Make trajectories: one training, and its weights at the steps that anybody has asked for.

A folder is complete or absent, as all are. If more steps are asked for, the training goes on from
the states that the folder has, and a folder with all steps takes its place. While it trains, states
are kept among the checkpoints, from which a killed training goes on.
"""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from lambda_hat_core.config.spec import Trajectory, TrajectorySpec
from lambda_hat_core.store import failures, files, records
from lambda_hat_core.store.checkpoint import CheckpointFile
from lambda_hat_core.store.store import Store
from lambda_hat_core.work.outcomes import Log, Outcome, noted, record
from lambda_hat_core.work.resuming import checkpoint_folder
from lambda_hat_core.work.steps import META, missing_steps, step_file

_SERIES = "series.parquet"


def make_trajectory(store: Store, wanted: Trajectory, log: Log) -> Outcome:
    """Train, and keep the weights at the steps that are wanted, in float64."""
    began = time.perf_counter()
    status: Literal["made", "reused"] = "reused"
    id = wanted.id
    if missing_steps(store, wanted):
        from lambda_hat_core import precision

        precision.require("float64")
        with noted(store, wanted.spec), store.lease("trajectories", id, log):
            missing = missing_steps(store, wanted)
            if missing:
                with store.publish("trajectories", id, wanted.spec, replace=True) as folder:
                    _train(store, wanted.spec, missing, folder, log)
                files.remove(checkpoint_folder(store, id))
                status = "made"
    failures.clear_failure(store, id)
    seconds = time.perf_counter() - began
    return Outcome(id, status, seconds, record(store, "trajectories", id))


def _train(store: Store, spec: TrajectorySpec, missing: set[int], folder: Path, log: Log) -> None:
    """Write everything that the store has of a training, and the steps that it lacks."""
    from lambda_hat_core.plan.labels import target_label
    from lambda_hat_core.targets.measures import metric_name
    from lambda_hat_core.targets.trajectory import Tracer
    from lambda_hat_core.targets.trajectory_figure import draw

    began = time.perf_counter()
    tracer, kept = Tracer(spec), _Kept(store, spec)
    rows: dict[int, dict[str, Any]] = {}
    before: dict[str, Any] = {}
    (folder / "steps").mkdir()
    if store.is_complete("trajectories", spec.id):
        old = store.path("trajectories", spec.id)
        before = json.loads((old / META).read_bytes())
        rows |= {row["step"]: row for row in _read(old / _SERIES)}
        for step in rows:
            shutil.copyfile(step_file(old, step), step_file(folder, step))
    kept.known = {step: (lambda step=step: tracer.read(step_file(folder, step))) for step in rows}
    for point in tracer.points(missing, kept, log):
        tracer.write(step_file(folder, point.step), point.state)
        rows[point.step] = {"step": point.step, **point.measures._asdict()}
    series = [rows[step] for step in sorted(rows)]
    label, id = target_label(spec, {}), spec.id
    records.write(
        "trajectories",
        [{**row, "trajectory_id": id, "label": label} for row in series],
        folder / _SERIES,
    )
    problem = tracer.problem
    meta = {
        "label": label,
        "kind": spec.model.kind,
        "steps": sorted(rows),
        "n": problem.n,
        "d": int(problem.start.size),
        "shapes": [[name, list(shape)] for name, shape in problem.shapes],
        "metric_name": metric_name(problem),
        "seconds": time.perf_counter() - began + before.get("seconds", 0.0),
        "work_fge": tracer.work(sorted(rows)),
        "train_loss": series[-1]["train_loss"],
        "test_loss": series[-1]["test_loss"],
        "metric": series[-1]["metric"],
    }
    (folder / META).write_text(files.to_json(meta, indent=1))
    draw(series, meta, folder / "figures")


def _read(path: Path) -> list[dict[str, Any]]:
    from pyarrow import parquet

    names = ["step", "train_loss", "test_loss", "metric"]
    return parquet.read_table(path, columns=names).to_pylist()


class _Kept:
    """The states of a training: those in the store, and those that an attempt was killed at.

    Attributes:
        known: what reads the state of each step that the store has.
    """

    def __init__(self, store: Store, spec: TrajectorySpec):
        identity = {"spec": spec.id, "numerics_version": spec.numerics_version}
        self._file = CheckpointFile(checkpoint_folder(store, spec.id), identity)
        self.known: dict[int, Callable[[], Any]] = {}

    def nearest(self, step: int) -> tuple[int, Any] | None:
        """Return the last state at or before a step, with its own step; None if there is none."""
        found = [pair for pair in (self._killed_at(step), self._known(step)) if pair is not None]
        return max(found, key=lambda pair: pair[0], default=None)

    def save(self, step: int, state: Any, *, wanted: bool) -> None:
        """Keep a state; only the last one of those whose steps are not wanted is kept."""
        arrays = {f"{i:06}": leaf for i, leaf in enumerate(state)}
        file = self._file.beside(f"step_{step:09}") if wanted else self._file
        file.save(step, arrays)

    def _known(self, step: int) -> tuple[int, Any] | None:
        before = [at for at in self.known if at <= step]
        return (max(before), self.known[max(before)]()) if before else None

    def _killed_at(self, step: int) -> tuple[int, Any] | None:
        """Return the last usable state that an earlier attempt left."""
        names = sorted(path.stem for path in self._file.path.parent.glob("step_*.npz"))
        found = [self._file.load()]
        for name in reversed(names):
            if int(name.removeprefix("step_")) <= step:
                found.append(self._file.beside(name).load())
                if found[-1] is not None:
                    break
        usable = [pair for pair in found if pair is not None and pair[0] <= step]
        if not usable:
            return None
        at, arrays = max(usable, key=lambda pair: pair[0])
        return at, tuple(arrays[name] for name in sorted(arrays))
