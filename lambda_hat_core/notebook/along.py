"""The LLC along training in one call: the same estimate at every checkpoint, and their curve."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lambda_hat_core.analysis.estimate import estimate
from lambda_hat_core.analysis.words import duration, plus_minus
from lambda_hat_core.config.batches import seed_at
from lambda_hat_core.config.errors import Place
from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.config.samplers.base import Dtype
from lambda_hat_core.config.samplers.choice import AUTO
from lambda_hat_core.config.samplers.known import SamplerSpec
from lambda_hat_core.config.samplers.vi import Vi
from lambda_hat_core.linalg.blas import one_blas_thread
from lambda_hat_core.notebook.arguments import Asked, asked, check_labels
from lambda_hat_core.notebook.computing import Computed, Seen, computed, count_of, sampler_of
from lambda_hat_core.notebook.curve import Checkpoint, LlcCurve
from lambda_hat_core.notebook.hinted import hinted
from lambda_hat_core.notebook.llc import Llc, answer
from lambda_hat_core.notebook.telling import Display, Silent
from lambda_hat_core.samplers.drive import NOTHING_KEPT
from lambda_hat_core.samplers.held import Held
from lambda_hat_core.targets.custom import CustomTarget
from lambda_hat_core.targets.loss_check import raised
from lambda_hat_core.work import compilation

_CALL = Place("llc_along")
EACH = "each"


@hinted
def llc_along(
    loss: Callable[[Any, Any], Any],
    checkpoints: Mapping[Any, Any] | Iterable[tuple[Any, Any]],
    data: Any,
    *,
    hold: Any = EACH,
    n: int | None = None,
    sampler: str | SamplerSpec = AUTO,
    posterior: PosteriorSpec | Mapping[str, Any] | None = None,
    rel_se: float = 0.05,
    max_seconds: float | None = None,
    max_fge: float | None = None,
    restrict: str | Sequence[str] | None = None,
    dtype: Dtype | None = None,
    weights: Any = None,
    sample_all: bool = False,
    outputs: Callable[[Any, Any], Any] | None = None,
    outputs_loss: str = "mse",
    metrics: Mapping[str, Callable[[Any], Any]] | None = None,
    seed: int = 0,
    progress: bool = True,
) -> LlcCurve:
    """Estimate the LLC at every checkpoint of a training run.

    nbeta, gamma and the sampler are the same at all of them, and the programs that the first one
    compiles serve all others. A checkpoint in the middle of training is no minimum of its loss.
    That does not affect its verdict here, which is about the sampler: `at_minimum` and `descent`
    say how far it is from one; a minimum at a kink, as of a trained ReLU network, counts as none.
    With posterior={"loss": "self_labelled"} every checkpoint is one.

    Args:
        loss: `loss(params, batch) -> scalar`, as in `estimate_llc`.
        checkpoints: params by step, or an iterator of pairs (step, params), of which only one is
            kept in memory at a time.
        data: as in `estimate_llc`.
        hold: a step: the metric, step size, trajectory length and batch of the sampler are measured
            at that checkpoint and held at all others, which then need no set-up. Of an iterator it
            must be the first. Choose a late checkpoint: a step size that suits the flat landscape
            of an early one is too large for a steep one. By default `each` has its own.
        n: number of examples, by default the length of `data`.
        sampler: as in `estimate_llc`.
        posterior: as in `estimate_llc`.
        rel_se: as in `estimate_llc`, for each checkpoint.
        max_seconds: wall seconds for each checkpoint.
        max_fge: full-gradient evaluations for each checkpoint.
        restrict: as in `estimate_llc`.
        dtype: as in `estimate_llc`.
        weights: as in `estimate_llc`.
        sample_all: as in `estimate_llc`.
        outputs: as in `estimate_llc`.
        outputs_loss: as in `estimate_llc`.
        metrics: other quantities by name, such as {"test loss": lambda params: ...}, each a number
            at every checkpoint.
        seed: seed of all random numbers; every checkpoint has its own, by its step as in an
            experiment, so that errors are independent.
        progress: whether to write a line for every checkpoint to stderr.

    Returns:
        The estimates, in the order of their steps.

    Raises:
        ValueError: if the loss, a checkpoint, the data or the settings are invalid.
    """
    ordered = _ordered(checkpoints, hold)
    limits = {"rel_se": rel_se, "max_seconds": max_seconds, "max_fge": max_fge}
    count = count_of(data, n, place=_CALL)
    made: list[Checkpoint] = []
    run: _Run | None = None
    with compilation.kept():
        for step, params in ordered:
            if run is None:
                kind = sampler_of(sampler, None if data is None else count, params)
                wanted = asked(
                    kind, posterior, dtype, seed, restrict=restrict, place=_CALL, **limits
                )
                check_labels(outputs, wanted.posterior, _CALL)
                _check_hold(hold, wanted)
                kept = NOTHING_KEPT if hold == EACH else Held()
                teller = (Display if progress else Silent)(wanted.sampler.kind)
                teller.begin()
                run = _Run(wanted, kept, teller, None)
            target = CustomTarget(
                params,
                loss,
                data,
                count,
                weights=weights,
                sample_all=sample_all,
                outputs=outputs,
                outputs_loss=outputs_loss,
            )
            measured = {name: _number(name, f, params) for name, f in (metrics or {}).items()}
            with one_blas_thread():
                found, run = run.at(step, target)
            made.append(found._replace(metrics=measured))
    if run is None:
        raise _CALL.key("checkpoints").error("there is none", "pass at least one", checkpoints)
    return LlcCurve(tuple(sorted(made, key=lambda found: found.step)), hold)


class _Run(NamedTuple):
    """What the estimates of one call share.

    Attributes:
        wanted: their settings.
        checkpoint: holds the set-up, or keeps nothing.
        teller: writes the lines.
        seen: what the checks of the loss found at the first checkpoint.
    """

    wanted: Asked
    checkpoint: Any
    teller: Display
    seen: Seen | None

    def at(self, step: int | float, target: CustomTarget) -> tuple[Checkpoint, "_Run"]:
        """Return the estimate at one checkpoint."""
        began = time.perf_counter()
        wanted = self.wanted._replace(seed=seed_at(self.wanted.seed, step))
        try:
            done = computed(
                target,
                wanted,
                self.teller,
                self.teller.progress,
                began,
                maker=f"llc_along, step {step:g},",
                seen=self.seen,
                checkpoint=self.checkpoint,
                kinks=False,
            )
        finally:
            self.teller.end()
        found = _judged(done, step, time.perf_counter() - began)
        spent = duration(found.seconds)
        self.teller.say(
            f"step {step:g}: llc {plus_minus(found.llc, found.se)}, {found.verdict}, {spent}"
        )
        here = Checkpoint(step, found, done.loss, {})
        return here, self._replace(seen=done.seen)


def _judged(done: Computed, step: int | float, seconds: float) -> Llc:
    """Return the estimate with its verdict; a checkpoint need be no minimum."""
    audit = done.audit
    meta = {
        "off_centre_bias": audit.off_centre_bias,
        "is_minimum": not audit.reasons,
        "audit_reasons": list(audit.reasons),
        "step": step,
    }
    made = estimate(done.trace, meta, sampler=done.run.sampler, exact=done.exact)
    return answer(
        made,
        done.trace,
        done.run,
        seconds=seconds,
        notes=done.problem.notes,
        llc_oracle=done.exact.value,
    )


def _ordered(checkpoints: Any, hold: Any) -> Iterator[tuple[int | float, Any]]:
    """Yield steps and params, beginning with the step whose setting is held."""
    place = _CALL.key("checkpoints")
    if isinstance(checkpoints, Mapping):
        steps = sorted(checkpoints, key=lambda step: _step(step))
        if hold != EACH:
            if hold not in checkpoints:
                rule = "there is no such checkpoint"
                nearest = f"choose one of {', '.join(f'{step:g}' for step in steps[:12])}, or each"
                raise _CALL.key("hold").error(rule, nearest, hold)
            steps.sort(key=lambda step: step != hold)
        pairs: Any = ((step, checkpoints[step]) for step in steps)
    else:
        pairs = checkpoints
    seen: set[int | float] = set()
    for pair in pairs:
        if not isinstance(pair, tuple) or len(pair) != 2:
            rule = "must be a mapping from steps to params, or pairs (step, params)"
            raise place.error(rule, "write {0: params, 100: others}", type(pair).__name__)
        step, params = _step(pair[0]), pair[1]
        if step in seen:
            raise place.error("a step occurs twice", "give every checkpoint its own step", step)
        if not seen and hold != EACH and step != hold:
            rule = f"the iterator begins with step {step:g}"
            way_out = "let it yield the step to hold first, or pass a mapping"
            raise _CALL.key("hold").error(rule, way_out, hold)
        seen.add(step)
        yield step, params


def _step(step: Any) -> int | float:
    number = isinstance(step, int | float | np.number) and not isinstance(step, bool)
    if not number or not 0 <= step < math.inf:
        rule = "steps are finite numbers >= 0"
        raise _CALL.key("checkpoints").error(rule, "write {0: params, 100: others}", step)
    return step.item() if isinstance(step, np.number) else step


def _check_hold(hold: Any, wanted: Asked) -> None:
    if hold != EACH and isinstance(wanted.sampler, Vi):
        rule = "vi fits a family at each checkpoint, and has no setting that could be held"
        raise _CALL.key("hold").error(rule, "leave it out, or choose another sampler", hold)


def _number(name: str, metric: Callable[[Any], Any], params: Any) -> float:
    place = _CALL.key("metrics").key(name)
    try:
        value = np.asarray(metric(params))
    except Exception as error:
        raise place.error(f"raised {raised(error)}", "call it with params alone to see") from error
    if value.shape != () or value.dtype.kind not in "iufb":
        shown = f"shape {value.shape}, {value.dtype.name}"
        raise place.error("must be one number", "return a scalar", shown)
    return float(value)
