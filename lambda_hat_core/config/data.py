"""Data sets, and the teacher network that labels synthetic examples."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from lambda_hat_core.config.base import Frozen
from lambda_hat_core.config.effect import When
from lambda_hat_core.config.errors import Misfit
from lambda_hat_core.config.mlp import Activation, Mlp
from lambda_hat_core.config.tasks import IclRegression, Induction, Modular, SparseFeatures


class Synthetic(Frozen):
    """Inputs drawn from `x_dist`, with labels from a teacher plus noise from `noise_model`."""

    kind: Literal["synthetic"] = "synthetic"
    n_data: PositiveInt = Field(default=1000, description="n, the number of training examples")
    n_test: PositiveInt = Field(
        default=1000, description="number of held-out examples, used in figures only"
    )
    x_dist: Literal["gauss_iso", "gauss_aniso", "mixture", "lowdim_manifold", "heavy_tail"] = Field(
        default="gauss_iso", description="distribution of the inputs"
    )
    cov_decay: Annotated[float, When(x_dist="gauss_aniso")] = Field(
        default=0.95, gt=0, le=1, description="gauss_aniso: variance of input i is cov_decay^i"
    )
    mixture_k: Annotated[PositiveInt, When(x_dist="mixture")] = Field(
        default=4, description="mixture: number of centres"
    )
    mixture_spread: Annotated[PositiveFloat, When(x_dist="mixture")] = Field(
        default=2.0, description="mixture: radius of the centres"
    )
    x_dim_latent: Annotated[PositiveInt, When(x_dist="lowdim_manifold")] = Field(
        default=2, description="lowdim_manifold: latent dimension"
    )
    noise_model: Literal["gauss", "hetero", "student_t", "outliers"] = Field(
        default="gauss", description="distribution of the label noise"
    )
    noise_scale: NonNegativeFloat = Field(
        default=0.1, description="standard deviation of the label noise"
    )
    hetero_scale: Annotated[NonNegativeFloat, When(noise_model="hetero")] = Field(
        default=0.1,
        description="hetero: the s of the standard deviation noise_scale (1 + s |x|)",
    )
    student_df: PositiveFloat = Field(
        default=4.0, description="student_t: degrees of freedom of the noise and of the loss"
    )
    heavy_tail_df: Annotated[PositiveFloat, When(x_dist="heavy_tail")] = Field(
        default=4.0, description="heavy_tail: degrees of freedom of the inputs"
    )
    outlier_frac: Annotated[float, When(noise_model="outliers")] = Field(
        default=0.05, ge=0, le=1, description="outliers: fraction of labels that are outliers"
    )
    outlier_scale: Annotated[NonNegativeFloat, When(noise_model="outliers")] = Field(
        default=2.0, description="outliers: standard deviation of their noise"
    )


class Digits(Frozen):
    """The 8 x 8 digits of scikit-learn: 1797 images, 64 pixels scaled to [0, 1], 10 classes."""

    kind: Literal["digits"] = "digits"
    n_data: PositiveInt = Field(
        default=1500, le=1697, description="number of training images; the others are the test set"
    )


class Diabetes(Frozen):
    """The diabetes data of scikit-learn: 442 patients, 10 inputs, all variables standardised."""

    kind: Literal["diabetes"] = "diabetes"
    n_data: PositiveInt = Field(
        default=400, le=432, description="number of training rows; the others are the test set"
    )


class NoData(Frozen):
    """No examples, for potentials: only the n that determines nbeta."""

    kind: Literal["none"] = "none"
    n_data: PositiveInt = Field(default=1000, description="the n in the posterior's n beta")


DIMS = {"synthetic": (4, 1), "digits": (64, 10), "diabetes": (10, 1)}
"""Inputs and outputs; real data fix them, for synthetic data they are the defaults."""

DataSpec = Annotated[
    Synthetic | Digits | Diabetes | Modular | SparseFeatures | Induction | IclRegression | NoData,
    Field(discriminator="kind"),
]


class Teacher(Frozen):
    """The network that labels synthetic inputs, with weights independent of the student's.

    At most one of `widths`, `target_params`, `hidden` may determine its size. A null field is taken
    from the student, and so are biases, layer norms and skip connections. Dropout is a mask on the
    teacher's outputs, drawn once when the data are made.
    """

    depth: PositiveInt | None = Field(default=None, le=1000, description="number of hidden layers")
    widths: tuple[PositiveInt, ...] | None = Field(
        default=None, min_length=1, description="hidden widths"
    )
    target_params: PositiveInt | None = Field(
        default=None,
        description="desired number of parameters; determines the constant hidden width",
    )
    hidden: PositiveInt | None = Field(default=None, description="constant hidden width")
    activation: Activation | None = Field(default=None, description="activation function")
    dropout_rate: float = Field(
        default=0.0, ge=0, lt=1, description="fraction of the outputs that the mask sets to 0"
    )

    @model_validator(mode="after")
    def _one_size(self):
        sizes = ("widths", "target_params", "hidden")
        given = [name for name in sizes if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(
                f"{' and '.join(given)} are given, but only one of {', '.join(sizes)} can size "
                "the network: set the others to null"
            )
        if self.widths is not None and self.depth not in (None, len(self.widths)):
            raise ValueError(
                f"depth is {self.depth}, but widths has {len(self.widths)} entries: remove depth"
            )
        return self

    def network(self, student: Mlp) -> Mlp:
        """Return the network that labels the inputs of `student`.

        Raises:
            Misfit: if only a depth is given and the student has no one width to take.
        """
        student = student.completed(*DIMS["synthetic"])
        own, widths = student.widths or (), self.widths
        depth = self.depth or len(own)
        if widths is None and (self.target_params or self.hidden):
            sizes = {"depth": depth, "target_params": self.target_params, "hidden": self.hidden}
            sized = student.model_copy(update={"widths": None} | sizes)
            widths = sized.completed(*DIMS["synthetic"]).widths
        elif widths is None and depth == len(own):
            widths = own
        elif widths is None and len(set(own)) == 1:
            widths = own[:1] * depth
        if widths is None:
            raise Misfit(
                "teacher.depth",
                depth,
                f"the student's widths {list(own)} differ, so none can be taken",
                "give widths",
            )
        return student.resized(widths, activation=self.activation or student.activation)
