"""Orders (which artifacts to make for one key), their results, and the orders that a plan needs.

This module is independent of Dagster.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from lambda_hat_core.config.samplers.base import Dtype
from lambda_hat_core.config.spec import RunSpec, TargetSpec
from lambda_hat_core.gallery.members import Gallery
from lambda_hat_core.plan.plan import Plan
from lambda_hat_core.store import records
from lambda_hat_core.store.store import Kind, Store
from lambda_hat_core.work.client import Event, request


class Order(NamedTuple):
    """The artifacts to make for one key.

    Attributes:
        key: a target id, a run id, or an experiment's name.
        kinds: the kinds to make, in order: `targets`; `runs` and `analyses`; or `galleries`.
        target: the spec of the target that is made or sampled, or the gallery.
        run: the spec of the run; None for a target or a gallery.
    """

    key: str
    kinds: tuple[Kind, ...]
    target: TargetSpec | Gallery
    run: RunSpec | None = None

    @property
    def spec(self) -> TargetSpec | RunSpec | Gallery:
        """The spec of the run, the target or the gallery."""
        return self.run or self.target

    @property
    def dtype(self) -> Dtype:
        """The dtype of the worker; galleries are drawn in float64."""
        return self.run.dtype if self.run else "float64"

    @property
    def likeness(self) -> tuple[str, ...]:
        """Properties by which orders share compiled programs, the most important first."""
        return (self.dtype, self.target.id, self.run.sampler.kind if self.run else "")

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


def missing_kinds(store: Store, key: str, kinds: Sequence[Kind]) -> tuple[Kind, ...]:
    """Return the kinds of artifact that the store lacks for a key."""
    return tuple(kind for kind in kinds if not store.is_complete(kind, key))


def note_failure(store: Store, order: Order, end: Event) -> None:
    """Record the failure of an order, unless the worker did; failed galleries are not recorded."""
    if not isinstance(order.spec, Gallery):
        records.note_failure(store, order.spec, end)
