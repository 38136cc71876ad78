"""Build the kernel that the settings of a sampler name."""

from collections.abc import Callable
from typing import Any, assert_never

from jaxtyping import Array, Float, PRNGKeyArray

from lambda_hat_core.config.samplers.exact import AdjustedMclmc, Hmc, Mala, Mclmc, Nuts
from lambda_hat_core.config.samplers.known import ChainSpec
from lambda_hat_core.config.samplers.stochastic import Sghmc, Sgld, Sgnht
from lambda_hat_core.config.samplers.tempered import Tempered
from lambda_hat_core.linalg.spectrum import Spectrum
from lambda_hat_core.posterior import Posterior
from lambda_hat_core.samplers import (
    adjusted_mclmc,
    hmc,
    mala,
    mclmc,
    nuts,
    sghmc,
    sgld,
    sgnht,
    tempered,
)
from lambda_hat_core.samplers.kernel import Tuned
from lambda_hat_core.samplers.subset import Subset
from lambda_hat_core.samplers.telling import silent


def build(
    key: PRNGKeyArray,
    posterior: Posterior,
    spec: ChainSpec,
    *,
    few: Subset,
    start: Float[Array, "chain d"],
    spectrum: Spectrum,
    llc: float | None = None,
    log: Callable[[str], None] = silent,
) -> Tuned:
    """Build the kernel that `spec` names.

    Curvature is measured on the examples of `few`, and biases are relative to `llc`, a rough
    estimate.
    """
    found: Any = {"start": start, "spectrum": spectrum}
    noisy = found | {"few": few, "llc": llc}
    match spec:
        case Nuts():
            return nuts.build(key, posterior, spec, **found, log=log)
        case Hmc():
            return hmc.build(key, posterior, spec, **found, log=log)
        case Mala():
            return mala.build(key, posterior, spec, **found, log=log)
        case Mclmc():
            return mclmc.build(key, posterior, spec, **found)
        case AdjustedMclmc():
            return adjusted_mclmc.build(key, posterior, spec, **found, log=log)
        case Tempered():
            return tempered.build(key, posterior, spec, **found, llc=llc, log=log)
        case Sgld():
            return sgld.build(key, posterior, spec, **noisy)
        case Sghmc():
            return sghmc.build(key, posterior, spec, **noisy)
        case Sgnht():
            return sgnht.build(key, posterior, spec, **noisy)
    assert_never(spec)
