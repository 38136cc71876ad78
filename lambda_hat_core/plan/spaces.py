"""Search spaces, checked so that every parameter exists and every value in its range is legal."""

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

from lambda_hat_core.config.base import Frozen
from lambda_hat_core.config.errors import ConfigError, Place, Problems, suggest
from lambda_hat_core.config.hints import hint
from lambda_hat_core.config.samplers.known import SAMPLERS
from lambda_hat_core.config.sections import Section, inline, validate
from lambda_hat_core.config.study import DISTRIBUTIONS, Choices, FloatRange, IntRange
from lambda_hat_core.plan.merge import pick

_MOST_CORNERS = 256
"""Largest number of combinations of extreme values checked against rules between parameters."""

_BETWEEN = (math.sqrt(5) - 1) / 2
"""Fraction of a real range at which a value is tested, so that integer parameters reject it."""

Space = dict[str, FloatRange | IntRange | Choices]


def read_space(raw: Any, base: Section, place: Place) -> Space:
    """Return the search space of one method.

    Args:
        raw: what was written under `search_space.<method>`.
        base: the method's own settings, to which each parameter is added.
        place: the place of `raw` in the file.

    Raises:
        ConfigError: one line per mistake, which names the parameter and the rule.
    """
    if not isinstance(raw, Mapping) or not raw:
        raise place.error("must map parameters to ranges", "write at least one", raw)
    kind = str(base.values["kind"])
    problems = Problems()
    space: Space = {}
    for name, entry in raw.items():
        at = place.key(name)
        with problems:
            known = SAMPLERS[kind].model_fields.keys() - {"kind", "until"}
            if name not in known:
                raise at.error(
                    f"{kind} has no such parameter", hint(kind, name) or suggest(name, known)
                )
            space[name] = _distribution(entry, at)
            for end, value in _probes(space[name]):
                _legal(base, {name: value}, {name: at.key(end)})
    problems.raise_any()
    with problems:
        _corners(space, base, place)
    problems.raise_any()
    return space


def _distribution(entry: Any, place: Place) -> FloatRange | IntRange | Choices:
    if not isinstance(entry, Mapping):
        raise place.error("must be a mapping", "write {dist: float, low: ..., high: ...}", entry)
    if "dist" not in entry:
        raise place.key("dist").error("missing", f"write one of {', '.join(DISTRIBUTIONS)}")
    if entry["dist"] not in DISTRIBUTIONS:
        raise place.key("dist").error(
            "no such distribution", suggest(entry["dist"], DISTRIBUTIONS), entry["dist"]
        )
    found: Any = validate(inline("distribution", entry, place), DISTRIBUTIONS[entry["dist"]])
    if isinstance(found, Choices):
        _distinct(found, entry, place)
    else:
        _ordered(found, place)
    return found


def _distinct(found: Choices, entry: Mapping[str, Any], place: Place) -> None:
    seen = [(type(choice), choice) for choice in found.choices]
    if len(set(seen)) < len(seen):
        raise place.key("choices").error("a choice is listed twice", "remove one", entry["choices"])


def _ordered(found: FloatRange | IntRange, place: Place) -> None:
    if found.low >= found.high:
        rule = f"must be > low, which is {found.low:g}"
        raise place.key("high").error(rule, "swap them, or remove the parameter", found.high)
    if found.log and found.low <= 0:
        raise place.key("low").error("must be > 0 where log is true", "raise it", found.low)
    if found.log and found.step not in (None, 1):
        rule = "a logarithmic range has no step"
        raise place.key("step").error(rule, "remove step or log", found.step)
    if found.step is not None and found.step > found.high - found.low:
        rule = f"must be <= high - low, which is {found.high - found.low:g}"
        raise place.key("step").error(rule, "lower it", found.step)


def _probes(found: FloatRange | IntRange | Choices) -> Iterator[tuple[str, Any]]:
    """Yield representative values of a distribution, each with the key that it comes from."""
    if isinstance(found, Choices):
        for index, choice in enumerate(found.choices):
            yield f"choices[{index}]", choice
        return
    yield "low", found.low
    yield "high", found.high
    if isinstance(found, FloatRange):
        yield "dist", found.low + _BETWEEN * (found.high - found.low)


def _legal(base: Section, values: dict[str, Any], places: dict[str, Place]) -> Frozen:
    """Return the validated sampler, with `values` added to the settings of `base`."""
    whole = base._replace(values=base.values | values, places=base.places | places)
    filled, model = pick(whole, SAMPLERS, str(base.values["kind"]))
    return validate(filled, model, group=str(base.values["kind"]))


def _corners(space: Space, base: Section, place: Place) -> None:
    """Check combinations of extreme values for rules between parameters, as n_burn < n_draws."""
    extremes = [[(name, value) for _, value in _probes(found)] for name, found in space.items()]
    for corner in itertools.islice(itertools.product(*extremes), _MOST_CORNERS):
        values = dict(corner)
        try:
            _legal(base, values, {name: place.key(name) for name in values})
        except ConfigError as error:
            names = ", ".join(f"{name} = {value!r}" for name, value in corner)
            rule = error.lines[0].removeprefix(f"{base.place.file}: ").partition(": ")[2]
            raise place.error(f"not legal at {names}: {rule}", "narrow one of them") from None
