"""Turns an entry of `targets` into a TargetSpec in which every value is filled in."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from lambda_hat_core.config.compatible import POTENTIALS, UNTRAINED, default_data
from lambda_hat_core.config.data import DataSpec, Diabetes, Digits, NoData, Synthetic, Teacher
from lambda_hat_core.config.effect import ineffective
from lambda_hat_core.config.errors import Misfit, Place, Problems, suggest
from lambda_hat_core.config.experiment import TargetEntry
from lambda_hat_core.config.model import (
    Custom,
    DeepLinear,
    DiagonalLinear,
    Mlp,
    ModelSpec,
    ModularMlp,
    NormalCrossing,
    Quadratic,
    QuadraticActivation,
    Superposition,
    Transformer,
)
from lambda_hat_core.config.sections import Section, inline, misfit_of, validate
from lambda_hat_core.config.spec import TargetSpec
from lambda_hat_core.config.tasks import IclRegression, Induction, Modular, SparseFeatures
from lambda_hat_core.config.training import Training
from lambda_hat_core.plan.checkpoints import along
from lambda_hat_core.plan.losses import training_loss
from lambda_hat_core.plan.merge import nested, overridden, pick, section
from lambda_hat_core.plan.networks import complete_model, complete_teacher
from lambda_hat_core.plan.read import Presets

MODELS = {
    "mlp": Mlp,
    "modular_mlp": ModularMlp,
    "superposition": Superposition,
    "transformer": Transformer,
    "deep_linear": DeepLinear,
    "quadratic_activation": QuadraticActivation,
    "diagonal_linear": DiagonalLinear,
    "quadratic": Quadratic,
    "normal_crossing": NormalCrossing,
    "custom": Custom,
}
"""Every model by its `kind`."""

DATA = {
    "synthetic": Synthetic,
    "digits": Digits,
    "diabetes": Diabetes,
    "modular": Modular,
    "sparse_features": SparseFeatures,
    "induction": Induction,
    "icl_regression": IclRegression,
    "none": NoData,
}
"""Every source of data by its `kind`."""

_MODELS: dict[str, Any] = {
    "model": MODELS,
    "data": DATA,
    "teacher": Teacher,
    "training": Training,
}

GROUPS = ("model", "data", "teacher", "training")
"""The sections of a target. Each is a key of the entry, a folder of presets, and the first part of
an override's key."""


class Draft(NamedTuple):
    """What an entry describes, the presets that it uses, and its place in the file.

    Attributes:
        spec: the minimum that the training leads to.
        presets: names by section.
        place: where the entry is.
        targets: the targets of the entry: its checkpoints in ascending order, or `spec` alone.
    """

    spec: TargetSpec
    presets: dict[str, str | None]
    place: Place
    targets: tuple[TargetSpec, ...]


def read_target(
    raw: Mapping[str, Any], place: Place, presets: Presets, experiment: Section
) -> Draft:
    """Return the target that an entry describes; `experiment` is the experiment's posterior.

    Raises:
        ConfigError: naming every mistake of the entry.
    """
    entry = validate(inline("target", raw, place), TargetEntry)
    names: dict[str, Any] = {group: getattr(entry, group) for group in GROUPS}
    for group, default in (("teacher", "_null"), ("training", "default")):
        if names[group] in (None, default):
            names[group] = default if default in presets.names(group) else None
    problems = Problems()
    parts: dict[str, Section] = {}
    changes: dict[str, Section] = {}
    for group in GROUPS:
        with problems:
            parts[group] = section(group, names[group], place.key(group), presets)
    with problems:
        changes = _changes(nested(entry.overrides or {}, place.key("overrides")))
    problems.raise_any()
    spec = _spec(parts, changes, entry.seed, experiment)
    named = {group: name if isinstance(name, str) else None for group, name in names.items()}
    asked = _asked(spec.training, parts["training"])
    targets = along(spec, parts, asked, entry.checkpoints, place.key("checkpoints"))
    return Draft(spec, named, place, targets)


