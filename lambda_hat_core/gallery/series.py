"""Which runs of a gallery form a curve: one sampler's, at one posterior, along one training."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from lambda_hat_core.analysis.curve import CurvePoint
from lambda_hat_core.analysis.words import short
from lambda_hat_core.gallery.members import Training
from lambda_hat_core.gallery.rows import Row, split
from lambda_hat_core.store.store import SPEC, Store


class At(NamedTuple):
    """The posterior of a curve.

    Attributes:
        nbeta: n times the inverse temperature.
        gamma: strength of the localiser.
        loss: the loss in words, with its noise scale, the sampled parameters and the prior.
    """

    nbeta: float
    gamma: float
    loss: str

    def words(self) -> str:
        """Return the posterior as text."""
        return f"{self.loss}, nβ {short(self.nbeta)}, gamma {short(self.gamma)}"


class Series(NamedTuple):
    """The runs of one curve.

    Attributes:
        training: id of the training.
        setting: what its runs have in common beside the posterior; the same for several trainings.
        label: the sampler, with its flavour, precision and seed.
        at: the posterior.
        points: the estimates, by step.
    """

    training: str
    setting: str
    label: str
    at: At
    points: tuple[CurvePoint, ...]


def series_of(store: Store, id: str, training: Training, rows: Sequence[Row]) -> Iterator[Series]:
    """Yield the curves of a training, in the order of their first runs.

    A run at the checkpoint whose settings others hold is part of their curve too.

    Args:
        store: has the specs of the runs.
        id: the training.
        training: its steps.
        rows: all runs of the gallery on its checkpoints; those without an analysis are left out.
    """
    groups: dict[tuple[At, str], dict[str | None, list[Row]]] = {}
    labels: dict[str, str] = {}
    for row in (row for row in rows if row.facts):
        spec = store.read_json("analyses", row.run, SPEC)
        key = (_posterior(spec, row.facts), _setting(spec))
        groups.setdefault(key, {}).setdefault(spec.get("hold"), []).append(row)
        labels[row.run] = _label(spec, row)
    for (at, setting), by_hold in groups.items():
        own = by_hold.pop(None, [])
        for source, held in by_hold.items():
            there = [row for row in own if row.member.target == source]
            points = _points(training, held + there)
            yield Series(id, f"{setting} held", labels[held[0].run], at, points)
            own = own if own != there else []
        if own:
            yield Series(id, setting, labels[own[0].run], at, _points(training, own))


def distinct(labels: Sequence[str]) -> list[str]:
    """Return what distinguishes labels, whose parts are separated by commas, from each other.

    A single label keeps its first part, and equal labels get numbers.
    """
    parts = [label.split(", ") for label in labels]
    shared = set[str]().union(*parts).intersection(*parts)
    own = [", ".join(part for part in one if part not in shared) for one in parts]
    names = [words or one[0] for words, one in zip(own, parts, strict=True)]
    return [
        name if names.count(name) == 1 else f"{name} #{names[: i + 1].count(name)}"
        for i, name in enumerate(names)
    ]


def _posterior(spec: Mapping[str, Any], facts: Mapping[str, Any]) -> At:
    chosen = spec["posterior"]
    words = [facts["loss"].replace("_", " ")]
    if chosen.get("sigma") is not None:
        words.append(f"sigma {short(chosen['sigma'])}")
    if chosen.get("restrict") is not None:
        words.append(f"only {' + '.join(chosen['restrict'])}")
    if facts.get("prior") is not None:
        words.append(f"prior precision {short(facts['prior'])}")
    return At(facts["nbeta"], facts["gamma"], ", ".join(words))


def _setting(spec: Mapping[str, Any]) -> str:
    left_out = {name: None for name in ("target", "posterior", "hold")}
    return json.dumps({**spec, **left_out}, sort_keys=True)


def _label(spec: Mapping[str, Any], row: Row) -> str:
    words = [split(row.member.label)[0], spec["dtype"], f"seed {spec['seed']}"]
    return ", ".join([*words, *(["held"] if spec.get("hold") else [])])


def _points(training: Training, rows: Sequence[Row]) -> tuple[CurvePoint, ...]:
    points = []
    for row in rows:
        facts = row.facts
        step = training.steps[row.member.target]
        points.append(CurvePoint(step, facts["llc"], facts["llc_se"], facts["verdict"]))
    return tuple(sorted(points, key=lambda point: point.step))
