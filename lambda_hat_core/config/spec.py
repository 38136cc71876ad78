"""The specifications of targets and runs, which are hashed into ids."""

from abc import abstractmethod
from typing import Annotated

from pydantic import BeforeValidator, Field, NonNegativeInt, model_validator

from lambda_hat_core.config.base import NUMERICS_VERSION, Frozen, content_hash, is_absent
from lambda_hat_core.config.compatible import check_data, check_teacher, check_training
from lambda_hat_core.config.data import DataSpec, Teacher
from lambda_hat_core.config.model import Custom, ModelSpec
from lambda_hat_core.config.observables import parsed, written
from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.config.samplers.base import Dtype
from lambda_hat_core.config.samplers.known import SamplerSpec
from lambda_hat_core.config.training import Training


class Origin(Frozen):
    """What a target is made of. The parts go together, by the rules of `config.compatible`."""

    model: ModelSpec
    data: DataSpec
    teacher: Teacher | None = None
    training: Training = Training()
    seed: int = Field(default=0, ge=0, lt=2**31)
    numerics_version: int = NUMERICS_VERSION

    @property
    @abstractmethod
    def id(self) -> str:
        """The id, a prefix and a hash."""
        ...

    @model_validator(mode="after")
    def _parts_go_together(self):
        check_data(self.model, self.data)
        check_teacher(self.model, self.data, self.teacher)
        check_training(self.model, self.data, self.teacher, self.training)
        return self


class TrajectorySpec(Origin):
    """One training, or one folder of checkpoints, whichever of its steps are looked at."""

    @property
    def id(self) -> str:
        """`trj_<12 hex>`."""
        return f"trj_{content_hash(self)}"


class Trajectory(Frozen):
    """A training and the steps at which its weights are wanted.

    The steps are not part of the id: all experiments that look at a training share it.
    """

    spec: TrajectorySpec
    steps: tuple[NonNegativeInt, ...] = Field(min_length=1)

    @property
    def id(self) -> str:
        """The id of the training, `trj_<12 hex>`."""
        return self.spec.id


class TargetSpec(Origin):
    """Everything that decides w*, the data and the loss surface.

    Attributes:
        step: the step of the training at which w* is taken as it is; None: the minimum that the
            training and the polish lead to.
    """

    step: NonNegativeInt | None = Field(default=None, exclude_if=is_absent)

    @property
    def id(self) -> str:
        """`tgt_<12 hex>`."""
        return f"tgt_{content_hash(self)}"

    @property
    def trajectory(self) -> TrajectorySpec | None:
        """The training that this is a checkpoint of; None if it is none."""
        if self.step is None:
            return None
        parts = {name: getattr(self, name) for name in TrajectorySpec.model_fields}
        if isinstance(self.model, Custom):
            parts["model"] = self.model.model_copy(update={"checkpoint_sha256": None})
        return TrajectorySpec.model_construct(**parts)

    @property
    def trained_by(self) -> TrajectorySpec | None:
        """The training of ours that this is a checkpoint of; None also for one of a file."""
        ours = self.step is not None and getattr(self.model, "checkpoints", None) is None
        return self.trajectory if ours else None


class RunSpec(Frozen):
    """One sampler on one target.

    Attributes:
        hold: the checkpoint of the same training whose run measures step size, metric and lengths,
            which this run uses too; None: it measures its own.
        observables: what is recorded with every draw beside its loss; None: nothing.
    """

    target: str = Field(pattern=r"^tgt_[0-9a-f]{12}$")
    sampler: SamplerSpec
    posterior: PosteriorSpec
    seed: int = Field(default=0, ge=0, lt=2**31)
    dtype: Dtype
    numerics_version: int = NUMERICS_VERSION
    hold: str | None = Field(default=None, exclude_if=is_absent, pattern=r"^tgt_[0-9a-f]{12}$")
    observables: Annotated[tuple[str, ...] | None, BeforeValidator(written)] = Field(
        default=None, exclude_if=is_absent, min_length=1
    )

    @model_validator(mode="after")
    def _observables_are_observables(self):
        parsed(self.observables or ())
        return self

    @property
    def id(self) -> str:
        """`run_<sampler>_<12 hex>`."""
        return f"run_{self.sampler.kind}_{content_hash(self)}"
