"""The LLC of a user's loss in one call, for notebooks and scripts without a store."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lambda_hat_core.analysis.estimate import estimate, statements
from lambda_hat_core.analysis.ways_out import as_arguments
from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.config.samplers.base import Dtype
from lambda_hat_core.config.samplers.choice import AUTO
from lambda_hat_core.config.samplers.known import SamplerSpec
from lambda_hat_core.linalg.blas import one_blas_thread
from lambda_hat_core.notebook.arguments import CALL, asked, check_labels
from lambda_hat_core.notebook.computing import computed, count_of, sampler_of
from lambda_hat_core.notebook.hinted import hinted
from lambda_hat_core.notebook.llc import Llc, answer
from lambda_hat_core.notebook.telling import Display, Silent
from lambda_hat_core.samplers.drive import Progress
from lambda_hat_core.targets.custom import CustomTarget
from lambda_hat_core.work import compilation


@hinted
@one_blas_thread()
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
    restrict: str | Sequence[str] | None = None,
    observables: str | Sequence[str] | None = None,
    data_sets: Mapping[str, Any] | None = None,
    functions: Mapping[str, Callable[[Any], Any]] | None = None,
    dtype: Dtype | None = None,
    weights: Any = None,
    sample_all: bool = False,
    outputs: Callable[[Any, Any], Any] | None = None,
    outputs_loss: str = "mse",
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
        sampler: auto (nuts if n d is at most 100,000 or data is None, else sghmc; for n d up to
            1,000,000, nuts follows a run of sghmc that has anything against it but its precision,
            and tempered follows such a run of nuts, or a warm-up whose steps diverge), or nuts,
            hmc, mala, mclmc, adjusted_mclmc, tempered, sgld, sghmc, sgnht or vi with its default
            settings, or an object with other settings, such as `Sgld(batch_size=64)`.
        posterior: `Posterior(gamma=10.0)` or a mapping: beta_mode, beta0, nbeta, gamma,
            prior_radius, prior. With loss="self_labelled" the labels are the model's own outputs at
            `params`, which are then an exact minimum; it needs `outputs`.
        rel_se: the run ends once its standard error is this share of the llc and every check of the
            verdict passes. A sampler with n_draws, n_burn or `until` of its own ends by those, and
            another value than the default is then an error. For vi it ends the draws from the fit.
        max_seconds: wall seconds from the begin of the call after which the run ends at the end of
            a chunk of draws, whatever its precision; compilation and warm-up are not cut short, and
            no other sampler follows once half of the time is gone. How many draws that leaves
            depends on the speed of the machine, so the result does too.
        max_fge: full-gradient evaluations, set-up included, after which the run ends, by default
            50,000, for nuts 100,000, for tempered 400,000. A warm-up that costs more is finished
            and has a few draws. The result does not depend on the machine.
        restrict: the parameters that are sampled, as globs over their dotted names with slices:
            `["layers.0.*", "head.weight[0:16]"]`. The others keep their values, w* is audited with
            respect to these alone, and d is their number. By default all are sampled.
        observables: what is recorded with every draw: names of data sets (their mean losses) and
            functions, and rows: `["val", "norm", "per_example[0:20]", "val.per_example"]`. The
            result has their means and covariances as `.observed`.
        data_sets: other rows by name, pytrees like `data`, which observables may name.
        functions: `f(params) -> number or array` by name, which observables may name.
        dtype: float32 or float64; by default float64 for nuts, hmc, mala, mclmc and
            adjusted_mclmc, and float32 for the others.
        weights: what each row counts in the loss of a batch, n numbers > 0, if rows do not count
            equally: `loss` is then sum_i weights_i l_i / sum_i weights_i over the rows of `batch`,
            as a mean over tokens under a mask is, with the sums of the masks as weights.
        sample_all: whether to sample also the arrays that the loss depends on without a gradient,
            as through stop_gradient; by default they keep their values.
        outputs: `outputs(params, batch) -> array`, the model's outputs with one row for every row
            of `batch`, for the self-labelled loss.
        outputs_loss: what compares two outputs: mse (gaussian if the posterior has a sigma), or
            cross_entropy if they are logits.
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
    count = count_of(data, n)
    target = CustomTarget(
        params,
        loss,
        data,
        count,
        weights=weights,
        sample_all=sample_all,
        outputs=outputs,
        outputs_loss=outputs_loss,
        data_sets=data_sets,
        functions=functions,
    )
    named = sampler_of(sampler, None if data is None else target.n, params)
    wanted = asked(
        named, posterior, dtype, seed, restrict=restrict, observables=observables, **limits
    )
    check_labels(outputs, wanted.posterior, CALL)
    kind = wanted.sampler.kind
    teller = Display(kind) if progress is True else Silent(kind)
    told = progress if callable(progress) else teller.progress
    teller.begin()
    with compilation.kept():
        try:
            run, problem, found, trace, _, exact, _ = computed(
                target,
                wanted,
                teller,
                told,
                began,
                maker="estimate_llc",
                is_auto=isinstance(sampler, str) and sampler == AUTO,
                max_fge=max_fge,
            )
        finally:
            teller.end()
    meta = {
        "off_centre_bias": found.off_centre_bias,
        "is_minimum": not found.reasons,
        "audit_reasons": list(found.reasons),
    }
    made = estimate(trace, meta, sampler=run.sampler, exact=exact)
    if progress is True:
        for line in statements(made, as_arguments):
            teller.say(line)
    seconds = time.perf_counter() - began
    return answer(made, trace, run, seconds=seconds, notes=problem.notes, llc_oracle=exact.value)
