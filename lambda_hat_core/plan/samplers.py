"""Reads an entry of `samplers` and applies it to a target."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from lambda_hat_core.config.batches import on_examples
from lambda_hat_core.config.errors import Place, Problems, display, suggest
from lambda_hat_core.config.experiment import SamplerEntry
from lambda_hat_core.config.model import Custom
from lambda_hat_core.config.samplers.base import Dtype, Sampler
from lambda_hat_core.config.samplers.known import SAMPLERS
from lambda_hat_core.config.sections import Section, inline, validate
from lambda_hat_core.config.spec import TargetSpec
from lambda_hat_core.plan.merge import overridden, pick, section
from lambda_hat_core.plan.posteriors import Variant, sampler_variants
from lambda_hat_core.plan.read import Presets, is_path, read_mapping


class SamplerDraft(NamedTuple):
    """A sampler as written, with its posteriors and the seed and dtype of its runs."""

    spec: Sampler
    part: Section
    variants: list[Variant]
    seed: int
    dtype: Dtype


def read_sampler(
    raw: Mapping[str, Any], place: Place, presets: Presets, experiment: Section
) -> SamplerDraft:
    """Return the sampler that an entry describes; `experiment` is the experiment's posterior.

    Raises:
        ConfigError: naming every mistake of the entry.
    """
    entry = validate(inline("sampler entry", raw, place), SamplerEntry)
    at = place.key("overrides")
    problems = Problems()
    built: list[tuple[Sampler, Section]] = []
    variants: list[Variant] = []
    with problems:
        base = _base(entry.name, place, presets)
        changes = inline("sampler", entry.overrides or {}, at)
        build = partial(_build, default=entry.name)
        built.append(overridden(base, changes, build, kind=entry.name))
    with problems:
        variants = sampler_variants(experiment, entry.posterior, place.key("posterior"))
    problems.raise_any()
    spec, part = built[0]
    return SamplerDraft(spec, part, variants, entry.seed, entry.dtype or spec.default_dtype)


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
