"""Reads an entry of `samplers` and applies it to a target."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from lambda_hat_core.config.batches import on_examples
from lambda_hat_core.config.errors import Place, Problems, display, suggest
from lambda_hat_core.config.experiment import SamplerEntry
from lambda_hat_core.config.lengths import both, read_rule, stopping
from lambda_hat_core.config.model import Custom
from lambda_hat_core.config.samplers.base import LENGTHS, Dtype, Sampler, Until
from lambda_hat_core.config.samplers.known import SAMPLERS
from lambda_hat_core.config.sections import Section, inline, validate
from lambda_hat_core.config.spec import TargetSpec
from lambda_hat_core.plan.checkpoints import read_hold
from lambda_hat_core.plan.merge import overridden, pick, section
from lambda_hat_core.plan.posteriors import Variant, sampler_variants
from lambda_hat_core.plan.read import Presets, is_path, read_mapping


class SamplerDraft(NamedTuple):
    """A sampler as written, with its posteriors and the seed and dtype of its runs.

    Attributes:
        hold: the step of the checkpoint whose settings are held, or `last`; None: none are.
    """

    spec: Sampler
    part: Section
    variants: list[Variant]
    seed: int
    dtype: Dtype
    hold: int | Literal["last"] | None = None


def read_sampler(
    raw: Mapping[str, Any],
    place: Place,
    presets: Presets,
    experiment: Section,
    *,
    rule: Section | None = None,
    hold: int | Literal["last"] | None = None,
) -> SamplerDraft:
    """Return the sampler that an entry describes.

    Args:
        raw: the entry.
        place: where it stands.
        presets: the presets that it may name.
        experiment: the experiment's posterior.
        rule: the experiment's stop rule, for samplers without lengths or a rule of their own; None:
            those have their default lengths.
        hold: that of the experiment.

    Raises:
        ConfigError: naming every mistake of the entry.
    """
    entry = validate(inline("sampler entry", raw, place), SamplerEntry)
    at = place.key("overrides")
    problems = Problems()
    built: list[tuple[Sampler, Section]] = []
    variants: list[Variant] = []
    with problems:
        base, preset_rule = _apart(_base(entry.name, place, presets))
        changes, own_rule = _apart(inline("sampler", entry.overrides or {}, at))
        if "until" in raw:
            if own_rule:
                twice = "written here and in overrides"
                raise place.key("until").error(twice, "remove one", raw["until"])
            own_rule = [(raw["until"], place.key("until"))]
        build = partial(_build, default=entry.name)
        spec, part = overridden(base, changes, build, SAMPLERS, kind=entry.name)
        built.append((_stopped(spec, part, [*preset_rule, *own_rule], rule), part))
    with problems:
        variants = sampler_variants(experiment, entry.posterior, place.key("posterior"))
    problems.raise_any()
    spec, part = built[0]
    has_step = "step_size" in type(spec).model_fields
    chosen = hold if has_step else None
    if "hold" in raw:
        chosen = read_hold(entry.hold, place.key("hold"))
        if chosen is not None and not has_step:
            rule_of = f"{part.group} has no step_size that could be held"
            raise place.key("hold").error(rule_of, "remove hold", entry.hold)
    dtype = entry.dtype or spec.default_dtype
    return SamplerDraft(spec, part, variants, entry.seed, dtype, chosen)


def read_fixed(
    raw: Mapping[str, Any], place: Place, presets: Presets, experiment: Section
) -> SamplerDraft:
    """Return the sampler of an entry of a study, which compares settings at fixed lengths.

    Raises:
        ConfigError: as in `read_sampler`, or if a stop rule is written.
    """
    draft = read_sampler(raw, place, presets, experiment)
    if draft.hold is not None:
        raise place.error("hold has no place in a study, which has no checkpoints", "remove it")
    if draft.spec.until is not None:
        rule = "until has no place in a study, which compares runs of fixed lengths"
        raise place.error(rule, "write n_draws and n_burn in its place")
    return draft


_Rules = list[tuple[Any, Place]]


def _apart(part: Section) -> tuple[Section, _Rules]:
    """Return a section without its stop rule, and the rule with its place, if it has one."""
    if "until" not in part.values:
        return part, []
    values = {key: value for key, value in part.values.items() if key != "until"}
    return part._replace(values=values), [(part.values["until"], part.at("until"))]


def _stopped(spec: Sampler, part: Section, own: _Rules, rule: Section | None) -> Sampler:
    """Return the sampler with its stop rule.

    Args:
        spec: the sampler as written, but for its rule.
        part: what was written.
        own: the sampler's own rules, each on top of those before it.
        rule: that of the experiment.
    """
    if not own:
        written = part.values.keys() & set(LENGTHS)
        return stopping(spec, written, None if rule is None else validate(rule, Until))
    value, place = own[-1]
    if value is None:
        return spec
    for key in LENGTHS:
        if key in part.values:
            raise both(part, key, place)
    whole = rule
    for value, place in own:
        whole = None if value is None else read_rule(value, place, whole)
    assert whole is not None
    return stopping(spec, frozenset(), validate(whole, Until))


def _base(name: str, place: Place, presets: Presets) -> Section:
    """Return the section that a sampler's name stands for: a preset, its file, or the defaults."""
    if is_path(name):
        file = Path(name).expanduser()
        origin = Place(display(file))
        if not file.is_file():
            raise place.key("name").error("no such file", "check the working directory", name)
        values = read_mapping(file)
        places = {key: origin.key(key) for key in values}
        return Section("sampler", values, places, place.key("name"), name)
    named = name in presets.names("sampler")
    if not named and name not in SAMPLERS:
        way_out = suggest(name, {*presets.names("sampler"), *SAMPLERS})
        raise place.key("name").error("no such sampler or preset", way_out, name)
    return section("sampler", name if named else None, place.key("overrides"), presets)


def _build(part: Section, default: str) -> Sampler:
    filled, model = pick(part, SAMPLERS, default)
    return validate(filled, model, group=str(filled.values["kind"]))


def sampler_on(draft: SamplerDraft, target: TargetSpec, target_place: Place) -> Sampler:
    """Return the sampler with the batch size that `on_examples` gives it on `target`.

    The n of a custom target is not known yet, so its runs keep the default; see `as_sampled`.

    Raises:
        ConfigError: if a batch size that was set explicitly exceeds n.
    """
    if isinstance(target.model, Custom):
        return draft.spec
    n = None if target.data.kind == "none" else target.data.n_data
    size, written = getattr(draft.spec, "batch_size", None), "batch_size" in draft.part.values
    if n is not None and written and isinstance(size, int) and size > n:
        raise draft.part.error(
            "batch_size",
            f"{target_place.path} has n_data = {n}",
            "choose batch_size <= n_data, or null for the full batch",
        )
    return on_examples(draft.spec, n, written=written)
