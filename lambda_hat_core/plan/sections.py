"""Sections: mappings on their way to a model, each key with the place where it was written."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from lambda_hat_core.plan.errors import (
    ConfigError,
    Place,
    Problems,
    show,
    suggest,
)
from lambda_hat_core.plan.hints import hint
from lambda_hat_core.plan.read import Presets, display


class Section(NamedTuple):
    """A mapping to validate.

    Attributes:
        group: `model`, `data`, ... or a sampler's name: what hints go by.
        values: what was written, presets and overrides merged.
        places: where each key of `values` was written.
        place: where the section itself stands.
        preset: the preset it started from.
    """

    group: str
    values: dict[str, Any]
    places: dict[str, Place]
    place: Place
    preset: str | None = None

    def at(self, key: str) -> Place:
        """Return where `key` was written, or would be."""
        return self.places.get(key, self.place.key(key))

    def error(self, key: str, rule: str, way_out: str) -> ConfigError:
        """Return the error that the value of `key` breaks `rule`."""
        if key in self.values:
            return self.at(key).error(rule, way_out, self.values[key])
        return self.place.error(rule, way_out)


def inline(
    group: str, values: Mapping[str, Any], place: Place, preset: str | None = None
) -> Section:
    """Return a section whose keys all stand at `place`."""
    return Section(group, dict(values), {key: place.key(key) for key in values}, place, preset)


def section(
    group: str, value: str | Mapping[str, Any] | None, place: Place, presets: Presets
) -> Section:
    """Return the section that a preset's name or a mapping stands for."""
    if not isinstance(value, str):
        return inline(group, value or {}, place)
    content = presets.get(group, value, place)
    origin = Place(display(presets.file(group, value)))
    places = {key: origin.key(key) for key in content}
    return Section(group, dict(content), places, place, value)


def nested(overrides: Mapping[str, Any], place: Place) -> Section:
    """Return overrides with their dotted keys unfolded; `places` then knows dotted keys too.

    Raises:
        ConfigError: if a key is given twice, once nested and once dotted.
    """
    out = Section("overrides", {}, {}, place)
    for key, value in overrides.items():
        _unfold(out, out.values, "", key.split("."), value, place.key(key))
    return out


def _unfold(
    out: Section, into: dict[str, Any], prefix: str, keys: list[str], value: Any, place: Place
) -> None:
    key, *rest = keys
    path = f"{prefix}.{key}" if prefix else key
    if not rest and not isinstance(value, Mapping):
        if path in out.places:
            raise place.error("given twice, nested and with dots", "remove one", value)
        into[key], out.places[path] = value, place
        return
    if not isinstance(into.setdefault(key, {}), dict):
        raise place.error("given twice, as a value and as a mapping", "remove one", value)
    out.places.setdefault(path, place)
    if rest:
        _unfold(out, into[key], path, rest, value, place)
        return
    for name, entry in value.items():
        _unfold(out, into[key], path, str(name).split("."), entry, place.key(name))


def merged(base: Section, changes: Mapping[str, Any], places: Mapping[str, Place]) -> Section:
    """Return `base` with `changes` on top; only free-form mappings merge key by key."""
    void = {name for key, value in changes.items() for name in _displaced(base, key, value)}
    values = {key: value for key, value in base.values.items() if key not in void - changes.keys()}
    where = dict(base.places)
    for key, value in changes.items():
        values[key] = _deep(values.get(key), value)
        where[key] = places[key]
    return base._replace(values=values, places=where)


def _deep(old: Any, new: Any) -> Any:
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return new
    return old | {key: _deep(old.get(key), value) for key, value in new.items()}


def overridden[M](
    base: Section,
    changes: Section | None,
    build: Callable[[Section], M],
    *,
    kind: str | None = None,
) -> tuple[M, Section]:
    """Return what `build` makes of `base` with `changes` on top, and that section.

    Changes may repeat what is so without them: the result is then the same, and so is its id.

    Args:
        base: the section before the changes.
        changes: the overrides, if there are any.
        build: validates a section and returns its model.
        kind: of a base that does not say its own, in a group that has kinds.

    Raises:
        ConfigError: if the changes name another kind than the base has.
    """
    if changes is None:
        return build(base), base
    found = changes.values.get("kind")
    if kind is not None and found not in (None, base.values.get("kind", kind)):
        raise changes.error("kind", "a kind cannot be overridden", f"choose another {base.group}")
    whole = merged(base, changes.values, changes.places)
    return build(whole), whole


SIZES = ("widths", "target_params", "hidden")


def _displaced(base: Section, key: str, value: Any) -> tuple[str, ...]:
    """Return the keys of a preset that an override of a network's size makes void."""
    sized = base.group == "teacher" or base.values.get("kind", "mlp") == "mlp"
    if base.group not in ("model", "teacher") or not sized or key not in SIZES or value is None:
        return ()
    others = tuple(name for name in SIZES if name != key)
    return (*others, "depth") if key == "widths" else others


def pick[M: BaseModel](
    part: Section, models: Mapping[str, type[M]], default: str
) -> tuple[Section, type[M]]:
    """Return the section with `kind` filled in, and the model which that names."""
    kind = part.values.get("kind", default)
    if not isinstance(kind, str) or kind not in models:
        raise part.at("kind").error("no such kind", suggest(kind, models), kind)
    return part._replace(values={"kind": kind, **part.values}), models[kind]


_LARGEST = 2**53 - 1
"""The largest integer that RFC 8785 can hold."""


def validate[M: BaseModel](part: Section, model: type[M], group: str | None = None) -> M:
    """Return the validated model.

    Raises:
        ConfigError: one line for every key that is unknown or holds an impossible value.
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
    try:
        return model.model_validate(part.values)
    except ValidationError as error:
        lines = _explain(part, model, error)
    raise ConfigError("\n".join(lines))


def constructed[M: BaseModel](model: type[M], values: Mapping[str, Any]) -> M:
    """Return the model of a call of its class.

    Raises:
        ConfigError: as `validate` does, naming the class where a file would be named.
    """
    name, kind = model.__name__.removesuffix("Spec"), model.model_fields.get("kind")
    group = name.lower() if kind is None else kind.default
    return validate(inline(group, values, Place(name)), model)


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
    """Return the way out of a bad value: the key's meaning and its default."""
    field = model.model_fields[name]
    default = "" if field.is_required() else f"the default is {show(field.default)}"
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
}
