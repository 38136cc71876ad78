"""Reads YAML as plain data: with safe tags only, 1e-4 as a float, and without interpolation."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lambda_hat_core.config.errors import ConfigError, Place, Problems, display, one_line, suggest
from lambda_hat_core.plan.yaml_text import check_text

SHIPPED = Path(__file__).parents[1] / "shipped"
"""The experiments, presets and cards of the package, which every project has besides its own."""

_MOST_NODES = 1_000_000
"""Largest number of nodes of one file after its aliases are expanded. It admits 10^5 targets and is
far below the size of an alias bomb."""


def read_mapping(file: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file; an empty file is an empty mapping.

    Raises:
        ConfigError: if the file cannot be read, is not YAML, is not a mapping, or contains an
            interpolation or a key that is not a string.
    """
    place = Place(display(file))
    content = _parse(_text(file, place), place)
    problems = Problems()
    for line in _odd_entries(content, place):
        problems.add(line)
    problems.raise_any()
    return content


def _text(file: Path, place: Place) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise place.error("no such file", "check the path and the working directory") from None
    except (OSError, UnicodeDecodeError) as error:
        raise place.error(f"cannot be read ({error})", "give a readable UTF-8 file") from None


def _parse(text: str, place: Place) -> dict[str, Any]:
    try:
        first = check_text(text, place)
        if first is None or (first is yaml.ScalarEvent and yaml.safe_load(text) is None):
            return {}
        if first is not yaml.MappingStartEvent:
            kind = "text" if first is yaml.ScalarEvent else "a list"
            raise place.error(f"contains {kind}, not a mapping", "write 'key: value' lines")
        loaded = OmegaConf.load(io.StringIO(text), max_yaml_expanded_nodes=_MOST_NODES)
        content = OmegaConf.to_container(loaded, resolve=False)
    except ConfigError:
        raise
    except (ValueError, OSError) as error:
        raise place.error(
            f"contains a value that cannot be read ({one_line(str(error))})",
            "write it as a plain number or text",
        ) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = f":{mark.line + 1}" if mark else ""
        reason = (error.problem or error.context or "unreadable").partition(". See ")[0]
        raise Place(f"{place.file}{at}").error(
            f"not valid YAML ({reason})", "correct that line or the one before it"
        ) from None
    except yaml.YAMLError as error:
        raise place.error(f"not valid YAML ({error})", "remove that character") from None
    except OmegaConfBaseException as error:
        raise place.error(
            f"contains an interpolation or key that is not plain YAML ({one_line(str(error))})",
            "write the value itself",
        ) from None
    if not isinstance(content, dict):
        raise place.error("its tags make something else than a mapping", "remove the tags")
    return content  # pyright: ignore[reportReturnType]


def _odd_entries(value: Any, place: Place) -> Iterator[str]:
    """Yield a message for every interpolation and every key that is not a string."""
    if isinstance(value, dict):
        for key, entry in value.items():
            if not isinstance(key, str):
                rule, way_out = "a key must be a string", f"write '{key}' in quotes"
                yield place.key(key).problem(rule, way_out, entry)
            yield from _odd_entries(entry, place.key(key))
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            yield from _odd_entries(entry, place.item(index))
    elif isinstance(value, str) and "${" in value:
        yield place.problem("interpolation is not supported", "write the value itself", value)
    elif isinstance(value, bytes | Path):
        rule = "must be a number, text, a list or a mapping"
        yield place.problem(rule, "write it as text", value)


_LONGEST_NAME = 100
"""Most bytes of a name; names of files have at most 255, and temporary ones have more parts."""


def name_of(file: Path, key: str, written: str | None) -> str:
    """Return the name of an experiment or a study: what its file says, or the file's own.

    Raises:
        ConfigError: if the file's own name is too long for what is named after it.
    """
    if written is None and len(file.stem.encode()) > _LONGEST_NAME:
        rule = f"the name of the file has more than {_LONGEST_NAME} bytes"
        raise Place(display(file)).error(rule, f"write {key}: and a shorter name in it")
    return written or file.stem


def files_of(config_dir: Path, group: str) -> dict[str, Path]:
    """Return the YAML files of a group such as `model` by name, those of the folder first.

    A file of the package counts unless the folder has one of the same name.
    """
    own = sorted((config_dir / group).glob("*.yaml"))
    shipped = sorted((SHIPPED / group).glob("*.yaml"))
    return {file.stem: file for file in reversed([*own, *shipped])}


class Presets:
    """The presets of a folder and of the package; each file is read once."""

    def __init__(self, config_dir: Path):
        self.folder = config_dir
        self._files: dict[str, dict[str, Path]] = {}
        self._read: dict[tuple[str, str], dict[str, Any]] = {}

    def names(self, group: str) -> list[str]:
        """Return the presets of a group such as `model`."""
        return sorted(self._of(group))

    def file(self, group: str, name: str) -> Path:
        """Return the path of a preset's file."""
        return self._of(group)[name]

    def get(self, group: str, name: str, place: Place) -> dict[str, Any]:
        """Return a preset's mapping.

        Raises:
            ConfigError: if there is no such preset; `place` is where it was asked for.
        """
        if (group, name) not in self._read:
            if name not in self._of(group):
                raise place.error(
                    f"no such preset in {display(self.folder / group)}",
                    suggest(name, self.names(group)),
                    name,
                )
            self._read[group, name] = read_mapping(self.file(group, name))
        return self._read[group, name]

    def _of(self, group: str) -> dict[str, Path]:
        if group not in self._files:
            self._files[group] = files_of(self.folder, group)
        return self._files[group]


def resolve_experiment(experiment: str | Path, config_dir: Path) -> Path:
    """Return the YAML file of an experiment, given its name or a path.

    Raises:
        ConfigError: if there is no such file.
    """
    given = "the argument or LAMBDA_HAT_EXPERIMENT"
    return resolve(experiment, config_dir, "experiment", "experiment", given)


def require_config(config: Path, variable: str, value: str) -> None:
    """Refuse to look a name up where there is no folder config/.

    Raises:
        ConfigError: if the folder does not exist.
    """
    if not config.is_dir():
        rule = f"there is no folder {config.name}/ in {config.absolute().parent}, where names are"
        way_out = (
            "run from the project's folder, make one by `lambda-hat init FOLDER`, or give "
            f"{variable} the path of a YAML file"
        )
        raise Place(variable).error(rule, way_out, value)


def is_path(name: str) -> bool:
    """Return whether a name is the path of a YAML file rather than that of a preset."""
    return name.endswith((".yaml", ".yml")) or "/" in name or "\\" in name


def resolve(name: str | Path, config_dir: Path, group: str, what: str, variable: str) -> Path:
    """Return the YAML file that a name in a group of files, or a path, stands for.

    Args:
        name: what was written.
        config_dir: the folder of the project's files.
        group: the group in which names are looked up, such as `experiment`.
        what: a description of the file, for the error.
        variable: the environment variable that chooses it.

    Raises:
        ConfigError: if there is no such file.
    """
    text = str(name)
    if is_path(text):
        file = Path(text).expanduser()
        if file.is_file():
            return file
        if file.is_dir():
            raise Place(display(file)).error(
                "this is a folder, not a YAML file", "name a file in it"
            )
        raise Place(display(file)).error(
            f"no such {what} file", f"check {variable} and the working directory"
        )
    require_config(config_dir, variable, text)
    known = files_of(config_dir, group)
    if text in known:
        return known[text]
    raise Place(display(config_dir / group), variable).error(
        f"no such {what}", f"{suggest(text, known)}, or give a path to a YAML file", text
    )
