"""The sampler for somebody who did not choose one.

`nuts` makes no error of its own, needs no setting and follows curvature that changes, but takes
some 10,000 full-data gradients per answer. `sghmc` takes 1,000 to 3,000, most of them on batches,
and measures the bias of its step size. So `nuts` is chosen if a full-data gradient is cheap, and
for a potential, which has no batches. Either may turn out to be on singular ground, where replica
exchange is right. It takes some 100,000 full-data gradients, so it is tried if they take minutes.
"""

from lambda_hat_core.config.samplers.exact import Nuts
from lambda_hat_core.config.samplers.stochastic import Sghmc

AUTO = "auto"
CHEAP = 100_000
"""Largest n d at which a full-data gradient counts as cheap: about 0.1 ms on one core."""

AFFORDABLE = 10 * CHEAP
"""Largest n d at which `tempered` is tried: a full-data gradient then takes about 1 ms."""


def is_affordable(n: int | None, d: int) -> bool:
    """Return whether `auto` may go on to `tempered`; arguments as for `chosen`."""
    return n is None or n * d <= AFFORDABLE


def chosen(n: int | None, d: int) -> Nuts | Sghmc:
    """Return the sampler that `auto` stands for, with its default settings.

    Args:
        n: number of examples, None for a potential.
        d: number of parameters.
    """
    return Nuts() if n is None or n * d <= CHEAP else Sghmc()
