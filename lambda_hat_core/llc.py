"""The LLC of a loss of one's own, in one call: for notebooks, and where no store is wanted."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from lambda_hat_core import samplers
from lambda_hat_core.analysis.estimate import Estimate, estimate
from lambda_hat_core.analysis.words import plus_minus
from lambda_hat_core.config.batches import on_examples
from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.config.samplers import SAMPLERS
from lambda_hat_core.config.spec import RunSpec
from lambda_hat_core.custom import CustomTarget, problem_of
from lambda_hat_core.posterior import localised
from lambda_hat_core.samplers.drive import Progress
from lambda_hat_core.streams import stream
from lambda_hat_core.target import Target
from lambda_hat_core.targets.audit import audit
from lambda_hat_core.telling import silent
from lambda_hat_core.trace import Trace

_NO_TARGET = f"tgt_{0:012x}"
"""The id of a target that no store has."""


class Llc(NamedTuple):
    """An estimate and what it was made from.

    Attributes:
        estimate: every number, the verdict and its reasons.
        trace: the draws, as scalars.
    """

    estimate: Estimate
    trace: Trace

    def __str__(self) -> str:
        """Return the estimate, its interval and the verdict with its reasons."""
        found = self.estimate
        if found.llc is None:
            return f"llc: no estimate, {found.verdict}: {'; '.join(found.reasons)}"
        interval = (
            "" if found.llc_lo is None else f", 90 % [{found.llc_lo:.4g}, {found.llc_hi:.4g}]"
        )
        reasons = f": {'; '.join(found.reasons)}" if found.reasons else ""
        return f"llc {plus_minus(found.llc, found.llc_se)}{interval}, {found.verdict}{reasons}"


def estimate_llc(
    loss: Callable[[Any, Any], Any],
    params: Any,
    data: tuple[Any, ...] | None,
    *,
    n: int | None = None,
    sampler: str = "nuts",
    settings: Mapping[str, Any] | None = None,
    posterior: Mapping[str, Any] | None = None,
    seed: int = 0,
    progress: Callable[[Progress], None] = silent,
) -> Llc:
    """Estimate the LLC at `params`, which should be a minimum, and judge the estimate.

    w* is audited first: a gradient or a negative curvature there is in the verdict. Everything is
    computed in this process's dtype; losses are summed in float64 whatever it is. Set
    JAX_ENABLE_X64=1 before JAX is imported for the exact samplers.

    Args:
        loss: `loss(params, batch) -> scalar`, the mean over the rows of `batch`, which JAX can
            differentiate twice at w*; for `data` None a potential, called as `loss(params, None)`.
        params: w*, any pytree or Equinox module of float arrays.
        data: arrays with leading axis n, or None.
        n: examples, by default the length of `data`; needed for a potential, where it sets n beta.
        sampler: nuts, hmc, mala, mclmc, adjusted_mclmc, sgld, sghmc, sgnht or vi.
        settings: the sampler's own, as in an experiment (n_draws, step_size, batch_size, ...).
        posterior: beta_mode, beta0, nbeta, gamma, prior_radius.
        seed: of every random number.
        progress: told at the end of every chunk of draws.

    Returns:
        The estimate with its verdict, and the trace.

    Raises:
        ValueError: naming what is wrong with the loss, params, data, sampler or settings.
    """
    if sampler not in SAMPLERS:
        raise ValueError(f"sampler is {sampler!r}; choose one of {', '.join(SAMPLERS)}")
    n = _count(data) if n is None else n
    made = CustomTarget(params, loss, data, n)
    problem = problem_of(made, "estimate_llc", _identity(loss, params))
    model = SAMPLERS[sampler](**(settings or {}))
    written = "batch_size" in model.model_fields_set
    spec: Any = on_examples(model, None if data is None else n, written=written)
    run = RunSpec(
        target=_NO_TARGET,
        sampler=spec,
        posterior=PosteriorSpec(**{"loss": "own", **(posterior or {})}),
        seed=seed,
        dtype="float64" if problem.start.dtype == jnp.float64 else "float32",
    )
    target = Target(problem.start, problem.data, problem.loss, problem.n)
    found = audit(
        stream(seed, "audit"),
        problem,
        problem.start,
        nbeta=PosteriorSpec().resolved_nbeta(n),
        gamma=run.posterior.resolved_gamma(problem.start.size),
    )
    meta = {
        "off_centre_bias": found.off_centre_bias,
        "is_minimum": not found.reasons,
        "audit_reasons": list(found.reasons),
    }
    trace = samplers.sample(localised(target, run.posterior), run, progress=progress)
    return Llc(estimate(trace, meta), trace)


def _count(data: tuple[Any, ...] | None) -> int:
    if data is None:
        raise ValueError("data is None, a potential; give n, which sets n beta = n / log n")
    return len(jax.tree.leaves(data)[0])


def _identity(loss: Callable[[Any, Any], Any], params: Any) -> tuple[Any, ...]:
    """Return what compiled code may not be shared without: the function and the params' frame."""
    floats, static = eqx.partition(params, eqx.is_inexact_array)
    leaves, frame = jax.tree.flatten(static)
    shapes = tuple(leaf.shape for leaf in jax.tree.leaves(floats))
    return (loss, jax.tree.structure(floats), shapes, frame, tuple(leaves))
