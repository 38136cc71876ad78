"""Applies `key=value` words of a command line to an experiment's mapping before it is validated.

Examples are `posterior.gamma=5`, `targets.0.seed=3`, `targets.training.steps=100` and
`samplers.sgld.n_draws=50`. An index or a name selects entries of a list; without either, the word
applies to every entry.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lambda_hat_core.config.errors import Place, Problems, one_line, show, suggest
from lambda_hat_core.config.experiment import SamplerEntry, TargetEntry
from lambda_hat_core.config.samplers.known import SAMPLERS
from lambda_hat_core.plan.yaml_text import check_text, is_sexagesimal

_LISTS = {"targets": TargetEntry, "samplers": SamplerEntry}
_WHOLE = ("experiment", "until", "hold", "observables", "profiles")
_MAPPINGS = ("posterior", "profiles", "until", "hold")
_TOP = tuple(dict.fromkeys((*_WHOLE, *_MAPPINGS, *_LISTS)))


def apply(content: dict[str, Any], words: Sequence[str], source: str = "command line") -> Any:
    """Return the mapping with every `key=value` applied.

    Raises:
        ConfigError: naming every word whose key does not exist or whose value cannot be read.
    """
    return _applied(content, words, source, _set)


def changed(content: dict[str, Any], words: Sequence[str], source: str = "set") -> dict[str, Any]:
    """Return a mapping with every `key=value` applied; dots lead into mappings and lists.

    Raises:
        ConfigError: naming every word whose key does not exist or whose value cannot be read.
    """

    def put(content: dict[str, Any], key: str, value: Any, place: Place) -> None:
        _within(content, key.split("."), value, place)

    return _applied(content, words, source, put)


def _applied(
    content: dict[str, Any],
    words: Sequence[str],
    source: str,
    put: Callable[[dict[str, Any], str, Any, Place], None],
) -> dict[str, Any]:
    """Return a copy of `content` in which `put` has set the key of every word."""
    content = copy.deepcopy(content)
    problems = Problems()
    for word in words:
        with problems:
            key, value = split(word, Place(source))
            put(content, key, value, Place(source, key))
    problems.raise_any()
    return content


def _within(holder: Any, path: list[str], value: Any, place: Place) -> None:
    """Set a value inside nested mappings and lists; a list is entered by index."""
    first, *rest = path
    if isinstance(holder, list):
        if not first.isdigit() or int(first) >= len(holder):
            rule = f"there are {len(holder)} entries, counted from 0"
            raise place.error(rule, "write e.g. problems.0.seed=1", value)
        if not rest:
            holder[int(first)] = value
            return
        _within(holder[int(first)], rest, value, place)
    elif rest and isinstance(holder, dict) and isinstance(holder.get(first), list | dict):
        _within(holder[first], rest, value, place)
    elif isinstance(holder, dict):
        _nested(holder, path, value, place)
    else:
        raise place.error(f"{show(holder)} has no keys", "name a key of a mapping", value)


def split(word: str, place: Place) -> tuple[str, Any]:
    """Return the key of a `key=value` word, and its value as YAML reads it.

    A value such as 12:00:00 is text, which a shell makes hard to put in quotes.

    Raises:
        ConfigError: if it does not have that form or its value is not YAML.
    """
    key, equals, text = word.partition("=")
    if not equals or not key:
        raise place.error("not of the form key=value", "write e.g. posterior.gamma=5", word)
    if is_sexagesimal(text):
        return key, text
    try:
        check_text(text, place.key(key))
        parsed = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]), resolve=False)
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise place.key(key).error(
            f"not a YAML value ({one_line(str(error))})", "put it in quotes", text
        ) from None
    return key, parsed["value"] if isinstance(parsed, dict) else None


def _set(content: dict[str, Any], key: str, value: Any, place: Place) -> None:
    head, *path = key.replace("[", ".").replace("]", "").split(".")
    if head in _WHOLE and not path:
        content[head] = value
    elif head in _MAPPINGS:
        _nested(content, [head, *path], value, place)
    elif head in _LISTS and path:
        for entry, rest in _chosen(content.get(head), path, place, head):
            _set_entry(entry, rest, value, head, place)
    else:
        raise place.error("an experiment has no such key", suggest(head, _TOP), value)


def _is_setting(key: str) -> bool:
    """Return whether entries of samplers, or any sampler, have such a key."""
    models = (SamplerEntry, *SAMPLERS.values())
    return any(key in model.model_fields for model in models)


def _chosen(
    entries: Any, path: list[str], place: Place, of: str
) -> list[tuple[dict[str, Any], list[str]]]:
    """Return the entries that a path selects, and the rest of the path for each of them."""
    listed = [entry for entry in entries or [] if isinstance(entry, dict)]
    first, *rest = path
    if first.isdigit():
        if int(first) >= len(listed) or not rest:
            rule = f"there are {len(listed)} entries, counted from 0, and a key must follow"
            raise place.error(rule, "write e.g. targets.0.seed=1")
        return [(listed[int(first)], rest)]
    named = [entry for entry in listed if entry.get("name") == first]
    if named and rest:
        return [(entry, rest) for entry in named]
    if listed and rest and of == "samplers" and not _is_setting(first):
        names = list(dict.fromkeys(str(entry.get("name")) for entry in listed))
        rule = f"there is no sampler {first} in this experiment; it has {', '.join(names)}"
        raise place.error(rule, f"write e.g. samplers.{names[0]}.{'.'.join(rest)}")
    return [(entry, path) for entry in listed]


def _set_entry(entry: dict[str, Any], path: list[str], value: Any, head: str, place: Place) -> None:
    """Set a field of an entry; a key of a section, or an unknown key, becomes an override."""
    first, *rest = path
    is_field = first in _LISTS[head].model_fields
    if is_field and (
        not rest or first in ("overrides", "posterior", "until", "checkpoints", "hold")
    ):
        _nested(entry, path, value, place)
        return
    dotted = ".".join(path)
    _nested(entry, ["overrides", dotted], value, place)
    if rest and isinstance(entry["overrides"].get(first), dict):
        del entry["overrides"][dotted]
        _nested(entry, ["overrides", *path], value, place)


def _nested(mapping: dict[str, Any], path: list[str], value: Any, place: Place) -> None:
    *inner, last = path
    for name in inner:
        if not isinstance(mapping.get(name) or {}, dict):
            rule = f"{name} is {show(mapping[name])}, not a mapping"
            raise place.error(rule, "correct it in the file", value)
        mapping[name] = dict(mapping.get(name) or {})
        mapping = mapping[name]
    mapping[last] = value
