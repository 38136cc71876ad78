"""Reads cards from files, applies changes from the command line, and reports every mistake."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from lambda_hat_assets.cards.card import DTYPES, Card, LocalTag, Tags
from lambda_hat_assets.cards.slurm import Cluster, SlurmTag, Ssh
from lambda_hat_core.config.errors import Place, Problems, display, suggest
from lambda_hat_core.config.sections import inline, validate
from lambda_hat_core.plan.overrides import split
from lambda_hat_core.plan.read import files_of, is_path, read_mapping, require_config

DEFAULT = "local"
_EXECUTORS: dict[str, type[LocalTag] | type[SlurmTag]] = {"local": LocalTag, "slurm": SlurmTag}
_CLUSTER = ("cluster", "cluster.ssh", "cluster.ssh.jump")
_PARTS: dict[str, type[BaseModel]] = {
    "": Card,
    "tags": Tags,
    **dict(zip(_CLUSTER, (Cluster, Ssh, Ssh), strict=True)),
}
"""The model of each part of a card by its path, except the entries of the dtypes."""


def load_card(card: str, config: Path) -> Card:
    """Return a card, given by its name in `config`/card or in the package, or by a path.

    Raises:
        ConfigError: if there is no such card, or if it has mistakes, with one line per mistake.
    """
    if is_path(card):
        file = Path(card).expanduser()
    else:
        known = files_of(config, "card")
        if card not in known:
            require_config(config, "LAMBDA_HAT_CARD", card)
            place = Place(display(config / "card"), "LAMBDA_HAT_CARD")
            raise place.error("no such card", suggest(card, known), card)
        file = known[card]
    return _validated(read_mapping(file), Place(display(file)))


def changed(card: Card, words: Sequence[str]) -> Card:
    """Return a card with `key=value` words applied.

    `walltime=04:00:00` changes every tag that has such a key, `float64.walltime=04:00:00` changes
    one tag, and `cluster.poll_interval=5` changes the cluster.

    Raises:
        ConfigError: if the card lacks a key or a value is invalid, with one line per mistake.
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
    """Set a key in every part that has it. Values of text fields are kept as they were written."""
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
        raise place.error("no part of this card has such a key", suggest(name, known), text)
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
    """Return the model of each part of a card that `--set` can change, by its path."""
    tags = content.get("tags", {}) or {dtype: {} for dtype in DTYPES}
    found = {
        f"tags.{dtype}": _EXECUTORS[tag.get("executor", "local")] for dtype, tag in tags.items()
    }
    return found | ({at: _PARTS[at] for at in _CLUSTER} if "cluster" in content else {})


def _at(content: dict[str, Any], path: str) -> dict[str, Any]:
    for name in path.split("."):
        content = content.setdefault(name, {})
    return content


def _validated(content: dict[str, Any], place: Place) -> Card:
    card = _part(content, "", place)
    assert isinstance(card, Card)
    return card


def _part(content: Any, at: str, place: Place) -> BaseModel:
    """Validate a part of a card, inner parts first, so that each mistake has its full path.

    Args:
        content: what was written.
        at: the path of the part.
        place: where it was written.

    Raises:
        ConfigError: naming every mistake.
    """
    if not isinstance(content, dict):
        raise place.error("must be a mapping", "write 'key: value' lines", content)
    is_tag = at.startswith("tags.")
    if is_tag:
        content = {"executor": "local", **content}
        if content["executor"] not in _EXECUTORS:
            way_out = suggest(content["executor"], _EXECUTORS)
            raise place.key("executor").error("no such executor", way_out, content["executor"])
    problems, values = Problems(), dict(content)
    for key, value in content.items():
        path = f"{at}.{key}".removeprefix(".")
        if value is not None and (path in _PARTS or (at == "tags" and key in DTYPES)):
            with problems:
                values[key] = _part(value, path, place.key(key))
    model = _EXECUTORS[content["executor"]] if is_tag else _PARTS[at]
    if problems.lines:
        plain = {key: value for key, value in values.items() if not _is_part(value)}
        with problems:
            validate(inline("card", plain, place), model)
    problems.raise_any()
    return validate(inline("card", values, place), model)


def _is_part(value: Any) -> bool:
    return isinstance(value, dict | BaseModel)
