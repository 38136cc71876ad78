"""The shape of an experiment file: what may be written where."""

from typing import Any

from pydantic import Field

from lambda_hat_core.config.base import Frozen
from lambda_hat_core.config.samplers.base import Dtype


class TargetEntry(Frozen):
    """One entry of `targets`. A name is a preset; a mapping is the section itself."""

    model: str | dict[str, Any] = Field(description="preset, or a mapping; `kind` defaults to mlp")
    data: str | dict[str, Any] | None = Field(
        default=None,
        description="preset, or a mapping; `kind` defaults to synthetic, and to none where the "
        "model is a potential or custom",
    )
    teacher: str | dict[str, Any] | None = Field(
        default=None, description="preset, or a mapping; null and _null: the student's architecture"
    )
    training: str | dict[str, Any] | None = Field(
        default=None, description="preset, or a mapping; null: the preset `default`"
    )
    seed: int = Field(
        default=0, ge=0, lt=2**31, description="of the data, the teacher and the training"
    )
    overrides: dict[str, Any] | None = Field(
        default=None,
        description="changes to the sections above, nested or with dotted keys, such as "
        "{training: {steps: 2000}, data.noise_scale: 0.05}",
    )


class SamplerEntry(Frozen):
    """One entry of `samplers`, applied to every target."""

    name: str = Field(description="a sampler, or a preset under config/sampler")
    overrides: dict[str, Any] | None = Field(default=None, description="the sampler's own keys")
    seed: int = Field(default=0, ge=0, lt=2**31, description="of the chains")
    dtype: Dtype | None = Field(
        default=None,
        description="null: float32 for sgld, sghmc, sgnht and vi, float64 for the others",
    )
    posterior: dict[str, Any] | None = Field(
        default=None, description="overrides the experiment's posterior for this sampler"
    )


class ExperimentFile(Frozen):
    """An experiment: every target with every sampler."""

    experiment: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="its name, of letters, digits, '.', '_' and '-'; null: the file's",
    )
    targets: list[dict[str, Any]] = Field(min_length=1, description="what is measured")
    samplers: list[dict[str, Any]] = Field(min_length=1, description="how it is measured")
    posterior: dict[str, Any] | None = Field(
        default=None, description="a list under gamma or nbeta makes one run a value"
    )
