"""The `compute` resource: returns artifacts from the store, and has missing ones made.

Assets compute nothing themselves. Missing artifacts are made by a backend, which the card selects.
"""

import shlex
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import dagster as dg

from lambda_hat_assets.cards.card import Card
from lambda_hat_assets.cards.file import changed
from lambda_hat_assets.compute.orders import Order, Result
from lambda_hat_assets.project.about import about
from lambda_hat_assets.project.project import Project
from lambda_hat_core.config.samplers.base import Dtype
from lambda_hat_core.gallery.members import gallery_of, is_current
from lambda_hat_core.store.store import Kind
from lambda_hat_core.work import outcomes

CARD_TAG = "lambda_hat/card"
"""Tag of a Dagster run with changes to the card, in the form of `--set`: walltime=04:00:00."""


class Backend(Protocol):
    """Runs payloads of one dtype."""

    def run(self, context: dg.AssetExecutionContext, orders: Sequence[Order]) -> Iterator[Result]:
        """Yield results as they arrive; if a key fails, the next keys are computed nevertheless.

        Args:
            context: the context of the requesting step, whose log receives the progress.
            orders: the orders, all of one dtype.
        """
        ...

    def close(self) -> None:
        """End the processes that are kept between calls."""
        ...


class Compute:
    """Looks artifacts up in the store, and orders missing ones from the backend of their dtype.

    Args:
        project: the project, with its store and specs.
        backend: returns the backend of a dtype for a card; called when it is first needed.
    """

    def __init__(self, project: Project, backend: Callable[[Dtype, Card], Backend]):
        self._project = project
        self._make = backend
        self._open: dict[tuple[Dtype, str], Backend] = {}

    def of(self, project: Project) -> "Compute":
        """Return the resource of a project with further experiments, with the same backends."""
        other = Compute(project, self._make)
        other._open = self._open
        return other

    def run(
        self, context: dg.AssetExecutionContext, kinds: Sequence[Kind], keys: Sequence[str]
    ) -> Iterator[Result]:
        """Yield the artifacts of every key, those that exist first.

        Args:
            context: the context of the requesting step, whose log receives the progress.
            kinds: the kinds of artifact to make for each key, in order.
            keys: ids of trainings, targets or runs, or experiments, all of one dtype.
        """
        context.instance.add_run_tags(context.run.run_id, about(self._project, keys))
        orders: list[Order] = []
        for key in keys:
            missing: tuple[Kind, ...] = tuple(
                kind for kind in kinds if not self._complete(kind, key)
            )
            for kind in kinds:
                if kind not in missing:
                    yield self._reused(context, kind, key)
            if missing:
                orders.append(self._order(key, missing))
        if orders:
            yield from self.backend(context, orders[0].dtype).run(context, orders)

    def close(self) -> None:
        """Close the backends that were used."""
        while self._open:
            self._open.popitem()[1].close()

    def _complete(self, kind: Kind, key: str) -> bool:
        if kind == "galleries":
            return is_current(self._project.store, gallery_of(self._project.plans[key]))
        return self._project.is_made(kind, key)

    def _reused(self, context: dg.AssetExecutionContext, kind: Kind, key: str) -> Result:
        record = outcomes.record(self._project.store, kind, key)
        context.log.info(f"{kind} {key} was made at {record['made']} and is reused")
        return Result(key, kind, record, reused=True)

    def _order(self, key: str, kinds: tuple[Kind, ...]) -> Order:
        if "galleries" in kinds:
            return Order(key, kinds, gallery_of(self._project.plans[key]))
        if "trajectories" in kinds:
            return Order(key, kinds, self._project.trajectories[key])
        run = self._project.runs.get(key)
        target = self._project.targets[run.target if run else key]
        return Order(key, kinds, target, run)

    def backend(self, context: dg.AssetExecutionContext, dtype: Dtype) -> Backend:
        """Return the backend of a dtype, for the card with the changes in the run's tag."""
        words = context.run.tags.get(CARD_TAG, "")
        if (dtype, words) not in self._open:
            card = changed(self._project.card, shlex.split(words))
            self._open[dtype, words] = self._make(dtype, card)
        return self._open[dtype, words]
