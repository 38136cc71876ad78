"""Cards on disk and on the command line: every mistake is one line with the way out."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast, get_args

from pydantic import BaseModel

from lambda_hat_assets.cards.card import DTYPES, Card, LocalTag, Tags
from lambda_hat_assets.cards.slurm import Cluster, SlurmTag, Ssh
from lambda_hat_core.config.errors import Place, Problems, display, suggest
from lambda_hat_core.config.sections import inline, validate
from lambda_hat_core.plan.overrides import split
from lambda_hat_core.plan.read import read_mapping

_EXECUTORS: dict[str, type[LocalTag] | type[SlurmTag]] = {"local": LocalTag, "slurm": SlurmTag}
_PARTS: dict[str, type[BaseModel]] = {
    "cluster.ssh.jump": Ssh,
    "cluster.ssh": Ssh,
    "cluster": Cluster,
}


def load_card(card: str, config: Path) -> Card:
    """Return a card, given by its name under `config`/card or by a path.

    Raises:
        ConfigError: if there is none, or naming every mistake in it.
    """
    folder = config / "card"
    is_path = card.endswith((".yaml", ".yml")) or os.sep in card
    file = Path(card).expanduser() if is_path else folder / f"{card}.yaml"
    if not file.is_file() and not is_path:
        known = [path.stem for path in folder.glob("*.yaml")]
        place = Place(display(folder), "LAMBDA_HAT_CARD")
        raise place.error("no such card", suggest(card, known), card)
    return _validated(read_mapping(file), Place(display(file)))


def changed(card: Card, words: Sequence[str]) -> Card:
    """Return a card with `key=value` words applied.

    `walltime=04:00:00` goes to every tag that has such a key, `float64.walltime=04:00:00` to one,
    `cluster.poll_interval=5` to the cluster, `max_concurrent=1` to the tags.

    Raises:
        ConfigError: naming every word that names nothing, or whose value is impossible.
    """
    if not words:
        return card
    content = card.model_dump(exclude_none=True)
    problems = Problems()
    for word in words:
        with problems:
            key, value = split(word, Place("--set"))
            _set(content, key, value, word.partition("=")[2], Place("--set", key))
    problems.raise_any()
    return _validated(content, Place("--set"))


def _set(content: dict[str, Any], key: str, value: Any, text: str, place: Place) -> None:
    """Set a key in every mapping that has it; what is text in the model stays as it was written."""
    models = _models(content)
    path = key.split(".")
    variable = path.pop() if "env" in path[:-1] else None
    name = path.pop()
    at = ".".join(path)
    chosen = [p for p in models if (p in (at, f"tags.{at}") if at else p.startswith("tags."))]
    if not chosen:
        raise place.error("no such part of this card", suggest(at, models), text)
    found = [part for part in chosen if name in models[part].model_fields]
    if not found:
        known = {field for part in chosen for field in models[part].model_fields}
        raise place.error("names nothing of this card", suggest(name, known), text)
    for part in found:
        mapping = _at(content, part)
        if variable:
            mapping[name] = {**mapping.get(name, {}), variable: text}
        elif isinstance(value, int | float) and _is_text(models[part], name):
            mapping[name] = text
        else:
            mapping[name] = value


def _is_text(model: type[BaseModel], name: str) -> bool:
    annotation = model.model_fields[name].annotation
    return annotation is str or str in get_args(annotation)


def _models(content: dict[str, Any]) -> dict[str, type[BaseModel]]:
    """Return the model of every mapping of a card that is there."""
    tags = {f"tags.{dtype}": entry for dtype, entry in content.get("tags", {}).items()}
    tags = tags or {f"tags.{dtype}": {} for dtype in DTYPES}
    found = {at: _EXECUTORS[entry.get("executor", "local")] for at, entry in tags.items()}
    return found | (_PARTS if "cluster" in content else {})


def _at(content: dict[str, Any], path: str) -> dict[str, Any]:
    for name in path.split("."):
        content = content.setdefault(name, {})
    return content


def _validated(content: dict[str, Any], place: Place) -> Card:
    """Validate part by part, so that a mistake is named by its full path."""
    tags = content.get("tags", {})
    if not isinstance(tags, dict):
        raise place.key("tags").error("a mapping from dtype to entry", "write float32: {...}", tags)
    problems = Problems()
    whole = dict(content)
    with problems:
        whole["tags"] = _tags(tags, place.key("tags"))
    for at, model in _PARTS.items():
        with problems:
            _check_part(content, at, model, place)
    with problems:
        known = {key: value for key, value in content.items() if key not in ("tags", "cluster")}
        validate(inline("card", known, place), Card)
    problems.raise_any()
    return validate(inline("card", whole, place), Card)


def _tags(tags: dict[str, Any], place: Place) -> Tags:
    problems = Problems()
    entries: dict[str, Any] = {}
    for dtype, entry in tags.items():
        with problems:
            at = place.key(dtype)
            if dtype not in DTYPES:
                raise at.error("no such dtype", suggest(dtype, DTYPES), entry)
            if entry is None:
                continue
            if not isinstance(entry, dict):
                raise at.error("a mapping", "write {executor: local}", entry)
            executor = entry.get("executor", "local")
            if executor not in _EXECUTORS:
                way_out = suggest(executor, _EXECUTORS)
                raise at.key("executor").error("no such executor", way_out, executor)
            part = inline("card entry", {"executor": executor, **entry}, at)
            entries[dtype] = validate(part, cast(type[LocalTag], _EXECUTORS[executor]))
    problems.raise_any()
    return Tags(**entries)


def _check_part(content: dict[str, Any], at: str, model: type[BaseModel], place: Place) -> None:
    part: Any = content
    for name in at.split("."):
        part, place = part.get(name) or {}, place.key(name)
        if not isinstance(part, dict):
            raise place.error("a mapping", "write key: value lines", part)
    inner = {key for key in part if f"{at}.{key}" in _PARTS and isinstance(part[key], dict)}
    plain = {key: value for key, value in part.items() if key not in inner}
    validate(inline("card", plain, place), model)
