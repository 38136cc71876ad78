"""What is to be made of one id, what came of it, and what the store lacks of a plan.

Knows no Dagster.
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
    """What is to be made of one key.

    Attributes:
        key: a target id, a run id, or an experiment's name.
        kinds: what to make, in this order: `targets`, `runs` and `analyses`, or `galleries`.
        target: spec of the target that is made or sampled; or the gallery.
        run: the run's spec, None for a target and a gallery.
    """

    key: str
    kinds: tuple[Kind, ...]
    target: TargetSpec | Gallery
    run: RunSpec | None = None

    @property
    def spec(self) -> TargetSpec | RunSpec | Gallery:
        """The spec of what is made."""
        return self.run or self.target

    @property
    def dtype(self) -> Dtype:
        """The precision of the process that makes it; galleries are drawn in float64."""
        return self.run.dtype if self.run else "float64"

    @property
    def likeness(self) -> tuple[str, ...]:
        """What two orders that share compiled programs have in common, most important first."""
        return (self.dtype, self.target.id, self.run.sampler.kind if self.run else "")

    def requests(self) -> tuple[Event, ...]:
        """Return the requests to a worker, one for each kind."""
        target = self.target if self.run else None
        return tuple(request(kind, self.spec, target) for kind in self.kinds)


class Result(NamedTuple):
    """One artifact, or the reason why it could not be made.

    Attributes:
        key: its id.
        kind: of the artifact.
        record: the facts that Dagster shows.
        reused: whether the artifact existed before.
        failure: the reason, None where there is an artifact.
    """

    key: str
    kind: Kind
    record: dict[str, Any]
    reused: bool = False
    failure: str | None = None


def missing_targets(store: Store, plan: Plan) -> list[Order]:
    """Return an order for each target of a plan that the store does not have."""
    return [
        Order(id, ("targets",), spec)
        for id, spec in plan.targets.items()
        if not store.is_complete("targets", id)
    ]


def missing_runs(store: Store, plan: Plan) -> list[Order]:
    """Return an order for each run of a plan whose draws or analysis the store does not have."""
    found = []
    for id, spec in plan.runs.items():
        if kinds := missing_kinds(store, id, ("runs", "analyses")):
            found.append(Order(id, kinds, plan.targets[spec.target], spec))
    return found


def missing_kinds(store: Store, key: str, kinds: Sequence[Kind]) -> tuple[Kind, ...]:
    """Return the kinds of artifact that the store does not have of a key."""
    return tuple(kind for kind in kinds if not store.is_complete(kind, key))


def note_failure(store: Store, order: Order, end: Event) -> None:
    """Note in the store that the worker of an order died; a gallery's failure is not kept."""
    if not isinstance(order.spec, Gallery):
        records.note_failure(store, order.spec, end)
