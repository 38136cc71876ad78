"""The arguments of `estimate_llc`, checked by the same rules as an experiment file."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import numpy as np

from lambda_hat_core.config.errors import Place, Problems, suggest
from lambda_hat_core.config.lengths import stopping
from lambda_hat_core.config.observables import read_observables
from lambda_hat_core.config.posterior import SELF_LABELLED, PosteriorSpec
from lambda_hat_core.config.restrict import EACH
from lambda_hat_core.config.samplers.base import LENGTHS, Dtype, Until
from lambda_hat_core.config.samplers.choice import AUTO
from lambda_hat_core.config.samplers.known import SAMPLERS, SamplerSpec
from lambda_hat_core.config.sections import inline, validate

CALL = Place("estimate_llc")
_LARGEST_SEED = 2**31 - 1

REL_SE = Until().rel_se
"""The precision of a call that asks for none."""


class Asked(NamedTuple):
    """The settings of a run, without its target."""

    sampler: SamplerSpec
    posterior: PosteriorSpec
    dtype: Dtype
    seed: int
    max_seconds: float | None
    observables: tuple[str, ...] | None = None


def asked(
    sampler: Any,
    posterior: Any,
    dtype: Any,
    seed: Any,
    *,
    rel_se: Any = REL_SE,
    max_seconds: Any = None,
    max_fge: Any = None,
    place: Place = CALL,
    restrict: Any = None,
    observables: Any = None,
) -> Asked:
    """Return the arguments as validated models.

    Args:
        sampler: the name of a sampler, or its model.
        posterior: a `PosteriorSpec`, a mapping of its fields, or None.
        dtype: float32, float64, or None for the sampler's default.
        seed: seed of all random numbers.
        rel_se: precision; the default counts as not chosen.
        max_seconds: budget of wall seconds, or None.
        max_fge: budget of gradients, or None for the default.
        place: the call, for errors.
        restrict: the parameters that are sampled, or None for all.
        observables: names of what is recorded with every draw, or None.

    Raises:
        ConfigError: one line for every mistake.
    """
    problems = Problems()
    found: dict[str, Any] = {}
    chosen = {} if np.array_equal(rel_se, REL_SE) else {"rel_se": rel_se}
    chosen |= {} if max_fge is None else {"max_fge": max_fge}
    with problems:
        found["max_seconds"] = _seconds(max_seconds, place)
    with problems:
        found["sampler"] = _stopped(_sampler(sampler, place), chosen, max_seconds, place)
    with problems:
        found["posterior"] = _posterior(posterior, restrict, place)
    with problems:
        found["dtype"] = _dtype(dtype, place)
    with problems:
        found["seed"] = _seed(seed, place)
    with problems:
        way_out = "write ['val', 'per_example[0:20]']"
        found["observables"] = read_observables(observables, place.key("observables"), way_out)
    problems.raise_any()
    found["dtype"] = found["dtype"] or found["sampler"].default_dtype
    return Asked(**found)


def _sampler(sampler: Any, call: Place) -> SamplerSpec:
    place = call.key("sampler")
    if isinstance(sampler, tuple(SAMPLERS.values())):
        return cast(SamplerSpec, sampler)
    if isinstance(sampler, str):
        if sampler not in SAMPLERS:
            raise place.error("no such sampler", suggest(sampler, {AUTO, *SAMPLERS}), sampler)
        return cast(SamplerSpec, SAMPLERS[sampler]())
    shown = sampler.__name__ if isinstance(sampler, type) else sampler
    rule = "must be a name, or a sampler such as Sgld(batch_size=64)"
    raise place.error(rule, f"known: {', '.join((AUTO, *SAMPLERS))}", shown)


def _stopped(
    sampler: SamplerSpec, chosen: Mapping[str, Any], max_seconds: Any, call: Place
) -> SamplerSpec:
    """Return the sampler with the stop rule of the call, if it has neither lengths nor a rule."""
    plain = {
        key: value.item() if isinstance(value, np.number) else value
        for key, value in chosen.items()
    }
    rule = validate(inline("until", plain, call), Until)
    name, written = type(sampler).__name__, sampler.model_fields_set
    own = [key for key in (*LENGTHS, "until") if key in written]
    for key, value in plain.items():
        if own:
            rule_words = f"{name} has {own[0]} of its own, which decides when the run ends"
            raise call.key(key).error(rule_words, f"remove {key}, or {own[0]} of {name}", value)
    found = stopping(sampler, written, rule)
    if max_seconds is not None and found.until is None:
        words = f"{name} has a fixed length here, at which the run ends"
        way_out = f"remove max_seconds, or {own[0]} of {name}"
        raise call.key("max_seconds").error(words, way_out, max_seconds)
    return found


def _seconds(seconds: Any, call: Place) -> float | None:
    if seconds is None:
        return None
    number = isinstance(seconds, int | float | np.number) and not isinstance(seconds, bool)
    if not number or not 0 < seconds < math.inf:
        way_out = "write 60 for a minute, or leave it out"
        raise call.key("max_seconds").error("must be a finite number > 0", way_out, seconds)
    return float(seconds)


def _posterior(posterior: Any, restrict: Any, call: Place) -> PosteriorSpec:
    place = call.key("posterior")
    if isinstance(posterior, PosteriorSpec):
        posterior = posterior.model_dump(exclude_unset=True)
    if not isinstance(posterior, Mapping | None):
        raise place.error("must be a Posterior or a mapping", "write {'gamma': 10.0}", posterior)
    part = inline("posterior", posterior or {}, place)
    if part.values.get("sigma") is not None and part.values.get("loss") != SELF_LABELLED:
        raise part.error("sigma", "a loss that you pass has its own noise scale", "remove it")
    if restrict is not None:
        if part.values.get("restrict") is not None:
            way_out = "remove it from posterior"
            raise call.key("restrict").error("posterior has one too", way_out, restrict)
        part = part._replace(
            values={**part.values, "restrict": restrict},
            places={**part.places, "restrict": call.key("restrict")},
        )
    spec = validate(part, PosteriorSpec)
    if spec.restrict is not None and spec.restrict[0] in EACH:
        part_of = EACH[spec.restrict[0]]
        way_out = f"write a list of patterns, and make one call per {part_of}"
        raise part.error("restrict", f"a call makes one run, and knows no {part_of}s", way_out)
    if spec.loss == SELF_LABELLED:
        return spec
    if spec.loss not in (None, "own"):
        raise part.error("loss", "the loss is the one that you pass", "remove it")
    return spec.model_copy(update={"loss": "own"})


def check_labels(outputs: Any, posterior: PosteriorSpec, place: Place) -> None:
    """Check that outputs are given where they are the labels, and only there.

    Raises:
        ConfigError: if they have no effect, or are missing.
    """
    labels = posterior.loss == SELF_LABELLED
    if outputs is not None and not labels:
        rule = "only the self-labelled loss reads it"
        way_out = 'write posterior={"loss": "self_labelled"}, or remove it'
        raise place.key("outputs").error(rule, way_out, getattr(outputs, "__name__", outputs))
    if labels and outputs is None:
        rule = "the labels are the model's own outputs, and this call has none"
        way_out = "pass outputs=f, with f(params, batch) one row for every row of the batch"
        raise place.key("posterior").key("loss").error(rule, way_out, SELF_LABELLED)


def _dtype(dtype: Any, call: Place) -> Dtype | None:
    if dtype is None:
        return None
    try:
        name = np.dtype(dtype).name
    except TypeError:
        name = dtype
    if name not in ("float32", "float64"):
        way_out = "or leave it out: the exact samplers take float64, the others float32"
        raise call.key("dtype").error("must be float32 or float64", way_out, name)
    return name


def _seed(seed: Any, call: Place) -> int:
    whole = isinstance(seed, int | np.integer) and not isinstance(seed, bool)
    if not whole or not 0 <= seed <= _LARGEST_SEED:
        raise call.key("seed").error("must be a whole number >= 0 and < 2^31", "write 0", seed)
    return int(seed)
