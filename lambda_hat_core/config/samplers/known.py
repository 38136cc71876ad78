"""Every sampler by the name that experiments use."""

from typing import Annotated, get_args

from pydantic import Field

from lambda_hat_core.config.samplers.base import Sampler
from lambda_hat_core.config.samplers.exact import AdjustedMclmc, Hmc, Mala, Mclmc, Nuts
from lambda_hat_core.config.samplers.stochastic import Sghmc, Sgld, Sgnht
from lambda_hat_core.config.samplers.tempered import Tempered
from lambda_hat_core.config.samplers.vi import Vi

ChainSpec = Nuts | Hmc | Mala | Mclmc | AdjustedMclmc | Tempered | Sgld | Sghmc | Sgnht
SamplerSpec = Annotated[ChainSpec | Vi, Field(discriminator="kind")]

SAMPLERS: dict[str, type[Sampler]] = {
    model.model_fields["kind"].default: model for model in (*get_args(ChainSpec), Vi)
}
