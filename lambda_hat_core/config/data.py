"""Where examples come from, and the teacher that labels synthetic ones."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from lambda_hat_core.config.base import Frozen
from lambda_hat_core.config.errors import Misfit
from lambda_hat_core.config.model import Activation, Mlp


class Synthetic(Frozen):
    """Inputs from `x_dist`, labels from a teacher plus noise of `noise_model`."""

    kind: Literal["synthetic"] = "synthetic"
    n_data: PositiveInt = Field(default=1000, description="n, training examples")
    n_test: PositiveInt = Field(default=1000, description="held-out examples, for figures only")
    x_dist: Literal["gauss_iso", "gauss_aniso", "mixture", "lowdim_manifold", "heavy_tail"] = (
        "gauss_iso"
    )
    cov_decay: float = Field(
        default=0.95, gt=0, le=1, description="gauss_aniso: var_i = cov_decay^i"
    )
    mixture_k: PositiveInt = Field(default=4, description="mixture: number of centres")
    mixture_spread: PositiveFloat = Field(default=2.0, description="mixture: radius of the centres")
    x_dim_latent: PositiveInt = Field(default=2, description="lowdim_manifold: latent dimension")
    noise_model: Literal["gauss", "hetero", "student_t", "outliers"] = "gauss"
    noise_scale: NonNegativeFloat = Field(default=0.1, description="sd of the label noise")
    hetero_scale: NonNegativeFloat = Field(
        default=0.1, description="hetero: sd = noise_scale (1 + s |x|)"
    )
    student_df: PositiveFloat = Field(default=4.0, description="degrees of freedom, noise and loss")
    heavy_tail_df: PositiveFloat = Field(
        default=4.0, description="heavy_tail: degrees of freedom of x"
    )
    outlier_frac: float = Field(default=0.05, ge=0, le=1)
    outlier_scale: NonNegativeFloat = 2.0


class Digits(Frozen):
    """scikit-learn's 8 x 8 digits: 1797 images, 64 pixels scaled to [0, 1], 10 classes."""

    kind: Literal["digits"] = "digits"
    n_data: PositiveInt = Field(
        default=1500, le=1697, description="training images; the rest are the test"
    )


class Diabetes(Frozen):
    """scikit-learn's diabetes: 442 patients, 10 inputs; inputs and response standardised."""

    kind: Literal["diabetes"] = "diabetes"
    n_data: PositiveInt = Field(
        default=400, le=432, description="training rows; the rest are the test"
    )


class NoData(Frozen):
    """For potentials: no examples, only the n that sets nbeta."""

    kind: Literal["none"] = "none"
    n_data: PositiveInt = Field(default=1000, description="n of the posterior's n beta")


DIMS = {"synthetic": (4, 1), "digits": (64, 10), "diabetes": (10, 1)}
"""Inputs and outputs; real data fix them, for synthetic data they are the defaults."""

DataSpec = Annotated[Synthetic | Digits | Diabetes | NoData, Field(discriminator="kind")]


class Teacher(Frozen):
    """The network that labels synthetic inputs, with weights independent of the student's.

    At most one of `widths`, `target_params`, `hidden` sizes it. A field left null is the student's,
    and so are biases, layer norms and skip connections. Dropout is a mask on the teacher's outputs,
    drawn once when the data are made.
    """

    depth: PositiveInt | None = Field(default=None, le=1000)
    widths: tuple[PositiveInt, ...] | None = Field(default=None, min_length=1)
    target_params: PositiveInt | None = None
    hidden: PositiveInt | None = None
    activation: Activation | None = None
    dropout_rate: float = Field(default=0.0, ge=0, lt=1)

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
