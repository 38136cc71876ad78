"""Partitions, whose keys are ids, and the static mappings between the partitions of assets."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import dagster as dg

from lambda_hat_core.config.samplers.base import Dtype
from lambda_hat_core.config.spec import RunSpec, TargetSpec

TRAJECTORIES_KEY = dg.AssetKey("trajectories")
TARGETS_KEY = dg.AssetKey("targets")

MOST = 20
"""Most partitions in one Dagster run, which share its start-up and its compiled programs."""

BATCHES = dg.BackfillPolicy.multi_run(max_partitions_per_run=MOST)


class SamplerFamily(NamedTuple):
    """The runs of one sampler in one dtype, which have two assets: traces and estimates.

    Attributes:
        name: the sampler's name, followed by the dtype unless it is the sampler's default.
        sampler: the sampler's name.
        dtype: the dtype of every run.
        runs: run ids in the order of the partitions; neighbours share compiled programs.
        partitions: the partitions of both assets.
    """

    name: str
    sampler: str
    dtype: Dtype
    runs: tuple[str, ...]
    partitions: dg.StaticPartitionsDefinition

    @property
    def runs_key(self) -> dg.AssetKey:
        """The key of the asset of traces."""
        return dg.AssetKey(["runs", self.name])

    @property
    def analyses_key(self) -> dg.AssetKey:
        """The key of the asset of estimates."""
        return dg.AssetKey(["analyses", self.name])


def family_name(spec: RunSpec) -> str:
    """Return the name of the family that a run belongs to."""
    kind = spec.sampler.kind
    return kind if spec.dtype == spec.sampler.default_dtype else f"{kind}_{spec.dtype}"


def families(runs: Iterable[RunSpec], targets: Mapping[str, TargetSpec]) -> list[SamplerFamily]:
    """Return the families of some runs, sorted by name."""
    members: dict[str, list[RunSpec]] = {}
    for spec in _by_shape(runs, targets):
        members.setdefault(family_name(spec), []).append(spec)
    return [
        SamplerFamily(
            name,
            specs[0].sampler.kind,
            specs[0].dtype,
            tuple(spec.id for spec in specs),
            dg.StaticPartitionsDefinition([spec.id for spec in specs]),
        )
        for name, specs in sorted(members.items())
    ]


def _by_shape(runs: Iterable[RunSpec], targets: Mapping[str, TargetSpec]) -> list[RunSpec]:
    """Return the runs in an order in which runs of the same sampler and model are neighbours.

    Those of one training are in the order of its steps.
    """
    place = {id: index for index, id in enumerate(in_order(targets))}
    groups: dict[tuple[str, str], list[RunSpec]] = {}
    for spec in runs:
        target = targets[spec.target]
        model = (target.trajectory or target).model
        shape = (spec.sampler.model_dump_json(), model.model_dump_json())
        groups.setdefault(shape, []).append(spec)
    return [
        spec
        for group in groups.values()
        for spec in sorted(group, key=lambda run: place[run.target])
    ]


def in_order(targets: Mapping[str, TargetSpec]) -> list[str]:
    """Return the ids of targets, the checkpoints of a training beside each other by their steps."""
    groups: dict[str, list[tuple[int, str]]] = {}
    for id, spec in targets.items():
        whole = spec.trajectory
        groups.setdefault(id if whole is None else whole.id, []).append((spec.step or 0, id))
    return [id for group in groups.values() for _, id in sorted(group)]


def to_many(pairs: Iterable[tuple[str, str]]) -> dg.StaticPartitionMapping:
    """Return the partition mapping given by pairs of an upstream and a downstream key."""
    downstream: dict[str, set[str]] = {}
    for above, below in pairs:
        downstream.setdefault(above, set()).add(below)
    return dg.StaticPartitionMapping(downstream)
