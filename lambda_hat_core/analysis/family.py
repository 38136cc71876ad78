"""Whether the draws of a fitted family tell how wrong it is, from their importance weights p/q."""

import math

from lambda_hat_core.analysis.measure import Estimate

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

    Its standard error is about that of the maximum likelihood estimate from the tail, (1 + k) over
    the root of the tail's size (Smith 1987, doi:10.1214/aos/1176350499). One of them is enough, as
    the largest of four restarts exceeds their mean by another.
    """
    khat, n_draws = estimate.khat, estimate.n_draws
    if khat is None:
        return False
    tail = max(1, math.ceil(min(n_draws / 5, 3 * math.sqrt(n_draws))))
    return khat - (1 + khat) / math.sqrt(tail) > KHAT_MAX


def knows_family(estimate: Estimate) -> bool:
    """Return whether more draws would tell nothing new about the bias of a family.

    Either its standard error is so small that a bias at the limit would be seen, or k-hat is
    clearly above its limit, so that the weights have no mean to be found.
    """
    se, llc = estimate.family_bias_se, estimate.llc
    if se is None or llc is None or misfits(estimate):
        return True
    return _SES * se <= FAMILY_SHARE * abs(llc)
