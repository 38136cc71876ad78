"""Whether the draws of a fitted family tell how wrong it is, from their importance weights p/q."""

from lambda_hat_core.analysis.measure import Estimate
from lambda_hat_core.vi.psis import khat_se

FAMILY_SHARE = 0.05
"""Largest bias of a family relative to the estimate, according to its own importance weights.

The noise of the weights is not subtracted: if they are too noisy, they do not show a small bias.
"""

KHAT_MAX = 0.7
"""Above it importance ratios have no usable mean (Vehtari et al. 2024, arXiv:1507.02646)."""

_SES = 2.0
"""Standard errors of the bias of a family that the largest bias must exceed to be seen."""


def misfits(estimate: Estimate) -> bool:
    """Return whether k-hat is above its limit by more than noise.

    One standard error is enough, as the largest of four restarts exceeds their mean by another.
    """
    khat = estimate.khat
    return khat is not None and khat - khat_se(khat, estimate.n_draws) > KHAT_MAX


def knows_family(estimate: Estimate) -> bool:
    """Return whether more draws would tell nothing new about the bias of a family.

    Either its standard error is so small that a bias at the limit would be seen, or k-hat is
    clearly above its limit, so that the weights have no mean to be found.
    """
    se, llc = estimate.family_bias_se, estimate.llc
    if se is None or llc is None or misfits(estimate):
        return True
    return _SES * se <= FAMILY_SHARE * abs(llc)
