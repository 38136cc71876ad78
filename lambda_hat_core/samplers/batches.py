"""How many examples a minibatch sampler takes for a gradient, from the noise that it measured."""

import math
from typing import Any

from lambda_hat_core.config.samplers.base import AUTO_BATCH
from lambda_hat_core.config.samplers.stochastic import Sghmc, Sgld, Sgnht
from lambda_hat_core.posterior import Posterior
from lambda_hat_core.samplers.modes import Modes

HEATING_BUDGET = 0.1
"""Largest predicted rise of the llc by noise that no compensation reaches, relative to it."""

_LEAST = 128
"""Fewest examples that `batch_size: auto` takes."""


def heating(modes: Modes, rule: dict[str, Any], step: float) -> float:
    """Predict how far noise in directions that are not told apart raises the llc, at most.

    Less injected noise makes up for a batch's in every direction of the metric, and on average over
    a group of them, such as the complement of Ritz vectors. But there the noise is not spread
    evenly: it lies in the directions that are stiff at the very point, which differ from point to
    point and carry the llc, half a unit each. So what it adds to their variances counts as if
    nothing made up for it.

    Args:
        modes: in the metric.
        rule: as `automatic` takes it.
        step: eps^p.
    """
    groups = modes.size > 1
    return 0.5 * rule["heat"] * step * float(modes.size[groups] @ modes.noise[groups])


def default_batch(posterior: Posterior) -> int | None:
    """Return the batch where nothing has been measured."""
    return AUTO_BATCH if posterior.data is not None and posterior.n > AUTO_BATCH else None


def batch_for(
    posterior: Posterior,
    modes: Modes,
    probe: int,
    spec: Sgld | Sghmc | Sgnht,
    rule: dict[str, Any],
    llc: float | None,
) -> int | None:
    """Return the smallest batch whose noise allows the step that the curvature allows.

    A power of two, so that runs share programs; the full batch where that is not much larger. The
    budget of what is not made up for counts only roughly, as the llc is known roughly.

    Args:
        posterior: with n examples.
        modes: their noise is that of batches of `probe` examples.
        probe: that was measured with.
        spec: of the sampler.
        rule: as `automatic` takes it.
        llc: a rough estimate.
    """
    if posterior.data is None:
        return None
    if spec.step_size != "auto":
        step = spec.step_size ** rule["power"]
    elif rule["peak"] > 0:
        step = rule["fraction"] / (rule["lag"] * rule["peak"])
    else:
        return default_batch(posterior)
    needed = probe * rule["heat"] * modes.mean_noise * step / rule["budget"]
    size = max(_LEAST, 2 ** math.ceil(math.log2(max(needed, 1.0))))
    if llc is not None and llc > 0:
        roughly = probe * heating(modes, rule, step) / (HEATING_BUDGET * llc)
        size = max(size, 2 ** round(math.log2(max(roughly, 1.0))))
    return size if size <= posterior.n / 2 else None
