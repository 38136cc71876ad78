"""From a user's loss at one point to its draws: both precisions, the audit of w*, the run."""

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np

from lambda_hat_core.analysis.words import duration
from lambda_hat_core.config.batches import on_examples
from lambda_hat_core.config.errors import Place
from lambda_hat_core.config.posterior import SELF_LABELLED, PosteriorSpec
from lambda_hat_core.config.samplers.choice import AUTO, chosen, is_affordable
from lambda_hat_core.config.spec import RunSpec
from lambda_hat_core.notebook.arguments import CALL, Asked
from lambda_hat_core.notebook.choosing import run_or_tempered
from lambda_hat_core.notebook.telling import Display
from lambda_hat_core.posterior import Posterior, Target, localised, mean_loss
from lambda_hat_core.programs import forget_if_many
from lambda_hat_core.sample import sample
from lambda_hat_core.samplers.drive import NOTHING_KEPT, Checkpoint, Progress
from lambda_hat_core.samplers.settling import settled
from lambda_hat_core.samplers.trace import Trace
from lambda_hat_core.streams import stream
from lambda_hat_core.targets import finite
from lambda_hat_core.targets.audit import ROWS, Audit, audit
from lambda_hat_core.targets.custom import CustomTarget, Known, known, problem_of
from lambda_hat_core.targets.infinity import judged
from lambda_hat_core.targets.loss_check import check_same
from lambda_hat_core.targets.observables import chosen as observables_of
from lambda_hat_core.targets.own_labels import own_labels, own_minimum
from lambda_hat_core.targets.problem import Problem
from lambda_hat_core.targets.restricted import restricted_problem
from lambda_hat_core.truth.exact import Exact
from lambda_hat_core.work.timing import expected

_NO_TARGET = f"tgt_{0:012x}"
"""A placeholder for the id of a target that is not in a store."""
_LONG = 600.0
"""Seconds of a budget from which on people are told, where a typical run takes far less."""


class Seen(NamedTuple):
    """What the checks of a loss at one point say about the same loss at another.

    Attributes:
        known: about the loss.
        structure: of the params.
        outputs: identity of the outputs of a self-labelled loss, else None.
    """

    known: Known
    structure: Any
    outputs: Any = None


class Computed(NamedTuple):
    """The draws around one point.

    Attributes:
        run: the specification of the run.
        problem: the target in float64.
        audit: of w*.
        trace: the draws.
        loss: the user's own mean loss at w*.
        exact: the posterior's own value, where a formula or quadrature has it.
        seen: what holds at other points too.
    """

    run: RunSpec
    problem: Problem
    audit: Audit
    trace: Trace
    loss: float
    exact: Exact
    seen: Seen


def computed(
    made: CustomTarget,
    wanted: Asked,
    teller: Display,
    told: Callable[[Progress], None],
    began: float,
    *,
    maker: str,
    seen: Seen | None = None,
    checkpoint: Checkpoint = NOTHING_KEPT,
    is_auto: bool = False,
    max_fge: float | None = None,
    kinks: bool = True,
) -> Computed:
    """Audit w* in float64 and draw from the posterior around it.

    Args:
        made: the target.
        wanted: the settings.
        teller: gets the forecast and the notes, unless the loss was seen before.
        told: is called with the progress of the draws.
        began: the time from which `max_seconds` counts.
        maker: the name of the caller, for errors.
        seen: what is known of the loss from another point.
        checkpoint: keeps the set-up of the run.
        is_auto: whether the sampler, which nobody named, may become `tempered`.
        max_fge: the budget that was asked for, None for the default.
        kinks: as in `audit`.

    Raises:
        ValueError: if the target is invalid.
    """
    forget_if_many()
    written = wanted.sampler.model_fields_set
    most = math.inf if wanted.max_seconds is None else wanted.max_seconds

    def is_late() -> bool:
        return time.perf_counter() - began >= most

    def has_time() -> bool:
        return time.perf_counter() - began < most / 2

    count = None if made.data is None else made.n
    run = RunSpec(
        target=_NO_TARGET,
        sampler=on_examples(wanted.sampler, count, written="batch_size" in written),
        posterior=wanted.posterior,
        seed=wanted.seed,
        dtype=wanted.dtype,
        observables=wanted.observables,
    )
    with jax.enable_x64(True):
        own = problem_of(made, maker, checked=None if seen is None else _valid(made, seen))
        loss = float(mean_loss(own.loss, own.start, own.data))
        wide, outputs = _labelled(own, run, None if seen is None else seen.outputs)
        wide = _moving(wide, run)
    with jax.enable_x64(run.dtype == "float64"):
        problem, _ = _labelled(problem_of(made, maker, checked=known(own)), run, outputs)
        problem = _moving(problem, run)
        shapes = tuple(shape for _, shape in problem.shapes)
        target = Target(problem.start, problem.data, problem.loss, problem.n, shapes)
        at = localised(target, run.posterior)
        observables = observables_of(run.observables or (), problem.named, target, maker)
    if seen is None and teller.is_heard:
        _forecast(teller, at, run, most, wide.notes)
        teller.hear("w* is audited")
    with jax.enable_x64(True):
        found = _audit(wide, run, kinks)
    with jax.enable_x64(run.dtype == "float64"):
        check_same(maker, problem.loss, problem.start, problem.data, found.loss0, problem.n)
        if seen is None:
            teller.hear("the sampler is compiled")
        draw = partial(
            sample,
            at,
            progress=told,
            log=teller.hear,
            is_late=is_late,
            observables=observables,
        )
        if is_auto and is_affordable(count, wide.start.size):
            run, trace = run_or_tempered(
                draw, run, max_fge=max_fge, say=teller.say, has_time=has_time
            )
        else:
            trace = draw(run, checkpoint=checkpoint)
    if trace.info.get("until"):
        until = trace.info["until"] | {"max_seconds": wanted.max_seconds}
        trace = trace._replace(info=trace.info | {"until": until})
    here = Seen(known(own), _structure(made.params), outputs)
    exact = finite.computed(
        Target(wide.start, wide.data, wide.loss, wide.n),
        trace.nbeta,
        trace.gamma,
        trace.prior or 0.0,
    )
    return Computed(run, wide, found, trace, loss, exact, here)


