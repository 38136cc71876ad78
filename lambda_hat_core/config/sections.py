"""Sections: mappings to be validated, with the place in the file where each key was written."""

from collections.abc import Mapping
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from lambda_hat_core.config.errors import (
    MISSING,
    ConfigError,
    Misfit,
    Place,
    Problems,
    show,
    suggest,
)
from lambda_hat_core.config.hints import hint


class Section(NamedTuple):
    """A mapping to validate.

    Attributes:
        group: `model`, `data`, ... or a sampler's name; selects the hints for unknown keys.
        values: the values by key, with presets and overrides merged.
        places: where each key of `values` was written.
        place: where the section itself is.
        preset: the preset that the section started from.
    """

    group: str
    values: dict[str, Any]
    places: dict[str, Place]
    place: Place
    preset: str | None = None

    def at(self, key: str) -> Place:
        """Return where `key` was written, or where it would be written."""
        return self.places.get(key, self.place.key(key))

    def error(self, key: str, rule: str, way_out: str) -> ConfigError:
        """Return the error that the value of `key` violates `rule`."""
        if key in self.values:
            return self.at(key).error(rule, way_out, self.values[key])
        return self.place.error(rule, way_out)

    def misfit(self, found: Misfit) -> ConfigError:
        """Return the error that the last key of `found`, or all of this section, does not fit."""
        _, _, key = found.key.rpartition(".")
        if key == self.group:
            named = MISSING if self.preset is None else self.preset
            return self.place.error(found.rule, found.way_out, named)
        return self.error(key, found.rule, found.way_out)


def inline(
    group: str, values: Mapping[str, Any], place: Place, preset: str | None = None
) -> Section:
    """Return a section whose keys were all written at `place`."""
    return Section(group, dict(values), {key: place.key(key) for key in values}, place, preset)


_LARGEST = 2**53 - 1
"""The largest integer that RFC 8785 can represent."""


def validate[M: BaseModel](part: Section, model: type[M], group: str | None = None) -> M:
    """Return the validated model.

    Raises:
        ConfigError: one line for every key that is unknown or has an impossible value.
    """
    group = group or part.group
    fields = model.model_fields
    problems = Problems()
    for key, value in part.values.items():
        if key not in fields:
            way_out = hint(group, key) or suggest(key, fields)
            problems.add(part.at(key).problem("no such key", way_out, value))
        elif isinstance(value, bool) and fields[key].annotation is not bool:
            rule = "true and false are neither numbers nor words"
            problems.add(part.at(key).problem(rule, _default(model, key), value))
        elif isinstance(value, int) and abs(value) > _LARGEST:
            rule = "beyond 2^53, where JSON has no exact integers"
            problems.add(part.at(key).problem(rule, _default(model, key), value))
    problems.raise_any()
    values = dict(part.values)
    for key, value in part.values.items():
        inner = _inner(fields[key].annotation)
        if inner is not None and isinstance(value, Mapping):
            with problems:
                values[key] = validate(inline(key, value, part.at(key)), inner)
    problems.raise_any()
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = _explain(part, model, error)
    raise ConfigError("\n".join(lines))


def _inner(annotation: Any) -> type[BaseModel] | None:
    """Return the model of a field that holds one model, or None."""
    kinds = [kind for kind in (get_args(annotation) or (annotation,)) if isinstance(kind, type)]
    models = [kind for kind in kinds if issubclass(kind, BaseModel)]
    return models[0] if len(models) == 1 else None


def constructed[M: BaseModel](model: type[M], values: Mapping[str, Any]) -> M:
    """Return the model that a call of its class constructs.

    Raises:
        ConfigError: as in `validate`, with the name of the class in place of the file.
    """
    name, kind = model.__name__.removesuffix("Spec"), model.model_fields.get("kind")
    group = name.lower() if kind is None else kind.default
    return validate(inline(group, values, Place(name)), model)


def misfit_of(error: ValidationError) -> Misfit:
    """Return the misfit that a validator of a whole model raised.

    Raises:
        ValidationError: unchanged, if its cause is not a misfit.
    """
    found = _misfit(error.errors(include_url=False)[0])
    if found is None:
        raise error
    return found


def _misfit(detail: ErrorDetails) -> Misfit | None:
    error = detail.get("ctx", {}).get("error")
    return error if isinstance(error, Misfit) else None


def _explain(part: Section, model: type[BaseModel], error: ValidationError) -> list[str]:
    by_key: dict[tuple[str, ...], list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False):
        loc = detail["loc"]
        key = (str(loc[0]), *(f"[{i}]" for i in loc[1:2] if isinstance(i, int))) if loc else ()
        by_key.setdefault(key, []).append(detail)
    return [_line(part, model, key, details) for key, details in by_key.items()]


def _line(
    part: Section, model: type[BaseModel], key: tuple[str, ...], details: list[ErrorDetails]
) -> str:
    detail = details[0]
    if not key:
        if (misfit := _misfit(detail)) is not None:
            return str(part.misfit(misfit))
        return part.place.problem(detail["msg"].removeprefix("Value error, "), "")
    name, *index = key
    if detail["type"] == "missing":
        described = model.model_fields[name].description
        return part.place.key(name).problem("missing", f"write it ({described or 'required'})")
    rules = list(dict.fromkeys(_rule(item) for item in details))
    place = part.at(name)
    place = Place(place.file, place.path + "".join(index))
    return place.problem(f"must be {' or '.join(rules)}", _default(model, name), detail["input"])


def _default(model: type[BaseModel], name: str) -> str:
    """Return the advice for a bad value: the key's default and its meaning."""
    field = model.model_fields[name]
    usual = field.get_default(call_default_factory=True)
    default = "" if field.is_required() else f"the default is {show(usual)}"
    meaning = f"{name}: {field.description}" if field.description else ""
    return ". ".join(text for text in (default, meaning) if text)


def _rule(detail: ErrorDetails) -> str:
    context = detail.get("ctx", {})
    kind = detail["type"]
    bounds = {"greater_than": ("gt", ">"), "greater_than_equal": ("ge", ">=")}
    bounds |= {"less_than": ("lt", "<"), "less_than_equal": ("le", "<=")}
    if kind in bounds:
        name, sign = bounds[kind]
        return f"{sign} {context[name]:g}"
    if kind == "literal_error":
        return str(context["expected"])
    if kind == "too_short":
        return f"a list of at least {context['min_length']}"
    if kind == "string_too_long":
        return f"text of at most {context['max_length']} characters"
    if kind == "string_pattern_mismatch":
        return f"text that matches {context['pattern']}"
    return _KINDS.get(kind.split("_")[0], detail["msg"])


_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "bool": "true or false",
    "string": "text",
    "tuple": "a list",
    "list": "a list",
    "dict": "a mapping",
    "model": "a mapping",
}
