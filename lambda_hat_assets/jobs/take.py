"""The steps of `llc` that make things: each has a warm worker and takes batches until none is left.

A batch is a Dagster run of its own: what it does looks as if it had been clicked.
"""

import time
from collections.abc import Callable, Sequence

import dagster as dg

from lambda_hat_assets.assets.common import DTYPE_TAG, GALLERIES_KEY
from lambda_hat_assets.card import LocalTag
from lambda_hat_assets.claims import Claims
from lambda_hat_assets.jobs.batches import Keys, pace, share_count, steps, stretches
from lambda_hat_assets.jobs.cards import card_of
from lambda_hat_assets.jobs.partitions import GALLERIES_JOB, TARGETS_JOB, materialise
from lambda_hat_assets.partitions import Family, family_name
from lambda_hat_assets.pools import reaping
from lambda_hat_assets.project import Project
from lambda_hat_core.config.samplers import Dtype
from lambda_hat_core.forecast import times
from lambda_hat_core.gallery.members import gallery_of, is_current

_CRASH = dg.RetryPolicy(max_retries=1, delay=1)
"""A step whose process dies is started again and takes what is left."""

_PRIORITY: dict[Dtype, str] = {"float64": "1", "float32": "0"}
"""Long runs first: the samplers of float64 follow full-data gradients."""


class Makers:
    """Make what an experiment lacks, in a few steps a dtype.

    Args:
        project: what there is.
        families: the assets of its runs.
        job: finds a partition job by name.
    """

    def __init__(
        self, project: Project, families: Sequence[Family], job: Callable[[str], dg.JobDefinition]
    ):
        self._project, self._families, self._job = project, families, job

    def left(
        self, context: dg.OpExecutionContext, experiment: str
    ) -> dict[Dtype, tuple[list[Keys], int]]:
        """Return the runs of each dtype still to make, and how many steps are worth it."""
        project, store = self._project, self._project.store
        card, claims = card_of(context, project), Claims(context.run_id)
        specs = [
            spec
            for run, spec in project.plan(experiment).runs.items()
            if not store.is_complete("analyses", run)
            and not claims.is_finished(run)
            and store.is_complete("targets", spec.target)
        ]
        forecast = times(store, specs, project.targets)
        seconds = {spec.id: time for spec, time in zip(specs, forecast, strict=True)}
        found: dict[Dtype, tuple[list[Keys], int]] = {}
        for dtype in ("float64", "float32"):
            mine = [spec for spec in specs if spec.dtype == dtype]
            wanted = {spec.id for spec in mine}
            of_dtype = [family for family in self._families if family.dtype == dtype]
            keys = [keys for family in of_dtype for keys in stretches(family.runs, wanted)]
            found[dtype] = keys, steps(card, dtype, mine, seconds)
        return found

    def targets(self) -> dg.OpDefinition:
        """Return the op that makes targets."""

        @_op("targets", "float64")
        def take(context: dg.OpExecutionContext, experiment: str, shared: list[Keys]) -> int:
            """Make targets; where one worker is enough for all, it goes on with the runs."""
            with reaping(context.instance):
                self._work_off(context, "float64", shared, TARGETS_JOB)
                made = self._go_on(context, experiment)
                self._draw_if_last(context, experiment)
            return made

        return take

    def runs(self, dtype: Dtype) -> dg.OpDefinition:
        """Return the op that makes runs of a dtype."""

        @_op("sample", dtype)
        def take(context: dg.OpExecutionContext, experiment: str, shared: list[Keys]) -> int:
            """Make the runs that nobody else has taken; one that fails does so in its own run."""
            with reaping(context.instance):
                made = self._work_off(context, dtype, shared)
                self._draw_if_last(context, experiment)
            return made

        return take

    def draw(self, context: dg.OpExecutionContext, experiment: str) -> bool:
        """Draw an experiment's gallery unless it shows its runs as they are and Dagster knows it.

        Returns:
            Whether it is there.
        """
        known = context.instance.get_materialized_partitions(GALLERIES_KEY)
        gallery = gallery_of(self._project.plan(experiment))
        if experiment in known and is_current(self._project.store, gallery):
            return True
        return materialise(context, self._job(GALLERIES_JOB), [experiment])

    def _work_off(
        self,
        context: dg.OpExecutionContext,
        dtype: Dtype,
        shared: Sequence[Keys],
        name: str | None = None,
    ) -> int:
        """Take batches until none is left; return how many keys are there of those taken.

        Args:
            context: of the step.
            dtype: of all keys.
            shared: contiguous keys, of which others may take some.
            name: the job of all keys; None for runs, whose families have jobs of their own.
        """
        store, kind = self._project.store, "targets" if name == TARGETS_JOB else "runs"
        share = context.get_mapping_key() or ""
        cut, made = pace(card_of(context, self._project), dtype, share), 0
        for batch in Claims(context.run_id).take(
            shared, cut.size, lambda key: store.is_leased(kind, key)
        ):
            began = time.monotonic()
            job = name or family_name(self._project.runs[batch[0]])
            materialise(context, self._job(job), batch)
            cut.took(time.monotonic() - began, len(batch))
            made += sum(store.is_complete(kind, key) for key in batch)
        return made

    def _go_on(self, context: dg.OpExecutionContext, experiment: str) -> int:
        """Make the runs too if no other step is needed for them: the worker is warm."""
        card = card_of(context, self._project)
        is_alone = share_count(context.get_mapping_key() or "") == 1
        if not is_alone or not isinstance(card.tag("float64"), LocalTag):
            return 0
        left = self.left(context, experiment)
        runs, count = left["float64"]
        if count != 1 or left["float32"][0]:
            return 0
        return self._work_off(context, "float64", runs)

    def _draw_if_last(self, context: dg.OpExecutionContext, experiment: str) -> None:
        """Draw the gallery if this step made the last run of it: the worker is warm."""
        runs, store = self._project.plan(experiment).runs, self._project.store
        if not all(store.is_complete("analyses", run) for run in runs):
            return
        claims = Claims(context.run_id)
        for _ in claims.take([[GALLERIES_JOB]], lambda left: left, lambda key: False):
            self.draw(context, experiment)


def _op(what: str, dtype: Dtype) -> Callable[[Callable[..., int]], dg.OpDefinition]:
    tags = {DTYPE_TAG: dtype, "dagster/priority": _PRIORITY[dtype]}
    return dg.op(name=f"{what}_{dtype}", tags=tags, retry_policy=_CRASH)
