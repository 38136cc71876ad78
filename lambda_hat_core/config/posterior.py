"""The constants of the localised tempered posterior."""

import math
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    model_validator,
)

from lambda_hat_core.config.base import Settings, is_absent
from lambda_hat_core.config.effect import When
from lambda_hat_core.config.errors import Misfit
from lambda_hat_core.config.restrict import EACH, parsed, written
from lambda_hat_core.config.training import SCALED, LossName

SELF_LABELLED = "self_labelled"
"""The loss whose labels are the model's own outputs at w*."""


def _patterns(value: Any) -> Any:
    """Return one pattern as a list, and patterns without spaces, in order and once each."""
    if isinstance(value, str):
        value = (value,)
    texts = isinstance(value, list | tuple) and all(isinstance(entry, str) for entry in value)
    return tuple(sorted({written(entry) for entry in value})) if texts else value


class Prior(Settings):
    """A Gaussian prior, -precision/2 |w|^2 in log p(w), beside the localiser."""

    mean: Literal["zero"] = Field(
        default="zero", description="its mean: 0. What pulls towards w* is the localiser"
    )
    precision: PositiveFloat = Field(
        description="1 / variance of every parameter that is sampled; a weight decay of c in "
        "L_n + c/2 |w|^2 is nbeta c"
    )


class PosteriorSpec(Settings):
    """log p(w) = -nbeta L_n(w) - gamma/2 |w - w*|^2 (Lau et al. 2023, arXiv:2308.12108)."""

    loss: LossName | Literal["own", "self_labelled"] | None = Field(
        default=None,
        description="the loss L; null: cross_entropy for class labels, own for potentials and "
        "custom targets, else mse. self_labelled: the labels are the model's own outputs at w*, "
        "so that every w* is an exact minimum: the divergence from its own probabilities for "
        "class labels, else mse, or gaussian if sigma is set",
    )
    beta_mode: Annotated[Literal["1_over_log_n", "fixed"], When(nbeta=None)] = Field(
        default="1_over_log_n", description="beta = beta0 / log n (Watanabe 2013), or beta = beta0"
    )
    beta0: Annotated[PositiveFloat, When(nbeta=None)] = Field(
        default=1.0, description="factor of beta, see beta_mode"
    )
    nbeta: NonNegativeFloat | None = Field(
        default=None,
        description="the product n beta itself; overrides beta_mode and beta0. 0 samples the "
        "localiser alone, a negative control of observables",
    )
    gamma: Annotated[NonNegativeFloat, When(prior_radius=None)] = Field(
        default=1.0, description="strength of the localiser"
    )
    prior_radius: PositiveFloat | None = Field(
        default=None, description="r > 0 sets gamma = d / r^2 and overrides gamma"
    )
    sigma: PositiveFloat | None = Field(
        default=None,
        description="noise scale of the losses gaussian and student_t; null: data.noise_scale. "
        "With self_labelled it chooses gaussian",
    )

    restrict: Annotated[tuple[str, ...] | None, BeforeValidator(_patterns)] = Field(
        default=None,
        exclude_if=is_absent,
        min_length=1,
        description="the parameters that are sampled, globs over their dotted names with slices, "
        "such as `[layers.0.*, 'head.weight[0:16]']`; the others keep their values at w*. null: "
        "all. each_layer: one run per layer of a network that knows its layers; each_head: one run "
        "per attention head of a transformer",
    )

    prior: Prior | None = Field(
        default=None,
        exclude_if=is_absent,
        description="a Gaussian prior about 0 beside the localiser, such as `{mean: zero, "
        "precision: 0.1}`; null: none",
    )

    @model_validator(mode="after")
    def _patterns_are_patterns(self):
        for text in self.restrict or ():
            parsed(text)
        for word, part in EACH.items():
            if word in (self.restrict or ()) and self.restrict != (word,):
                rule = f"{word} stands for all {part}s"
                raise Misfit("restrict", list(self.restrict or ()), rule, "write nothing beside it")
        return self

    @model_validator(mode="after")
    def _has_a_density(self):
        if self.nbeta == 0 and self.gamma == 0 and self.prior is None:
            rule = "without the loss and the localiser there is no density"
            raise Misfit("nbeta", self.nbeta, rule, "choose gamma > 0")
        return self

    @model_validator(mode="after")
    def _sigma_has_a_loss(self):
        if self.sigma is not None and self.loss not in (*SCALED, SELF_LABELLED):
            raise Misfit(
                "sigma",
                self.sigma,
                f"only the losses {', '.join(SCALED)} and {SELF_LABELLED} have a noise scale",
                "write loss: gaussian, or remove sigma",
            )
        return self

    def resolved_nbeta(self, n: int) -> float:
        """Return n beta for n examples. In log n, an n below 3 is replaced by 3."""
        if self.nbeta is not None:
            return self.nbeta
        beta = self.beta0 / math.log(max(3, n)) if self.beta_mode == "1_over_log_n" else self.beta0
        return n * beta

    def resolved_gamma(self, d: int) -> float:
        """Return gamma for d parameters."""
        return self.gamma if self.prior_radius is None else d / self.prior_radius**2
