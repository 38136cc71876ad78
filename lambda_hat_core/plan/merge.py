"""Merges a preset and its overrides into one section."""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel

from lambda_hat_core.config.effect import ineffective
from lambda_hat_core.config.errors import Place, display, suggest
from lambda_hat_core.config.sections import Section, inline
from lambda_hat_core.plan.read import Presets


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
    """Return overrides with dotted keys unfolded; `places` also has the dotted keys.

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
    models: Mapping[str, type[BaseModel]] | type[BaseModel],
    *,
    kind: str | None = None,
) -> tuple[M, Section]:
    """Return the model that `build` makes of `base` with `changes` applied, and the merged section.

    Changes may repeat values that `base` already has; the result and its id are then the same.
    Keys of the base that the changes leave without effect are dropped: nobody wrote them here.

    Args:
        base: the section before the changes.
        changes: the overrides, if there are any.
        build: validates a section and returns its model.
        models: the classes of models by kind, or the only one.
        kind: the kind of a base that does not name one, in a group that has kinds.

    Raises:
        ConfigError: if the changes name a kind that differs from the kind of the base.
    """
    if changes is None:
        return build(base), base
    found = changes.values.get("kind")
    if kind is not None and found not in (None, base.values.get("kind", kind)):
        raise changes.error("kind", "a kind cannot be overridden", f"choose another {base.group}")
    whole = merged(base, changes.values, changes.places)
    model = models.get(whole.values.get("kind", kind)) if isinstance(models, Mapping) else models
    if model is not None:
        void = ineffective(model, whole.values, changes.values.keys()) - changes.values.keys()
        whole = whole._replace(values={k: v for k, v in whole.values.items() if k not in void})
    return build(whole), whole


SIZES = ("widths", "target_params", "hidden")


def _displaced(base: Section, key: str, value: Any) -> tuple[str, ...]:
    """Return the keys of a preset that an override of the network's size replaces."""
    sized = base.group == "teacher" or base.values.get("kind", "mlp") == "mlp"
    if base.group not in ("model", "teacher") or not sized or key not in SIZES or value is None:
        return ()
    others = tuple(name for name in SIZES if name != key)
    return (*others, "depth") if key == "widths" else others


def pick[M: BaseModel](
    part: Section, models: Mapping[str, type[M]], default: str
) -> tuple[Section, type[M]]:
    """Return the section with `kind` filled in, and the model class that `kind` names."""
    kind = part.values.get("kind", default)
    if not isinstance(kind, str) or kind not in models:
        raise part.at("kind").error("no such kind", suggest(kind, models), kind)
    return part._replace(values={"kind": kind, **part.values}), models[kind]
