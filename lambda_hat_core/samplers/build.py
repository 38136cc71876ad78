"""Build the kernel that the settings of a sampler name.

Samplers that rest on blackjax are imported where they are used: that takes as long as an estimate
of a small network.
"""

from collections.abc import Callable
from typing import Any, assert_never

from jaxtyping import Array, Float, PRNGKeyArray

from lambda_hat_core.config.samplers.exact import AdjustedMclmc, Hmc, Mala, Mclmc, Nuts
from lambda_hat_core.config.samplers.known import ChainSpec
from lambda_hat_core.config.samplers.stochastic import Sghmc, Sgld, Sgnht
from lambda_hat_core.config.samplers.tempered import Tempered
from lambda_hat_core.linalg.spectrum import Spectrum
from lambda_hat_core.posterior import Posterior
from lambda_hat_core.samplers import sghmc, sgld, sgnht
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
            from lambda_hat_core.samplers import nuts

            return nuts.build(key, posterior, spec, **found, log=log)
        case Hmc():
            from lambda_hat_core.samplers import hmc

            return hmc.build(key, posterior, spec, **found, log=log)
        case Mala():
            from lambda_hat_core.samplers import mala

            return mala.build(key, posterior, spec, **found, log=log)
        case Mclmc():
            from lambda_hat_core.samplers import mclmc

            return mclmc.build(key, posterior, spec, **found)
        case AdjustedMclmc():
            from lambda_hat_core.samplers import adjusted_mclmc

            return adjusted_mclmc.build(key, posterior, spec, **found, log=log)
        case Tempered():
            from lambda_hat_core.samplers import tempered

            return tempered.build(key, posterior, spec, **found, llc=llc, log=log)
        case Sgld():
            return sgld.build(key, posterior, spec, **noisy)
        case Sghmc():
            return sghmc.build(key, posterior, spec, **noisy)
        case Sgnht():
            return sgnht.build(key, posterior, spec, **noisy)
    assert_never(spec)
