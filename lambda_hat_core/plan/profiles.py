"""The grid of `profiles`: every run at every step size, nbeta and gamma."""

from collections.abc import Mapping
from typing import Any

from lambda_hat_core.config.errors import Place
from lambda_hat_core.config.experiment import Profiles
from lambda_hat_core.config.sections import Section, inline, validate
from lambda_hat_core.plan.read import Presets
from lambda_hat_core.plan.samplers import SamplerDraft, read_sampler

STEP = "step_size"


def read_profiles(values: Any, place: Place) -> Profiles:
    """Return the grid that an experiment asks for; without a mapping none of its axes has values.

    Raises:
        ConfigError: naming every impossible value, and an axis that is empty or has a value twice.
    """
    if not isinstance(values, Mapping):
        return Profiles()
    found = validate(inline("profiles", values, place), Profiles)
    for name, listed in found:
        if listed is not None and len({*listed}) < max(1, len(listed)):
            rule = "must have one or more values, each of them once"
            raise place.key(name).error(rule, "remove the others, or the key", values[name])
    return found


def on_posterior(values: Mapping[str, Any], profiles: Profiles, place: Place) -> dict[str, Any]:
    """Return the values of the experiment's posterior with the grid's lists of nbeta and gamma.

    Args:
        values: as written under `posterior`.
        profiles: the grid.
        place: that of the grid.

    Raises:
        ConfigError: if a key is written in both.
    """
    listed = {name: [*v] for name, v in profiles if v is not None and name != STEP}
    for name in listed:
        if name in values:
            rule = f"posterior.{name} is written too"
            raise place.key(name).error(rule, "remove one of them", listed[name])
    return {**values, **listed}


def read_samplers(
    raw: Mapping[str, Any],
    place: Place,
    presets: Presets,
    experiment: Section,
    profiles: Profiles,
    **options: Any,
) -> list[SamplerDraft]:
    """Return the sampler of an entry at every step size of the grid, if it has a step size.

    Args:
        raw: the entry.
        place: where it stands.
        presets: as in `read_sampler`.
        experiment: as in `read_sampler`.
        profiles: the grid.
        **options: as in `read_sampler`.

    Raises:
        ConfigError: as `read_sampler`, or if the entry writes a step size beside the grid's.
    """
    draft = read_sampler(raw, place, presets, experiment, **options)
    if profiles.step_size is None or STEP not in type(draft.spec).model_fields:
        return [draft]
    written = raw.get("overrides") or {}
    if STEP in written:
        rule = f"profiles.{STEP} is written too"
        raise place.key("overrides").key(STEP).error(rule, "remove one of them", written[STEP])
    return [
        read_sampler(
            {**raw, "overrides": {**written, STEP: size}}, place, presets, experiment, **options
        )
        for size in profiles.step_size
    ]


def check_has_step(profiles: Profiles, drafts: list[SamplerDraft], place: Place) -> None:
    """Refuse step sizes that no sampler of the experiment takes.

    Raises:
        ConfigError: if that is so.
    """
    if profiles.step_size is None or not drafts:
        return
    if not any(STEP in type(draft.spec).model_fields for draft in drafts):
        names = ", ".join(dict.fromkeys(str(draft.spec.model_dump()["kind"]) for draft in drafts))
        rule = f"no sampler here has a {STEP} that can be set: {names}"
        way_out = "add e.g. sgld, or remove the key"
        raise place.key(STEP).error(rule, way_out, list(profiles.step_size))
