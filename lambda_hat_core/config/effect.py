"""The rule for keys without effect: a field says in which cases it has one.

    M: Annotated[PositiveInt, When(algo="mfa")] = 4

Elsewhere another value than the default is refused, with the key, its value, the rule and the way
out. A field with several `When` has an effect if one of them holds.
"""

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import BaseModel

from lambda_hat_core.config.errors import Misfit, show


@dataclass(frozen=True)
class Above:
    """All numbers above a limit, as the values of a key."""

    limit: int

    def __contains__(self, value: object) -> bool:
        """Return whether `value` is a number above the limit."""
        return isinstance(value, int | float) and value > self.limit


class When:
    """Metadata of a field: it has an effect if all of these fields have one of their values.

    Args:
        others: by the name of another field, a value, a tuple of values, or `Above`.
    """

    def __init__(self, **others: Any):
        self.others = {
            name: values if isinstance(values, tuple | Above) else (values,)
            for name, values in others.items()
        }

    def broken(self, values: Mapping[str, Any]) -> str | None:
        """Return the name of a field that has another value, or None."""
        for name, allowed in self.others.items():
            if values[name] not in allowed:
                return name
        return None


@cache
def _conditional(model: type[BaseModel]) -> list[tuple[str, Any, list[When]]]:
    """Return name, default and rules of every field that does not always have an effect."""
    found = []
    for name, field in model.model_fields.items():
        rules = [item for item in field.metadata if isinstance(item, When)]
        if rules:
            found.append((name, field.default, rules))
    return found


def without_effect(model: type[BaseModel], values: Mapping[str, Any]) -> Iterator[Misfit]:
    """Yield an error for every field whose value is not its default, but has no effect."""
    for name, default, rules in _conditional(model):
        if values[name] == default:
            continue
        broken = [rule.broken(values) for rule in rules]
        if None in broken:
            continue
        other = broken[0]
        assert other is not None
        allowed = rules[0].others[other]
        rule = f"it has no effect with {other} {_word(values[other])}"
        if allowed == (None,):
            way_out = f"remove {name}, or {other}"
        elif isinstance(allowed, Above):
            way_out = f"remove {name}, or set {other} to more than {allowed.limit:g}"
        else:
            way_out = f"remove {name}, or set {other} to {' or '.join(map(_word, allowed))}"
        yield Misfit(name, values[name], rule, way_out)


def ineffective(
    model: type[BaseModel], values: Mapping[str, Any], changed: Set[str]
) -> frozenset[str]:
    """Return the keys of `values` that the `changed` ones leave without effect.

    Keys that are missing have their defaults, and the others may still be invalid.
    """
    rules_of = [(name, rules) for name, _, rules in _conditional(model) if name in values]
    if not (changed and rules_of):
        return frozenset()
    whole = {name: values.get(name, field.default) for name, field in model.model_fields.items()}
    found = set()
    for name, rules in rules_of:
        broken = [rule.broken(whole) for rule in rules]
        if None not in broken and changed & {*broken}:
            found.add(name)
    return frozenset(found)


def _word(value: Any) -> str:
    return value if isinstance(value, str) else show(value)
