"""The sampler for somebody who did not choose one.

`nuts` makes no error of its own, needs no setting and follows curvature that changes, but takes
some 10,000 full-data gradients per answer. `sghmc` takes 1,000 to 3,000, most of them on batches,
and measures the bias of its step size. So `nuts` is chosen if a full-data gradient is cheap, and
for a potential, which has no batches.
"""

from lambda_hat_core.config.samplers.exact import Nuts
from lambda_hat_core.config.samplers.stochastic import Sghmc

AUTO = "auto"
CHEAP = 100_000
"""Largest n d at which a full-data gradient counts as cheap: about 0.1 ms on one core."""


def chosen(n: int | None, d: int) -> Nuts | Sghmc:
    """Return the sampler that `auto` stands for, with its default settings.

    Args:
        n: number of examples, None for a potential.
        d: number of parameters.
    """
    return Nuts() if n is None or n * d <= CHEAP else Sghmc()
