"""Errors with one line per mistake: file, key, value, rule, and the correction."""

import difflib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

MISSING = object()
"""Stands for a value that is absent; null cannot, because it is a value."""

_LONGEST_VALUE = 60
_MOST_LINES = 20


class ConfigError(ValueError):
    """The mistakes of a configuration, one per line."""

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines of the message, one per mistake."""
        return tuple(str(self).splitlines())


class Misfit(ValueError):
    """A value of a finished specification that does not go with the rest of it.

    In Python the message stands alone; when a file is read, the place precedes rule and way out.

    Attributes:
        key: the key path of the value, such as `training.batch_size`.
        rule: the rule that the value breaks.
        way_out: what to write instead.
    """

    def __init__(self, key: str, value: object, rule: str, way_out: str):
        super().__init__(f"{key} is {show(value)}: {rule}; {way_out}")
        self.key, self.rule, self.way_out = key, rule, way_out


class Place(NamedTuple):
    """A file, and a key path in it."""

    file: str
    path: str = ""

    def key(self, name: object) -> "Place":
        """Return the place of the entry `name` of this mapping."""
        return Place(self.file, f"{self.path}.{name}" if self.path else str(name))

    def item(self, index: int) -> "Place":
        """Return the place of entry `index` of this list."""
        return Place(self.file, f"{self.path}[{index}]")

    def problem(self, rule: str, way_out: str, value: object = MISSING) -> str:
        """Return the line 'file: path is value: rule; way out'."""
        where = f"{self.file}: {self.path}" if self.path else self.file
        if value is not MISSING:
            where += f" is {show(value)}"
        return one_line(f"{where}: {rule}" + (f"; {way_out}" if way_out else ""))

    def error(self, rule: str, way_out: str, value: object = MISSING) -> ConfigError:
        """Return a ConfigError with one line."""
        return ConfigError(self.problem(rule, way_out, value))


class Problems:
    """Collects ConfigErrors, so that all mistakes of a file are reported together."""

    def __init__(self):
        self.lines: list[str] = []

    def __enter__(self) -> "Problems":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: Any) -> bool:
        if isinstance(error, ConfigError):
            self.lines += [line for line in error.lines if line not in self.lines]
            return True
        return False

    def add(self, line: str) -> None:
        """Add the line of one mistake."""
        self.lines.append(line)

    def raise_any(self) -> None:
        """Raise the collected mistakes as one error.

        Raises:
            ConfigError: if there are any mistakes.
        """
        if len(self.lines) > _MOST_LINES:
            rest = len(self.lines) - _MOST_LINES
            self.lines[_MOST_LINES:] = [f"(and {rest} more mistakes like these)"]
        if self.lines:
            raise ConfigError("\n".join(self.lines))


def one_line(text: str) -> str:
    """Return `text` in one line that a terminal shows as it is.

    Each sequence of white space becomes one space, and what cannot be printed, such as a mark that
    reverses the direction of writing, its escape.
    """
    line = " ".join(text.split())
    return line if line.isprintable() else "".join(map(_printable, line))


def _printable(letter: str) -> str:
    return letter if letter.isprintable() else letter.encode("unicode_escape").decode()


def show(value: object) -> str:
    """Return a value as YAML would write it, shortened to a readable length."""
    text = one_line(json.dumps(value, default=str, ensure_ascii=False))
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."


def display(file: Path) -> str:
    """Return a path relative to the working directory if it lies below it, else absolute."""
    absolute = os.path.abspath(file)
    relative = os.path.relpath(absolute)
    return absolute if relative.startswith("..") else relative


def suggest(name: object, known: Iterable[str]) -> str:
    """Return the list of known names, after 'did you mean x?' if one of them is similar."""
    known = sorted(known)
    lowered = {word.lower(): word for word in known}
    close = difflib.get_close_matches(str(name).lower(), lowered, n=2, cutoff=0.6)
    listed = f"known: {', '.join(known) or 'none'}"
    if not close:
        return listed
    return f"did you mean {' or '.join(lowered[word] for word in close)}? ({listed})"
