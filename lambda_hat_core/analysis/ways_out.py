"""The words of an advice: one or more `key: value`, as YAML reads them between braces.

A plain key is a setting of the sampler: it stands under `overrides` of its entry in an experiment,
and is a field of its object in a notebook. `until.max_fge` and `name` stand beside `overrides`, and
are `max_fge=` and `sampler=` in a notebook; `max_seconds` exists only there.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Settings = Mapping[str, Any]
"""Values by key."""

_SMALLER = {"step_size", "step_fraction", "until.rel_se", "desired_energy_var", "lr"}
"""Keys whose smaller value goes further. Of all others the larger one does."""

_ARGUMENTS = {"until.max_fge": "max_fge", "until.rel_se": "rel_se", "name": "sampler"}
"""Keys that are arguments of `estimate_llc` by another name."""


def agreed(ways_out: Sequence[Settings]) -> list[Settings]:
    """Return the same settings, where a key that occurs several times has its furthest value."""
    furthest: dict[str, Any] = {}
    for settings in ways_out:
        for key, value in settings.items():
            other = furthest.get(key, value)
            if _is_number(value) and _is_number(other):
                furthest[key] = (min if key in _SMALLER else max)(value, other)
    return [
        {key: furthest[key] if _is_number(value) else value for key, value in settings.items()}
        for settings in ways_out
    ]


def worded(settings: Settings) -> str:
    """Return settings as `key: value, key: value`."""
    return ", ".join(f"{key}: {word}" for key, word in zip(settings, _words(settings), strict=True))


def as_arguments(advice: str) -> str:
    """Return an advice with the names that its keys have in `estimate_llc`."""
    pairs = (pair.partition(": ") for pair in advice.split(", "))
    return ", ".join(f"{_ARGUMENTS.get(key, key)}: {value}" for key, _, value in pairs)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _words(settings: Settings) -> Iterator[str]:
    """Yield values as YAML and Python both read them as numbers."""
    for value in settings.values():
        if value is None:
            yield "null"
        elif isinstance(value, float) and value == round(value) and 1 <= value < 1e15:
            yield f"{value:.0f}"
        elif isinstance(value, float):
            digits = f"{value:.3g}"
            yield digits if "." in digits or "e" not in digits else digits.replace("e", ".0e")
        else:
            yield str(value)
