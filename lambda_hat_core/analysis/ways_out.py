"""The words of an advice: one or more `key: value`, as YAML reads them between braces.

A plain key is a setting of the sampler: it stands under `overrides` of its entry in an experiment,
and is a field of its object in a notebook. `until.max_fge` and `name` stand beside `overrides`, and
are `max_fge=` and `sampler=` in a notebook; so does `dtype`. `max_seconds` exists only there, and
`posterior.nbeta` is a key of `posterior` in both.
"""

from collections.abc import Iterator, Mapping, Sequence
from numbers import Real
from typing import Any

Settings = Mapping[str, Any]
"""Values by key."""

_SMALLER = {
    "step_size",
    "step_fraction",
    "until.rel_se",
    "desired_energy_var",
    "lr",
    "posterior.nbeta",
}
"""Keys whose smaller value goes further. Of all others the larger one does."""

_ARGUMENTS = {"until.max_fge": "max_fge", "until.rel_se": "rel_se", "name": "sampler"}
"""Keys that are arguments of `estimate_llc` by another name."""

_OF_THE_RUN = {"until.max_fge", "until.rel_se", "until.max_draws", "max_seconds", "dtype"}
"""Keys that hold for any sampler."""


def agreed(ways_out: Sequence[Settings], n_burn: int = 0) -> list[Settings]:
    """Return the same settings, so that they can be followed together.

    A key that occurs several times has its furthest value: as many draws are kept as the way out
    that wants most of them, and dropped as the one that wants most of those. Where one of them is
    another sampler, no other is a setting of this one.

    Args:
        ways_out: settings by key, one mapping for every finding.
        n_burn: draws that are dropped where settings do not say it.
    """
    furthest: dict[str, Any] = {}
    for settings in ways_out:
        for key, value in settings.items():
            other = furthest.get(key, value)
            if _is_number(value) and _is_number(other):
                furthest[key] = (min if key in _SMALLER else max)(value, other)
    lengths = [settings for settings in ways_out if "n_draws" in settings]
    if lengths:
        kept = max(each["n_draws"] - each.get("n_burn", n_burn) for each in lengths)
        furthest["n_draws"] = furthest.get("n_burn", n_burn) + kept
    named = next((settings for settings in ways_out if "name" in settings), None)

    def together(settings: Settings) -> Settings:
        if named is not None and not _OF_THE_RUN.issuperset(settings):
            return named
        return {
            key: furthest[key] if _is_number(value) else value for key, value in settings.items()
        }

    return [together(settings) for settings in ways_out]


def worded(settings: Settings) -> str:
    """Return settings as `key: value, key: value`."""
    return ", ".join(f"{key}: {word}" for key, word in zip(settings, _words(settings), strict=True))


def as_arguments(advice: str) -> str:
    """Return an advice, as `worded` makes them, with the names of `estimate_llc`."""
    return ", ".join(_as_argument(*pair.split(": ")) for pair in advice.split(", "))


def _as_argument(key: str, value: str) -> str:
    head, _, tail = key.rpartition(".")
    if head == "posterior":
        return f"{head}: {{{tail}: {value}}}"
    return f"{_ARGUMENTS.get(key, key)}: {value}"


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


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
