"""The experiment's posterior, a sampler's changes to it, and one spec per value of a list."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from lambda_hat_core.config.errors import Place, Problems
from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.config.sections import Section, inline, validate
from lambda_hat_core.plan.merge import overridden

_LISTED = ("gamma", "nbeta")


class Variant(NamedTuple):
    """One posterior of a sampler entry, as written; its loss may still depend on the target."""

    spec: PosteriorSpec
    part: Section


def experiment_posterior(values: Mapping[str, Any] | None, place: Place) -> Section:
    """Return the experiment's posterior section, validated.

    Raises:
        ConfigError: naming every impossible value.
    """
    part = inline("posterior", values or {}, place)
    variants(part)
    return part


def sampler_variants(
    experiment: Section, changes: Mapping[str, Any] | None, place: Place
) -> list[Variant]:
    """Return the posteriors of one sampler entry: the experiment's with `changes` applied."""
    wanted = inline("posterior", changes or {}, place)
    found, _ = overridden(experiment, wanted, variants, PosteriorSpec)
    return found


def variants(part: Section) -> list[Variant]:
    """Return one posterior for every combination of the values of gamma, nbeta and restrict.

    Raises:
        ConfigError: naming every impossible value.
    """
    expanded = [part]
    for key in _LISTED:
        expanded = [single for item in expanded for single in _each(item, key)]
    if _lists_runs(part.values.get("restrict")):
        expanded = [single for item in expanded for single in _each(item, "restrict")]
    problems = Problems()
    out: list[Variant] = []
    for item in expanded:
        with problems:
            spec = validate(item, PosteriorSpec)
            out.append(Variant(spec, item))
    problems.raise_any()
    return out


def _lists_runs(restrict: Any) -> bool:
    """Return whether `restrict` has an entry for each run, rather than one for each pattern."""
    listed = restrict if isinstance(restrict, list) else []
    return any(entry is None or isinstance(entry, list) for entry in listed)


def _each(part: Section, key: str) -> list[Section]:
    values = part.values.get(key)
    if not isinstance(values, list):
        return [part]
    if not values:
        raise part.error(key, "an empty list defines no run", "give values, or remove it")
    return [
        part._replace(
            values=part.values | {key: value},
            places=part.places | {key: part.at(key).item(index)},
        )
        for index, value in enumerate(values)
    ]
