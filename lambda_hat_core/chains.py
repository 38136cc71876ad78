"""From where the pilot arrived to the trace of a Markov chain sampler: it adapts, and draws.

A minibatch sampler whose step turns out to be too large does so again (`samplers.attempts`).
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float

from lambda_hat_core.analysis.correction import GROWN
from lambda_hat_core.analysis.ending import ended
from lambda_hat_core.analysis.means import llc_at_step_zero, mean_llc
from lambda_hat_core.analysis.stopping import has_outgrown, hopeful, stop_rule
from lambda_hat_core.config.samplers.known import ChainSpec
from lambda_hat_core.linalg.spectrum import Spectrum
from lambda_hat_core.posterior import Posterior
from lambda_hat_core.samplers import drive, pilot
from lambda_hat_core.samplers.attempts import MOST, adapts, calmer, highest, told
from lambda_hat_core.samplers.build import build
from lambda_hat_core.samplers.kernel import Tuned
from lambda_hat_core.samplers.monitor import Monitor
from lambda_hat_core.samplers.noise_check import check_work, heated, is_made_up_for
from lambda_hat_core.samplers.observables import observed
from lambda_hat_core.samplers.settling import without_factors
from lambda_hat_core.samplers.stepsize import report
from lambda_hat_core.samplers.subset import Subset
from lambda_hat_core.samplers.telling import seldom
from lambda_hat_core.samplers.trace import Trace
from lambda_hat_core.streams import stream


class Frame(NamedTuple):
    """What all attempts of a run share.

    Attributes:
        posterior: what is sampled.
        written: the settings as they were written, with every `auto`.
        seed: of the run.
        few: the examples of the set-up.
        loss0: L_n(w*).
        watch: makes the monitor of chains that a spectrum belongs to.
        metric: a spectrum for the metric in place of the pilot's.
        checkpoint: keeps the run.
        progress: is told after every chunk.
        log: is told what was found.
        clock: returns the time in seconds.
        began: the time at which the run began.
        is_late: whether the time for the run is up.
    """

    posterior: Posterior
    written: Any
    seed: int
    few: Subset
    loss0: float
    watch: Callable[[Spectrum], Monitor]
    metric: Spectrum | None
    checkpoint: drive.Checkpoint
    progress: Callable[[drive.Progress], None]
    log: Callable[[str], None]
    clock: Callable[[], float]
    began: float
    is_late: Callable[[], bool]


class Attempt(NamedTuple):
    """What a run is made from.

    Attributes:
        spec: the settings.
        pilot: where the chains begin, and the curvature there.
        work: full-gradient evaluations before it, by purpose.
        before: step size of every attempt before it, and why it was made again.
    """

    spec: Any
    pilot: pilot.Pilot
    work: dict[str, float]
    before: list[dict[str, Any]]

    @property
    def name(self) -> str:
        """A suffix of names; the first attempt has those of a run without a second one."""
        return f"-{len(self.before)}" if self.before else ""

    @property
    def may_repeat(self) -> bool:
        """Whether another attempt may follow."""
        return adapts(self.spec) and len(self.before) + 1 < MOST


def sample_chains(
    frame: Frame, spec: ChainSpec, begun: pilot.Pilot, work: dict[str, float]
) -> Trace:
    """Return the trace of the first attempt whose step holds, or of the last one.

    Args:
        frame: what all attempts share.
        spec: the settings.
        begun: where the pilot arrived.
        work: full-gradient evaluations so far, by purpose.
    """
    now = Attempt(spec, begun, work, [])
    while True:
        trace, draws = _made(frame, now)
        again = _again(frame, now, trace, draws) if now.may_repeat else None
        if again is None:
            break
        now = again
        frame.log(f"{told(now.before[-1:])}: once more")
    if trace.failure is not None and now.before:
        tries = f"after {len(now.before)} attempts with larger steps"
        return trace._replace(failure=f"{trace.failure}, {tries}")
    return trace


def _again(frame: Frame, now: Attempt, trace: Trace, draws: drive.Draws) -> Attempt | None:
    """Return the next attempt; None if there is nothing against this one."""
    lost = trace.work_fge - sum(now.work.values())
    # A run that leaves once had steps that were too long; one that leaves twice, the wrong metric.
    stays = trace.failure is not None and not _repeats(now, "left")
    spec, begun = now.spec if stays else without_factors(now.spec, frame.written), now.pilot
    at, llc, is_same = begun.positions, begun.llc, spec is now.spec
    # Another metric is tried at its own step first.
    smaller = calmer(spec, trace.info) if is_same else spec
    if trace.failure is not None:
        cause, why, spec = "left", trace.failure, smaller
    elif spec.until is None or trace.info["spent"] is not None:
        return None
    elif has_outgrown(trace):
        step = llc_at_step_zero(trace)
        cause, why = "biased", f"the llc was {step.bias:+.3g} off"
        spec = smaller if _repeats(now, cause) else spec
        at, llc = _reached(draws), step.mean.mean
    elif is_heated(trace):
        cause = "heated"
        why = f"the noise of batches had grown and moved the llc by {trace.info['heated']:+.3g}"
        spec = calmer(now.spec, trace.info) if _repeats(now, cause) else now.spec
        at, llc = _reached(draws), mean_llc(trace).mean
    else:
        return None
    is_anew = cause == "biased" or (cause == "left" and not is_same)
    if is_anew:
        begun = frame.checkpoint.remember(
            f"arrived{now.name}",
            {"posterior": frame.posterior},
            lambda: _measured(frame, now, spec, at, llc),
        )
        lost += begun.work
    elif cause == "heated":
        # There is nothing against the metric.
        begun = begun._replace(positions=at, llc=llc, work=0.0)
    work = now.work | {"attempts": now.work.get("attempts", 0.0) + lost}
    before = [*now.before, {"step_size": trace.info["step_size"], "why": why, "cause": cause}]
    return Attempt(spec, begun, work, before)


def _repeats(now: Attempt, cause: str) -> bool:
    """Return whether an attempt before this one ended for the same cause."""
    return any(one["cause"] == cause for one in now.before)


def _reached(draws: drive.Draws) -> Float[Array, "chain d"]:
    assert draws.arrived is not None
    return draws.arrived()


def _measured(
    frame: Frame, now: Attempt, spec: ChainSpec, at: Float[Array, "chain d"], llc: float | None
) -> pilot.Pilot:
    """Return where the chains of the next attempt begin, as a pilot would for its settings."""
    key = stream(frame.seed, f"arrived{now.name}")
    spectrum, spent = pilot.mean_spectrum(key, frame.few, spec, at)
    return pilot.Pilot(at, spectrum, llc, spent)


def is_heated(trace: Trace) -> bool:
    """Return whether a run's batches heat or cool it, where its chains came to, beyond chance.

    Twice as much cooling is left alone: the pilot's own batches heat it by up to a quarter, so that
    a little too much is made up for as a rule, most of which two step sizes take away.
    """
    relative = trace.info.get("heated", 0.0) / (abs(mean_llc(trace).mean) or 1.0)
    return relative > GROWN or relative < -2 * GROWN


def _made(frame: Frame, now: Attempt) -> tuple[Trace, drive.Draws]:
    """Adapt and draw."""
    posterior, clock, spec, found = frame.posterior, frame.clock, now.spec, now.pilot
    known = {"posterior": posterior}

    def tune() -> tuple[Tuned, float]:
        if found.llc is not None:
            gradients = f"{found.work:.3g} gradients"
            frame.log(f"pilot: llc about {found.llc:.3g}, {gradients}; {spec.kind} adapts")
        tuned = build(
            stream(frame.seed, "build"),
            posterior,
            spec,
            few=frame.few,
            start=found.positions,
            spectrum=found.spectrum if frame.metric is None else frame.metric,
            llc=found.llc,
            log=seldom(frame.log, clock),
        )
        return tuned, clock() - frame.began

    tuned, seconds = frame.checkpoint.remember(f"tuned{now.name}", known, tune)
    began = clock() - seconds
    if "ledger" in tuned.info:
        for line in report(tuned.info["ledger"], precond=tuned.info.get("precond")):
            frame.log(line)
    watched = frame.watch(found.spectrum)
    setup = now.work | {"adaptation": tuned.work}
    looks_at_noise = is_made_up_for(spec, tuned.kernel)
    if looks_at_noise:
        setup["check"] = check_work(tuned.kernel, spec.n_chains)
    nbeta = float(posterior.nbeta)
    batch = {"batch_size": spec.batch_size} if hasattr(spec, "batch_size") else {}
    info = {"sampler": spec.kind, **batch, **tuned.info, "h_max": float(found.spectrum.h_max)}
    info["loss_dtype"] = posterior.loss_dtype
    if now.before:
        info["attempts"] = now.before

    def trace(draws: drive.Draws) -> Trace:
        values = dict(draws.values)
        virial_m = values.pop("virial_m")
        sampling = float(draws.cumulative_work[-1]) - sum(setup.values())
        return Trace(
            loss=values.pop("loss"),
            dist2=values.pop("dist2"),
            projections=values.pop("projections"),
            virial=values.pop("virial"),
            virial_m=virial_m if np.any(np.asarray(watched.weights) > 0) else None,
            cumulative_fge=draws.cumulative_work,
            seconds=draws.seconds,
            stats=values,
            loss0=frame.loss0,
            nbeta=nbeta,
            gamma=float(posterior.localiser),
            n=posterior.n,
            d=posterior.w0.size,
            work={**setup, "sampling": sampling},
            seconds_total=clock() - began,
            info={**info, **ended(draws, spec)},
            failure=draws.failure or tuned.failure,
            observed=observed(draws.observed, watched.observables),
            prior=posterior.prior_precision,
        )

    rule = None
    if spec.until is not None:
        rule = stop_rule(
            spec.until,
            trace,
            least_burn=spec.least_burn,
            is_late=frame.is_late,
            is_lost=has_outgrown if now.may_repeat else hopeful,
        )
    kept = frame.checkpoint
    draws = drive.run_chains(
        stream(frame.seed, "sampling"),
        tuned.kernel,
        watched,
        tuned.positions,
        n_draws=spec.n_draws,
        n_burn=spec.n_burn,
        thin=spec.thin,
        llc_of=lambda loss: nbeta * (loss - frame.loss0),
        setup_work=sum(setup.values()),
        setup_seconds=seconds,
        progress=frame.progress,
        checkpoint=kept.beside(f"attempt{now.name}") if now.before else kept,
        clock=clock,
        rule=rule,
        alternates="step_order" in tuned.info,
        highest=highest(posterior, found.spectrum.h_max) if adapts(spec) else math.inf,
    )
    if looks_at_noise and draws.failure is None:
        key = stream(frame.seed, f"noise{now.name}")
        info["heated"] = heated(key, spec, tuned.kernel, info, _reached(draws))
    return trace(draws), draws
