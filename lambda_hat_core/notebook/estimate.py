"""The LLC of a user's loss in one call, for notebooks and scripts without a store."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import numpy as np

from lambda_hat_core.analysis.estimate import estimate, statements
from lambda_hat_core.config.batches import on_examples
from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.config.samplers.base import Dtype
from lambda_hat_core.config.samplers.choice import AUTO, chosen
from lambda_hat_core.config.samplers.known import SamplerSpec
from lambda_hat_core.config.spec import RunSpec
from lambda_hat_core.notebook.arguments import Asked, asked
from lambda_hat_core.notebook.llc import Llc, answer
from lambda_hat_core.notebook.telling import Display, Silent, duration
from lambda_hat_core.notebook.timing import expected
from lambda_hat_core.posterior import Target, localised
from lambda_hat_core.sample import sample
from lambda_hat_core.samplers.drive import Progress
from lambda_hat_core.samplers.trace import Trace
from lambda_hat_core.streams import stream
from lambda_hat_core.targets.audit import Audit, audit
from lambda_hat_core.targets.custom import CustomTarget, known, problem_of
from lambda_hat_core.targets.infinity import judged
from lambda_hat_core.targets.loss_check import check_same
from lambda_hat_core.targets.problem import Problem
from lambda_hat_core.work import compilation

_NO_TARGET = f"tgt_{0:012x}"
"""A placeholder for the id of a target that is not in a store."""

_CALL = "estimate_llc"


def estimate_llc(
    loss: Callable[[Any, Any], Any],
    params: Any,
    data: Any,
    *,
    n: int | None = None,
    sampler: str | SamplerSpec = "auto",
    posterior: PosteriorSpec | Mapping[str, Any] | None = None,
    rel_se: float = 0.05,
    max_seconds: float | None = None,
    max_fge: float | None = None,
    dtype: Dtype | None = None,
    weights: Any = None,
    sample_all: bool = False,
    seed: int = 0,
    progress: bool | Callable[[Progress], None] = True,
) -> Llc:
    """Estimate the LLC at `params`, which should be a minimum, and give a verdict on it.

    First w* is audited in float64; a gradient or a negative curvature there affects the verdict.
    The run uses the sampler's dtype, independently of the dtype of the process, and losses are
    summed in float64. Compiled programs are stored in the user's cache folder and reused by other
    processes, unless JAX already has a compilation cache.

    Args:
        loss: `loss(params, batch) -> scalar`, the mean over the rows of `batch`. JAX must be able
            to differentiate it twice at w*. If `data` is None it is a potential and is called as
            `loss(params, None)`.
        params: w*, any pytree or Equinox module of float arrays.
        data: any pytree of arrays with leading axis n, or None. A batch has the same structure,
            with some of the rows.
        n: number of examples, by default the length of `data`. It is required for a potential,
            where it determines n beta.
        sampler: auto (nuts if n d is at most 100,000 or data is None, else sghmc), or nuts, hmc,
            mala, mclmc, adjusted_mclmc, tempered, sgld, sghmc, sgnht or vi with its default
            settings, or an object with other settings, such as `Sgld(batch_size=64)`.
        posterior: `Posterior(gamma=10.0)` or a mapping: beta_mode, beta0, nbeta, gamma,
            prior_radius.
        rel_se: the run ends once its standard error is this share of the llc and every check of the
            verdict passes. A sampler with n_draws, n_burn or `until` of its own ends by those, and
            another value than the default is then an error. For vi it ends the draws from the fit.
        max_seconds: wall seconds from the begin of the call after which the run ends at the end of
            a chunk of draws, whatever its precision. How many draws that leaves depends on the
            speed of the machine, so the result does too.
        max_fge: full-gradient evaluations, set-up included, after which the run ends, by default
            50,000. The result does not depend on the machine.
        dtype: float32 or float64; by default float64 for nuts, hmc, mala, mclmc and
            adjusted_mclmc, and float32 for the others.
        weights: what each row counts in the loss of a batch, n numbers > 0, if rows do not count
            equally: `loss` is then sum_i weights_i l_i / sum_i weights_i over the rows of `batch`,
            as a mean over tokens under a mask is, with the sums of the masks as weights.
        sample_all: whether to sample also the arrays that the loss depends on without a gradient,
            as through stop_gradient; by default they keep their values.
        seed: seed of all random numbers.
        progress: whether to write a forecast and the progress to stderr, or a function that is
            called with a `samplers.drive.Progress` after every chunk of draws.

    Returns:
        The estimate with its verdict, settings and draws.

    Raises:
        ValueError: if the loss, params, data, sampler or settings are invalid.
    """
    began = time.perf_counter()
    limits = {"rel_se": rel_se, "max_seconds": max_seconds, "max_fge": max_fge}
    count = _count(data) if n is None else n
    target = CustomTarget(params, loss, data, count, weights=weights, sample_all=sample_all)
    if isinstance(sampler, str) and sampler == AUTO:
        d = sum(np.size(leaf) for leaf in jax.tree.leaves(eqx.filter(params, eqx.is_array_like)))
        sampler = chosen(None if data is None else target.n, d)
    wanted = asked(sampler, posterior, dtype, seed, **limits)
    kind = wanted.sampler.kind
    teller = Display(kind) if progress is True else Silent(kind)
    told = progress if callable(progress) else teller.progress
    with compilation.kept():
        try:
            run, problem, found, trace = _computed(target, wanted, teller, told, began)
        finally:
            teller.end()
    meta = {
        "off_centre_bias": found.off_centre_bias,
        "is_minimum": not found.reasons,
        "audit_reasons": list(found.reasons),
    }
    made = estimate(trace, meta, sampler=run.sampler)
    if progress is True:
        for line in statements(made):
            teller.say(line)
    seconds = time.perf_counter() - began
    return answer(made, trace, run, seconds=seconds, notes=problem.notes)


def _computed(
    made: CustomTarget,
    wanted: Asked,
    teller: Display,
    told: Callable[[Progress], None],
    began: float,
) -> tuple[RunSpec, Problem, Audit, Trace]:
    written = wanted.sampler.model_fields_set
    most = math.inf if wanted.max_seconds is None else wanted.max_seconds

    def is_late() -> bool:
        return time.perf_counter() - began >= most

    count = None if made.data is None else made.n
    run = RunSpec(
        target=_NO_TARGET,
        sampler=on_examples(wanted.sampler, count, written="batch_size" in written),
        posterior=wanted.posterior,
        seed=wanted.seed,
        dtype=wanted.dtype,
    )
    with jax.enable_x64(True):
        wide = problem_of(made, _CALL)
    with jax.enable_x64(run.dtype == "float64"):
        problem = problem_of(made, _CALL, checked=known(wide))
        target = Target(problem.start, problem.data, problem.loss, problem.n)
        at = localised(target, run.posterior)
        seconds = duration(min(expected(at, run.sampler), most))
    teller.say(f"about {seconds} (d = {problem.start.size}, n = {problem.n})")
    for note in wide.notes:
        teller.say(note)
    with jax.enable_x64(True):
        found = _audit(wide, run)
    with jax.enable_x64(run.dtype == "float64"):
        check_same(_CALL, problem.loss, problem.start, problem.data, found.loss0, problem.n)
        trace = sample(at, run, progress=told, log=teller.hear, is_late=is_late)
    if trace.info.get("until"):
        until = trace.info["until"] | {"max_seconds": wanted.max_seconds}
        trace = trace._replace(info=trace.info | {"until": until})
    return run, wide, found, trace


def _audit(problem: Problem, run: RunSpec) -> Audit:
    nbeta = PosteriorSpec().resolved_nbeta(problem.n)
    found = audit(
        stream(run.seed, "audit"),
        problem,
        problem.start,
        nbeta=nbeta,
        gamma=run.posterior.resolved_gamma(problem.start.size),
        rows=run.sampler.setup_rows,
    )
    return judged(problem, problem.start, found, nbeta)


def _count(data: Any) -> int:
    leaves = jax.tree.leaves(data)
    if not leaves:
        raise ValueError(
            "data is None, so the loss is a potential; give n, which sets n beta = n / log n"
        )
    return len(leaves[0]) if np.ndim(leaves[0]) else 1