def _moving(problem: Problem, run: RunSpec) -> Problem:
    """Return the problem in the parameters that are sampled."""
    patterns = run.posterior.restrict
    return problem if patterns is None else restricted_problem(problem, patterns)


def sampler_of(sampler: Any, n: int | None, params: Any) -> Any:
    """Return what was asked for, where `auto` depends on the number of examples and of params."""
    if not (isinstance(sampler, str) and sampler == AUTO):
        return sampler
    d = sum(np.size(leaf) for leaf in jax.tree.leaves(eqx.filter(params, eqx.is_array_like)))
    return chosen(n, d)


def count_of(data: Any, n: Any = None, *, place: Place = CALL) -> int:
    """Return the number of examples: n if it is given, else the number of rows of the data.

    Raises:
        ConfigError: if n is not a positive integer.
        ValueError: if neither is there.
    """
    if n is not None:
        if not isinstance(n, int | np.integer) or isinstance(n, bool) or n < 1:
            rule, way_out = "must be a whole number > 0", "write the number of examples"
            raise place.key("n").error(rule, f"{way_out}, or leave it out where data has rows", n)
        return int(n)
    leaves = jax.tree.leaves(data)
    if not leaves and data is not None:
        raise place.key("data").error(
            "there is no array in it", "give arrays of n rows, or leave it out for a potential"
        )
    if not leaves:
        raise ValueError(
            "data is None, so the loss is a potential; give n, which sets n beta = n / log n"
        )
    return len(leaves[0]) if np.ndim(leaves[0]) else 1


def _structure(params: Any) -> Any:
    return jax.tree.structure(params)


def _valid(made: CustomTarget, seen: Seen) -> Known:
    """Return what of `seen` is known at these params.

    A loss whose params have another structure, or that reads arrays which are not sampled, may be
    another program here.
    """
    arrays = sum(map(eqx.is_inexact_array, jax.tree.leaves(made.params)))
    is_same = _structure(made.params) == seen.structure and arrays == len(seen.known.sampled)
    return seen.known if is_same else seen.known._replace(identity=None)


def _labelled(problem: Problem, run: RunSpec, identity: Any) -> tuple[Problem, Any]:
    """Return the problem that is sampled, and the identity of its outputs if it has own labels."""
    if run.posterior.loss != SELF_LABELLED:
        return problem, None
    made = own_labels(problem, run.posterior.sigma, identity)
    loss: Any = made.loss
    return made, loss.model.identity


def _forecast(
    teller: Display, at: Posterior, run: RunSpec, most: float, notes: tuple[str, ...]
) -> None:
    with jax.enable_x64(run.dtype == "float64"):
        seconds = expected(at, run.sampler, audited=False)
    sampler: Any = settled(run.sampler, at)
    told = f"about {duration(min(seconds, most))}"
    if sampler.until is not None:
        # Compilation is counted as if it grew with the draws, which makes little of hours.
        longest = min(seconds * sampler.budget(at.n) / sampler.work(at.n), most)
        if longest > max(_LONG, 3 * seconds):
            told += f", its budget lasts {duration(longest)}"
    teller.say(f"{told} (d = {at.w0.size}, n = {at.n})")
    for note in notes:
        teller.say(note)


def _audit(problem: Problem, run: RunSpec, kinks: bool) -> Audit:
    if run.posterior.loss == SELF_LABELLED:
        return own_minimum(problem)
    nbeta = PosteriorSpec().resolved_nbeta(problem.n)
    gamma = run.posterior.resolved_gamma(problem.start.size)
    key = stream(run.seed, "audit")
    at = problem.start
    found = audit(key, problem, at, nbeta=nbeta, gamma=gamma, rows=ROWS, kinks=kinks)
    return judged(problem, at, found, nbeta, gamma)
