"""What the store lacks of a plan, key by key."""

from typing import NamedTuple

from lambda_hat_core.config.samplers.base import Dtype
from lambda_hat_core.config.spec import RunSpec, TargetSpec
from lambda_hat_core.plan.plan import Plan
from lambda_hat_core.store.store import Kind, Store
from lambda_hat_core.work.client import Event, request


class Missing(NamedTuple):
    """A target, or a run and its analysis, of which the store lacks something.

    Attributes:
        spec: of the target or the run.
        target: spec of the target, which is `spec` itself or the one that it samples.
        stages: what is left to do, in order.
    """

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

    @property
    def likeness(self) -> tuple[str, ...]:
        """What decides whether two of them share compiled programs, the most telling first."""
        sampler = self.spec.sampler.kind if isinstance(self.spec, RunSpec) else ""
        return (self.dtype, self.target.id, sampler)

    def requests(self) -> tuple[Event, ...]:
        """Return one request per stage."""
        target = self.target if isinstance(self.spec, RunSpec) else None
        return tuple(request(stage, self.spec, target) for stage in self.stages)


def missing_targets(store: Store, plan: Plan) -> list[Missing]:
    """Return the targets of a plan that the store does not have."""
    return [
        Missing(spec, spec, ("build",))
        for id, spec in plan.targets.items()
        if not store.is_complete("targets", id)
    ]


def missing_runs(store: Store, plan: Plan) -> list[Missing]:
    """Return the runs of a plan whose draws or whose analysis the store does not have."""
    kinds: dict[str, Kind] = {"sample": "runs", "analyse": "analyses"}
    found = []
    for id, spec in plan.runs.items():
        stages = tuple(s for s, kind in kinds.items() if not store.is_complete(kind, id))
        if stages:
            found.append(Missing(spec, plan.targets[spec.target], stages))
    return found
