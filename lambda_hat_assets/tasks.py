"""What is missing, key by key, and which key a warm worker takes best."""

from typing import NamedTuple

from lambda_hat_core.config.samplers import Dtype
from lambda_hat_core.config.spec import RunSpec, TargetSpec
from lambda_hat_core.plan.plan import Plan
from lambda_hat_core.store import Kind, Store
from lambda_hat_core.worker_client import Event, request


class Task(NamedTuple):
    """One key: what is missing of it is made in one go, in one process."""

    spec: TargetSpec | RunSpec
    target: TargetSpec
    stages: tuple[str, ...]

    @property
    def id(self) -> str:
        """The target's or the run's id."""
        return self.spec.id

    @property
    def dtype(self) -> Dtype:
        """The precision of the process that makes it."""
        return self.spec.dtype if isinstance(self.spec, RunSpec) else "float64"

    def requests(self) -> list[Event]:
        """Return one request a stage."""
        target = self.target if isinstance(self.spec, RunSpec) else None
        return [request(stage, self.spec, target) for stage in self.stages]


def missing(store: Store, plan: Plan) -> list[Task]:
    """Return a task for every target and run of which the store lacks something."""
    tasks = [
        Task(spec, spec, ("build",))
        for id, spec in plan.targets.items()
        if not store.is_complete("targets", id)
    ]
    kinds: dict[str, Kind] = {"sample": "runs", "analyse": "analyses"}
    for id, spec in plan.runs.items():
        stages = tuple(s for s, kind in kinds.items() if not store.is_complete(kind, id))
        if stages:
            tasks.append(Task(spec, plan.targets[spec.target], stages))
    return tasks


def unlike(task: Task, last: Task | None) -> tuple[bool, bool, bool, bool]:
    """Return what orders tasks: same process, targets first, same target, same sampler."""
    kind, before = (_sampler(other) if other else None for other in (task, last))
    return (
        last is not None and task.dtype != last.dtype,
        kind is not None,
        last is not None and task.target != last.target,
        kind != before,
    )


def _sampler(task: Task) -> str | None:
    return task.spec.sampler.kind if isinstance(task.spec, RunSpec) else None
