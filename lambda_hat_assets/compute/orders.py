"""Orders (which artifacts to make for one key), their results, and the orders that a plan needs.

This module is independent of Dagster.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from lambda_hat_core.config.samplers.base import Dtype
from lambda_hat_core.config.spec import Origin, RunSpec, TargetSpec, Trajectory
from lambda_hat_core.gallery.members import Gallery
from lambda_hat_core.plan.plan import Plan
from lambda_hat_core.store import failures
from lambda_hat_core.store.store import Kind, Store
from lambda_hat_core.work.client import Event, request
from lambda_hat_core.work.steps import missing_steps


class Order(NamedTuple):
    """The artifacts to make for one key.

    Attributes:
        key: the id of a training, a target or a run, or an experiment's name.
        kinds: the kinds to make, in order: `trajectories`; `targets`; `runs` and `analyses`; or
            `galleries`.
        target: the spec of the target that is made or sampled, the training, or the gallery.
        run: the spec of the run; None where none is made.
    """

    key: str
    kinds: tuple[Kind, ...]
    target: Trajectory | TargetSpec | Gallery
    run: RunSpec | None = None

    @property
    def spec(self) -> Trajectory | TargetSpec | RunSpec | Gallery:
        """The spec of what is made."""
        return self.run or self.target

    @property
    def hashed(self) -> Origin | RunSpec | None:
        """The spec that the key is the hash of; None for a gallery."""
        spec = self.spec
        if isinstance(spec, Gallery):
            return None
        return spec.spec if isinstance(spec, Trajectory) else spec

    @property
    def dtype(self) -> Dtype:
        """The dtype of the worker; galleries are drawn in float64."""
        return self.run.dtype if self.run else "float64"

    @property
    def likeness(self) -> tuple[str, ...]:
        """Properties by which orders share compiled programs, the most important first."""
        alike = self.target.id
        if isinstance(self.target, TargetSpec) and self.target.trajectory is not None:
            alike = self.target.trajectory.id
        return (self.dtype, alike, self.run.sampler.kind if self.run else "", self.target.id)

    @property
    def source(self) -> str | None:
        """The id of what must be made before: a run's target, a checkpoint's training."""
        if self.run is not None:
            return self.run.target
        training = self.target.trained_by if isinstance(self.target, TargetSpec) else None
        return None if training is None else training.id

    def requests(self) -> tuple[Event, ...]:
        """Return the requests to a worker, one per kind."""
        target = self.target if self.run else None
        return tuple(request(kind, self.spec, target) for kind in self.kinds)


class Result(NamedTuple):
    """One artifact, or the reason why it could not be made.

    Attributes:
        key: the key of its order.
        kind: the kind of artifact.
        record: the facts that Dagster shows.
        reused: whether the artifact existed before.
        failure: the reason of a failure; None if there is an artifact.
    """

    key: str
    kind: Kind
    record: dict[str, Any]
    reused: bool = False
    failure: str | None = None


def missing_trajectories(store: Store, plan: Plan) -> list[Order]:
    """Return an order for each training of a plan whose steps the store does not all have."""
    return [
        Order(id, ("trajectories",), wanted)
        for id, wanted in plan.trajectories.items()
        if missing_steps(store, wanted)
    ]


def missing_targets(store: Store, plan: Plan) -> list[Order]:
    """Return an order for each target of a plan that the store lacks."""
    return [
        Order(id, ("targets",), spec)
        for id, spec in plan.targets.items()
        if not store.is_complete("targets", id)
    ]


def missing_runs(store: Store, plan: Plan) -> list[Order]:
    """Return an order for each run of a plan whose draws or analysis the store lacks."""
    found = []
    for id, spec in plan.runs.items():
        if kinds := missing_kinds(store, id, ("runs", "analyses")):
            found.append(Order(id, kinds, plan.targets[spec.target], spec))
    return found


def is_made(store: Store, order: Order, kind: Kind) -> bool:
    """Return whether the store has what an order asks for of a kind: of a training, all steps."""
    if isinstance(order.target, Trajectory):
        return not missing_steps(store, order.target)
    return store.is_complete(kind, order.key)


def missing_kinds(store: Store, key: str, kinds: Sequence[Kind]) -> tuple[Kind, ...]:
    """Return the kinds of artifact that the store lacks for a key."""
    return tuple(kind for kind in kinds if not store.is_complete(kind, key))


def note_blocked(store: Store, order: Order, why: str) -> str:
    """Record that an order cannot be carried out, because what it needs failed, and return that."""
    what = "its target" if order.run else "its training"
    why = f"{what} {order.source} could not be built: {why}"
    if order.hashed is not None:
        failures.write_failure(store, order.hashed, why)
    return why


def note_failure(store: Store, order: Order, end: Event) -> None:
    """Record the failure of an order, unless the worker did; failed galleries are not recorded."""
    if order.hashed is not None:
        failures.note_failure(store, order.hashed, end)