def _changes(overrides: Section) -> dict[str, Section]:
    """Return the overrides of each section.

    Raises:
        ConfigError: if one does not have the form `section.key`.
    """
    problems = Problems()
    models = {"model": Mlp, "data": Synthetic, "teacher": Teacher, "training": Training}
    changes: dict[str, Section] = {}
    for group, value in overrides.values.items():
        at = overrides.at(group)
        if group not in GROUPS:
            homes = [f"{g}.{group}" for g, model in models.items() if group in model.model_fields]
            way_out = f"write {' or '.join(homes)}" if homes else suggest(group, GROUPS)
            problems.add(at.problem("an override has a key such as model.depth", way_out, value))
        elif not isinstance(value, dict):
            rule = "an override changes the keys of a section"
            problems.add(at.problem(rule, f"write {group}: beside overrides", value))
        else:
            places = {key: overrides.places[f"{group}.{key}"] for key in value}
            changes[group] = Section(group, value, places, at)
    problems.raise_any()
    return changes


def _spec(
    parts: dict[str, Section], changes: dict[str, Section], seed: int, experiment: Section
) -> TargetSpec:
    built: dict[str, Any] = {}
    builders = {
        "model": lambda part: validate(*pick(part, MODELS, str(_kind("model", built)))),
        "data": lambda part: validate(*pick(part, DATA, str(_kind("data", built)))),
        "teacher": lambda part: validate(part, Teacher),
        "training": lambda part: validate(part, Training),
    }
    problems = Problems()
    for group, build in builders.items():
        if group == "data" and "model" not in built:
            continue
        with problems:
            built[group], parts[group] = overridden(
                parts[group], changes.get(group), build, _MODELS[group], kind=_kind(group, built)
            )
    problems.raise_any()
    return _finished(built, parts, seed, experiment)


def _finished(
    built: dict[str, Any], parts: dict[str, Section], seed: int, experiment: Section
) -> TargetSpec:
    """Fill in the values that depend on other sections, and report misfits with their place.

    Raises:
        ConfigError: if a section contradicts itself or is incompatible with another section.
    """
    data: DataSpec = built["data"]
    model = complete_model(built["model"], parts["model"], data)
    if isinstance(model, Custom) and "n_data" in parts["data"].values:
        raise parts["data"].place.error(
            "a custom target's factory returns its data and n", "remove data"
        )
    try:
        return TargetSpec(
            model=model,
            data=data,
            teacher=_teacher(built["teacher"], parts["teacher"], model, data),
            training=_training(built["training"], parts["training"], model, data, experiment),
            seed=seed,
        )
    except (Misfit, ValidationError) as error:
        misfit = error if isinstance(error, Misfit) else misfit_of(error)
        part = parts[misfit.key.partition(".")[0]]
        if misfit.key == "training.loss" and part.values.get("loss") is None:
            part = experiment
        raise part.misfit(misfit) from None


def _kind(group: str, built: Mapping[str, Any]) -> str | None:
    """Return the default kind of a section, or None in a group without kinds."""
    match group:
        case "model":
            return "mlp"
        case "data":
            return default_data(built["model"])
        case _:
            return None


def _teacher(teacher: Teacher, part: Section, model: ModelSpec, data: DataSpec) -> Teacher | None:
    if isinstance(model, Mlp) and isinstance(data, Synthetic):
        return complete_teacher(teacher, model)
    asked = teacher != Teacher() or part.preset not in (None, "_null")
    return teacher if asked else None


def _training(
    training: Training, part: Section, model: ModelSpec, data: DataSpec, experiment: Section
) -> Training:
    if isinstance(model, POTENTIALS):
        asked = _asked(training, part)
        # With its own start, what was asked for may be refused for having no effect there.
        void = ineffective(Training, UNTRAINED.model_dump() | asked, {"start"}) & asked.keys()
        return UNTRAINED.model_copy(update={"start": "random"} | asked if void else asked)
    loss = training_loss(model, data, training.loss, experiment.values.get("loss"))
    return training.model_copy(update={"loss": loss})


def _asked(training: Training, part: Section) -> dict[str, Any]:
    """Return the values set explicitly that differ from the defaults.

    Values of the preset `default`, which every target uses, do not count as set explicitly.
    """
    mine = (
        key
        for key in part.values
        if part.preset != "default" or part.at(key).file == part.place.file
    )
    plain = Training()
    values = {key: getattr(training, key) for key in mine}
    return {key: value for key, value in values.items() if value != getattr(plain, key)}
