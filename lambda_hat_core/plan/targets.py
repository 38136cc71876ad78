"""One entry of `targets` to a TargetSpec with nothing left open."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from lambda_hat_core.config.data import DataSpec, Diabetes, Digits, NoData, Synthetic, Teacher
from lambda_hat_core.config.errors import Place, Problems, suggest
from lambda_hat_core.config.experiment import TargetEntry
from lambda_hat_core.config.model import (
    Custom,
    DeepLinear,
    DiagonalLinear,
    Mlp,
    ModelSpec,
    NormalCrossing,
    Quadratic,
    QuadraticActivation,
)
from lambda_hat_core.config.sections import Section, inline, validate
from lambda_hat_core.config.spec import TargetSpec
from lambda_hat_core.config.training import Training
from lambda_hat_core.plan.losses import training_loss
from lambda_hat_core.plan.merge import nested, overridden, pick, section
from lambda_hat_core.plan.networks import complete_model, complete_teacher, same_function_class
from lambda_hat_core.plan.read import Presets

MODELS = {
    "mlp": Mlp,
    "deep_linear": DeepLinear,
    "quadratic_activation": QuadraticActivation,
    "diagonal_linear": DiagonalLinear,
    "quadratic": Quadratic,
    "normal_crossing": NormalCrossing,
    "custom": Custom,
}
"""Every model by its `kind`."""

DATA = {"synthetic": Synthetic, "digits": Digits, "diabetes": Diabetes, "none": NoData}
"""Every source of data by its `kind`."""

GROUPS = ("model", "data", "teacher", "training")
"""The sections of a target: keys of its entry, folders of presets, and heads of overrides."""

_POTENTIALS = (Quadratic, NormalCrossing)
_NOT_TRAINED = Training(loss="own", start="truth")
"""The training section of every potential."""

_OWN_TRUTH = (DeepLinear, QuadraticActivation, DiagonalLinear)


class Draft(NamedTuple):
    """A target, the presets that it was written with, and where it was written."""

    spec: TargetSpec
    presets: dict[str, str | None]
    place: Place


def read_target(
    raw: Mapping[str, Any], place: Place, presets: Presets, experiment: Section
) -> Draft:
    """Return the target that an entry of `targets` asks for; `experiment` is its posterior.

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
    return Draft(spec, named, place)


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
            problems.add(at.problem("an override names section.key", way_out, value))
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
                parts[group], changes.get(group), build, kind=_kind(group, built)
            )
    problems.raise_any()
    model: ModelSpec = built["model"]
    data: DataSpec = built["data"]
    _matching_data(model, data, parts["data"])
    model = complete_model(model, parts["model"], data)
    teacher = _teacher(built["teacher"], parts["teacher"], model, data)
    return TargetSpec(
        model=model,
        data=data,
        teacher=teacher,
        training=_training(built["training"], parts["training"], model, data, teacher, experiment),
        seed=seed,
    )


def _kind(group: str, built: Mapping[str, Any]) -> str | None:
    """Return the kind of a section that names none, None in a group without kinds."""
    match group:
        case "model":
            return "mlp"
        case "data":
            own = isinstance(built["model"], (*_POTENTIALS, Custom))
            return "none" if own else "synthetic"
        case _:
            return None


def _matching_data(model: ModelSpec, data: DataSpec, part: Section) -> None:
    if isinstance(model, Custom) and part.values not in ({}, {"kind": "none"}):
        raise part.place.error("a custom target's factory brings its data and n", "remove data")
    if isinstance(model, _POTENTIALS) and not isinstance(data, NoData):
        raise part.place.error(
            f"a {model.kind} potential has no {data.kind} data", "write data: {n_data: <n>}"
        )
    if isinstance(model, _OWN_TRUTH) and not isinstance(data, Synthetic):
        raise part.place.error(
            f"{model.kind} brings a truth, which labels synthetic data, not {data.kind} data",
            "write data: {kind: synthetic, n_data: <n>}, or choose model kind mlp",
        )
    if isinstance(model, Mlp) and isinstance(data, NoData):
        raise part.place.error("an mlp needs data", "choose kind synthetic, digits or diabetes")


def _teacher(teacher: Teacher, part: Section, model: ModelSpec, data: DataSpec) -> Teacher | None:
    if isinstance(model, Mlp) and isinstance(data, Synthetic):
        return complete_teacher(teacher, part, model)
    if teacher != Teacher() or part.preset not in (None, "_null"):
        owner = f"{data.kind} data" if isinstance(model, Mlp) else f"a {model.kind} target"
        raise part.place.error(
            f"a teacher labels synthetic data for an mlp, and {owner} can have none",
            "remove teacher, or write teacher: _null",
        )
    return None


def _training(
    training: Training,
    part: Section,
    model: ModelSpec,
    data: DataSpec,
    teacher: Teacher | None,
    experiment: Section,
) -> Training:
    loss = training_loss(model.kind, data, part, experiment)
    if isinstance(model, _POTENTIALS):
        _untrained(training, part)
        return _NOT_TRAINED
    if training.start == "truth":
        _known_truth(part, model, data, teacher)
    size = training.batch_size
    if size is not None and not isinstance(model, Custom) and size > data.n_data:
        raise part.error("batch_size", f"there are n_data = {data.n_data} examples", "lower it")
    return training.model_copy(update={"loss": loss})


def _untrained(training: Training, part: Section) -> None:
    """Refuse training of a potential, unless it comes from the preset that all targets take.

    Defaults may be written, here as elsewhere.
    """
    plain = Training()
    for key in part.values:
        written = part.preset != "default" or part.at(key).file == part.place.file
        if written and getattr(training, key) not in (
            getattr(plain, key),
            getattr(_NOT_TRAINED, key),
        ):
            raise part.error(
                key, "a potential starts at its minimum and is not trained", "remove it"
            )


def _known_truth(part: Section, model: ModelSpec, data: DataSpec, teacher: Teacher | None) -> None:
    way_out = "write start: random"
    if isinstance(model, Custom):
        raise part.error("start", "a custom target starts at its factory's params", way_out)
    if not isinstance(model, Mlp):
        return
    if teacher is None:
        raise part.error("start", f"{data.kind} data have no known truth", way_out)
    if not same_function_class(model, teacher):
        raise part.error(
            "start",
            "the teacher's widths and activation are not the student's, so no student weights are "
            "known to generate the data",
            f"{way_out}, or teacher: _null",
        )
