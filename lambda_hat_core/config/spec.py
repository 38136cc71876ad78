"""The specifications of targets and runs, which are hashed into ids."""

from pydantic import Field, model_validator

from lambda_hat_core.config.base import NUMERICS_VERSION, Frozen, content_hash
from lambda_hat_core.config.compatible import check_data, check_teacher, check_training
from lambda_hat_core.config.data import DataSpec, Teacher
from lambda_hat_core.config.model import ModelSpec
from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.config.samplers.base import Dtype
from lambda_hat_core.config.samplers.known import SamplerSpec
from lambda_hat_core.config.training import Training


class TargetSpec(Frozen):
    """Everything that decides w*, the data and the loss surface.

    Its parts go together, by the rules of `config.compatible`.
    """

    model: ModelSpec
    data: DataSpec
    teacher: Teacher | None = None
    training: Training = Training()
    seed: int = Field(default=0, ge=0, lt=2**31)
    numerics_version: int = NUMERICS_VERSION

    @model_validator(mode="after")
    def _parts_go_together(self):
        check_data(self.model, self.data)
        check_teacher(self.model, self.data, self.teacher)
        check_training(self.model, self.data, self.teacher, self.training)
        return self

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
