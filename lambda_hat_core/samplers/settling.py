"""The settings of a minibatch sampler that its target alone decides."""

from typing import Any

from lambda_hat_core.config.samplers.constant import Constant
from lambda_hat_core.linalg.kronecker import share_in_matrices
from lambda_hat_core.posterior import Posterior

_LARGE, _SIDE, _IN_MATRICES = 2048, 4, 0.8
"""Parameters from which on a network has a metric in a product basis, if this share of them is in
matrices with no side shorter than that."""


def settled(spec: Any, posterior: Posterior) -> Any:
    """Return a sampler with a number for every `auto` that its target alone decides.

    A minibatch sampler gets a metric in a product basis for networks that have more directions than
    Lanczos resolves, most of whose parameters are in matrices.
    """
    if not isinstance(spec, Constant):
        return spec
    share = share_in_matrices(posterior.shapes, _SIDE)
    suits = posterior.w0.size >= _LARGE and share >= _IN_MATRICES
    in_product = spec.scaling == "kronecker" or (spec.scaling == "auto" and suits)
    n = None if posterior.data is None else posterior.n
    return spec.settled(n, in_product=in_product)


def without_factors(spec: Any, written: Any) -> Any:
    """Return the settings with which a run is made again, in the metric of few directions.

    Where a run in a product basis leaves twice, or has outgrown it, the directions that were flat
    where it was measured are not flat where the chains go, as in a product of matrices. Settings
    whose metric was asked for by name stay.
    """
    if getattr(written, "precond", None) != "auto" or spec.precond != "kronecker":
        return spec
    return written.settled(None, in_product=False)
