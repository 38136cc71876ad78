"""What is hashed into ids: a target and a run."""

from typing import Literal

from pydantic import Field

from lambda_hat_core.config.base import NUMERICS_VERSION, Frozen, content_hash
from lambda_hat_core.config.data import DataSpec, Teacher
from lambda_hat_core.config.model import ModelSpec
from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.config.samplers.base import Dtype
from lambda_hat_core.config.samplers.known import SamplerSpec
from lambda_hat_core.config.training import Training

DataKind = Literal["synthetic", "digits", "diabetes", "none"]


class TargetSpec(Frozen):
    """Everything that decides w*, the data and the loss surface."""

    model: ModelSpec
    data: DataSpec
    teacher: Teacher | None = None
    training: Training = Training()
    seed: int = Field(default=0, ge=0, lt=2**31)
    numerics_version: int = NUMERICS_VERSION

    @property
    def id(self) -> str:
        """`tgt_<12 hex>`."""
        return f"tgt_{content_hash(self)}"


class RunSpec(Frozen):
    """One sampler on one target."""

    target: str = Field(pattern=r"^tgt_[0-9a-f]{12}$")
    sampler: SamplerSpec
    posterior: PosteriorSpec
    seed: int = Field(default=0, ge=0, lt=2**31)
    dtype: Dtype
    numerics_version: int = NUMERICS_VERSION

    @property
    def id(self) -> str:
        """`run_<sampler>_<12 hex>`."""
        return f"run_{self.sampler.kind}_{content_hash(self)}"
