"""How long a run is: its own lengths where they are written, else until it has seen enough."""

from collections.abc import Mapping, Set
from typing import Any

from lambda_hat_core.config.errors import ConfigError, Place
from lambda_hat_core.config.samplers.base import LENGTHS, Sampler, Until
from lambda_hat_core.config.sections import Section, inline, validate

DEFAULT = Until()


def stopping[S: Sampler](sampler: S, written: Set[str], rule: Until | None = DEFAULT) -> S:
    """Return the sampler with the stop rule that it has.

    Explicit lengths mean explicit lengths; `rule` holds where neither they nor a rule are written.
    A rule that names no budget has that of the sampler.

    Args:
        sampler: any sampler.
        written: the fields that somebody chose.
        rule: that of samplers that write nothing; None: their default lengths.
    """
    chosen = sampler.until if written & {*LENGTHS, "until"} else rule
    if chosen is not None and "max_fge" not in chosen.model_fields_set:
        chosen = chosen.model_copy(update={"max_fge": sampler.max_fge})
    return sampler.model_copy(update={"until": chosen})


def read_rule(values: Any, place: Place, beneath: Section | None = None) -> Section:
    """Return a stop rule as written, validated, on top of the one `beneath`, whose keys it keeps.

    Raises:
        ConfigError: naming every mistake.
    """
    if not isinstance(values, Mapping):
        way_out = "write {rel_se: 0.05}, or null for the sampler's default lengths"
        raise place.error("must be a mapping", way_out, values)
    part = inline("until", values, place)
    validate(part, Until)
    if beneath is None:
        return part
    return part._replace(values=beneath.values | part.values, places=beneath.places | part.places)


def both(lengths: Section, key: str, rule: Place) -> ConfigError:
    """Return the error that a sampler has a length, under `key`, and a stop rule of its own."""
    return lengths.error(
        key,
        f"a run ends at its length, so {rule.path} has no effect",
        f"remove {key}, or write until: null beside name",
    )
