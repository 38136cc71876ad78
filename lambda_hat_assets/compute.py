"""The `compute` resource: what an asset asks for is looked up in the store, or made by a backend.

An asset body computes nothing. A backend is where payloads run; the card says which one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

from lambda_hat_assets.project import Project
from lambda_hat_core import stages
from lambda_hat_core.config.samplers import Dtype
from lambda_hat_core.config.spec import RunSpec, TargetSpec
from lambda_hat_core.gallery.members import Gallery, gallery_of, is_current

Kind = Literal["targets", "runs", "analyses", "galleries"]
Say = Callable[[str], None]


class Order(NamedTuple):
    """What is wanted of one key.

    Attributes:
        key: a target id, a run id, or an experiment's name.
        kinds: what to make, in this order: `targets`, `runs` and `analyses`, or `galleries`.
        target: the target's spec, which is `key`'s own or the one it samples; or the gallery.
        run: the run's spec, None for a target and a gallery.
    """

    key: str
    kinds: tuple[Kind, ...]
    target: TargetSpec | Gallery
    run: RunSpec | None


class Result(NamedTuple):
    """One artifact, or why there is none.

    Attributes:
        key: its id.
        kind: what it is.
        record: the small facts that a person is shown.
        reused: whether it existed before.
        failure: why it could not be made.
    """

    key: str
    kind: Kind
    record: dict[str, Any]
    reused: bool = False
    failure: str | None = None


class Backend(Protocol):
    """Where payloads of one dtype run."""

    def run(self, orders: Sequence[Order], say: Say) -> Iterator[Result]:
        """Yield results as they come; after the failure of a key, go on with the next key."""
        ...

    def close(self) -> None:
        """Give up what is held between calls."""
        ...


class Compute:
    """Looks in the store first, and sends what is missing to the backend of its dtype.

    Args:
        project: the store and the specs.
        backends: by dtype; each is made when it is first needed and kept for the process.
    """

    def __init__(self, project: Project, backends: Mapping[Dtype, Callable[[], Backend]]):
        self._project = project
        self._makers = backends
        self._open: dict[Dtype, Backend] = {}

    def run(self, kinds: Sequence[Kind], keys: Sequence[str], say: Say) -> Iterator[Result]:
        """Yield the artifacts of every key, those that exist first.

        Args:
            kinds: what is wanted of each key, in the order in which it is made.
            keys: target ids, run ids or experiments, all of one dtype.
            say: told what happens, a line at a time.
        """
        orders: list[Order] = []
        for key in keys:
            missing: tuple[Kind, ...] = tuple(
                kind for kind in kinds if not self._complete(kind, key)
            )
            for kind in kinds:
                if kind not in missing:
                    yield self._reused(kind, key, say)
            if missing:
                orders.append(self._order(key, missing))
        if orders:
            yield from self._backend(orders[0]).run(orders, say)

    def close(self) -> None:
        """Close the backends that were used."""
        while self._open:
            self._open.popitem()[1].close()

    def _complete(self, kind: Kind, key: str) -> bool:
        if kind == "galleries":
            return is_current(self._project.store, gallery_of(self._project.plans[key]))
        return self._project.store.is_complete(kind, key)

    def _reused(self, kind: Kind, key: str, say: Say) -> Result:
        record = stages.record(self._project.store, kind, key)
        say(f"{kind} {key} exists since {record['made']} and is reused")
        return Result(key, kind, record, reused=True)

    def _order(self, key: str, kinds: tuple[Kind, ...]) -> Order:
        if "galleries" in kinds:
            return Order(key, kinds, gallery_of(self._project.plans[key]), None)
        run = self._project.runs.get(key)
        target = self._project.targets[run.target if run else key]
        return Order(key, kinds, target, run)

    def _backend(self, order: Order) -> Backend:
        dtype: Dtype = order.run.dtype if order.run else "float64"
        if dtype not in self._open:
            self._open[dtype] = self._makers[dtype]()
        return self._open[dtype]
