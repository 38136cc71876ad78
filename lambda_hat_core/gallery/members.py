"""The members of a gallery, by id, and whether the gallery in the store is up to date."""

import hashlib
import json
import re
from collections.abc import Sequence

from pydantic import Field, NonNegativeInt

from lambda_hat_core.config.base import Frozen
from lambda_hat_core.plan.plan import Plan
from lambda_hat_core.store import failures
from lambda_hat_core.store.store import MANIFEST, Kind, Store

FACTS = "gallery.json"

_LAYOUT = 8
"""Increased when the page itself changes, so that existing galleries are made again."""


_LONGEST = 120
"""Largest number of characters in the name of an experiment with changes."""


class Member(Frozen):
    """One run: its target, its sampler, and a label that does not repeat the target."""

    target: str
    sampler: str
    label: str


class Training(Frozen):
    """A training, in words, and the steps of those of its checkpoints that are targets."""

    label: str
    steps: dict[str, NonNegativeInt] = Field(description="steps by target id")


class Gallery(Frozen):
    """The targets and runs of an experiment, in the order of its file."""

    experiment: str = Field(min_length=1, pattern=r"^[^./][^/]*$")
    targets: dict[str, str] = Field(description="labels by target id")
    runs: dict[str, Member]
    trainings: dict[str, Training] = Field(
        default={}, description="trainings whose checkpoints are among the targets, by id"
    )

    @property
    def id(self) -> str:
        """The name of the gallery's folder."""
        return self.experiment


def gallery_of(plan: Plan) -> Gallery:
    """Return the gallery of a plan's experiment."""
    members = {}
    for run in plan.membership[plan.experiment]:
        spec = plan.runs[run]
        label = plan.labels[run].removesuffix(f" on {plan.labels[spec.target]}")
        members[run] = Member(target=spec.target, sampler=spec.sampler.kind, label=label)
    named = {member.target for member in members.values()}
    labels = {id: plan.labels[id] for id in plan.targets if id in named}
    return Gallery(
        experiment=plan.experiment, targets=labels, runs=members, trainings=_trainings(plan, labels)
    )


def _trainings(plan: Plan, labels: dict[str, str]) -> dict[str, Training]:
    steps: dict[str, dict[str, int]] = {}
    words: dict[str, str] = {}
    for id, label in labels.items():
        spec = plan.targets[id]
        if spec.trajectory is not None and spec.step is not None:
            steps.setdefault(spec.trajectory.id, {})[id] = spec.step
            words.setdefault(spec.trajectory.id, label.removesuffix(f" at step {spec.step}"))
    return {
        id: Training(label=words[id], steps=dict(sorted(at.items(), key=lambda pair: pair[1])))
        for id, at in steps.items()
    }


def changed_name(experiment: str, changes: Sequence[str]) -> str:
    """Return the name of an experiment with changes to its file, and of its gallery.

    A long one is cut and ends with a hash, so that two that begin alike have two names.
    """
    name = re.sub(r"[^\w.=,+-]+", "_", " ".join([experiment, *changes]))
    content = name.encode()
    if len(content) <= _LONGEST:
        return name
    digest = hashlib.sha256(content).hexdigest()[:8]
    return f"{content[: _LONGEST - 9].decode(errors='ignore')}_{digest}"


def fingerprint(store: Store, gallery: Gallery) -> str:
    """Return a hash of everything that the page depends on: members, results, failures, layout."""
    digest = hashlib.sha256(f"{_LAYOUT} {gallery.model_dump_json()}".encode())
    kinds: tuple[tuple[Kind, dict], ...] = (
        ("targets", gallery.targets),
        ("analyses", gallery.runs),
    )
    for kind, ids in kinds:
        for id in ids:
            digest.update(f"{id} {_state(store, kind, id)}\n".encode())
    return digest.hexdigest()


def is_current(store: Store, gallery: Gallery) -> bool:
    """Return whether the store has a complete gallery made from exactly these inputs."""
    if not store.is_complete("galleries", gallery.id):
        return False
    made_of = store.read_json("galleries", gallery.id, FACTS)["inputs"]
    return made_of == fingerprint(store, gallery)


def _state(store: Store, kind: Kind, id: str) -> str:
    """Return the hash of an artifact, or why there is none; what is damaged counts as absent."""
    try:
        return json.loads((store.path(kind, id) / MANIFEST).read_bytes())["sha256"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return failures.read_failure(store, id) or "absent"
