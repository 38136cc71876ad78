"""The structure of an experiment file: which keys it has, and what they mean."""

from typing import Any

from pydantic import Field, NonNegativeFloat, PositiveFloat

from lambda_hat_core.config.base import Frozen
from lambda_hat_core.config.samplers.base import Dtype


class TargetEntry(Frozen):
    """One entry of `targets`. Each section is the name of a preset or a mapping."""

    model: str | dict[str, Any] = Field(
        description="a preset, or a mapping, whose `kind` defaults to mlp"
    )
    data: str | dict[str, Any] | None = Field(
        default=None,
        description="a preset, or a mapping, whose `kind` defaults to synthetic (to none if the "
        "model is a potential or custom)",
    )
    teacher: str | dict[str, Any] | None = Field(
        default=None,
        description="a preset, or a mapping; null and _null: the student's architecture",
    )
    training: str | dict[str, Any] | None = Field(
        default=None, description="a preset, or a mapping; null: the preset `default`"
    )
    seed: int = Field(
        default=0, ge=0, lt=2**31, description="seed of the data, the teacher and the training"
    )
    overrides: dict[str, Any] | None = Field(
        default=None,
        description="changes to the sections above, nested or with dotted keys, such as "
        "{training: {steps: 2000}, data.noise_scale: 0.05}",
    )
    checkpoints: dict[str, Any] | None = Field(
        default=None,
        description="steps of the training at which the weights are targets of their own, as they "
        "are: {count: 40, spacing: log}, {every: 250} or {at: [0, 100, 1000]}",
    )


class SamplerEntry(Frozen):
    """One entry of `samplers`, applied to every target."""

    name: str = Field(description="the name of a sampler, or of a preset under config/sampler")
    overrides: dict[str, Any] | None = Field(
        default=None, description="settings of the sampler, by key"
    )
    seed: int = Field(default=0, ge=0, lt=2**31, description="seed of the chains")
    dtype: Dtype | None = Field(
        default=None,
        description="null: float32 for sgld, sghmc, sgnht and vi, float64 for the others",
    )
    posterior: dict[str, Any] | None = Field(
        default=None, description="changes to the experiment's posterior for this sampler"
    )
    until: dict[str, Any] | None = Field(
        default=None,
        description="changes to the experiment's stop rule for this sampler; written as null: no "
        "rule, but the sampler's default lengths",
    )
    hold: dict[str, Any] | None = Field(
        default=None,
        description="{from: last} or {from: 1000}: step size, batch size, metric and lengths are "
        "measured at that checkpoint of a training and held at all others; left out: the "
        "experiment's; written as null: every checkpoint has its own",
    )


class Profiles(Frozen):
    """A grid of settings: every sampler runs at every combination of the values.

    Each cell is an ordinary run. The gallery draws the LLC and V_M of all cells as heat maps.
    """

    step_size: tuple[PositiveFloat, ...] | None = Field(
        default=None,
        description="step sizes of the samplers that have one; the others, such as nuts, make one "
        "run for each nbeta and gamma, to be compared with",
    )
    nbeta: tuple[NonNegativeFloat, ...] | None = Field(
        default=None, description="values of posterior.nbeta"
    )
    gamma: tuple[NonNegativeFloat, ...] | None = Field(
        default=None, description="values of posterior.gamma"
    )


class ExperimentFile(Frozen):
    """An experiment runs every sampler on every target."""

    experiment: str | None = Field(
        default=None,
        max_length=100,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="name of the experiment, made of letters, digits, '.', '_' and '-'; null: the "
        "name of the file",
    )
    targets: list[dict[str, Any]] = Field(
        min_length=1, description="the networks and potentials to be measured"
    )
    samplers: list[dict[str, Any]] = Field(
        min_length=1, description="the samplers that measure them"
    )
    posterior: dict[str, Any] | None = Field(
        default=None,
        description="settings of the posterior; a list under gamma or nbeta defines one run per "
        "value",
    )
    profiles: dict[str, Any] | None = Field(
        default=None,
        description="a grid, such as {step_size: [1e-5, 1e-4], nbeta: [30, 100], gamma: [1, 10]}: "
        "one run per combination, drawn as heat maps",
    )
    until: dict[str, Any] | None = Field(
        default=None,
        description="stop rule of every sampler without lengths or a rule of its own; left out: "
        "the default rule; written as null: no rule, but the samplers' default lengths",
    )
    hold: dict[str, Any] | None = Field(
        default=None,
        description="the `hold` of every sampler that has a step size and writes none itself",
    )
    observables: list[str] | str | None = Field(
        default=None,
        description="what is recorded with every draw beside its loss: names of data sets (their "
        "mean losses) and of functions, and losses of single rows, such as "
        "[val, 'per_example[0:20]', val.per_example]",
    )
