"""From a posterior and the settings of a sampler to a trace: what all samplers share."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from lambda_hat_core.analysis.ending import ended
from lambda_hat_core.analysis.stopping import never, stop_rule
from lambda_hat_core.config.batches import on_examples
from lambda_hat_core.config.samplers.vi import Vi
from lambda_hat_core.config.spec import RunSpec
from lambda_hat_core.linalg.spectrum import Spectrum, hessian_spectrum
from lambda_hat_core.posterior import Posterior, loss_at_minimum
from lambda_hat_core.programs import quickly
from lambda_hat_core.samplers import drive, monitor, pilot
from lambda_hat_core.samplers.attempts import until_they_stay
from lambda_hat_core.samplers.build import build
from lambda_hat_core.samplers.kernel import Tuned
from lambda_hat_core.samplers.start import laplace_start
from lambda_hat_core.samplers.stepsize import report
from lambda_hat_core.samplers.subset import Subset, subset
from lambda_hat_core.samplers.telling import seldom, silent
from lambda_hat_core.samplers.trace import Trace
from lambda_hat_core.streams import stream
from lambda_hat_core.vi.run import sample_vi

N_PROJECTIONS = 4


def watch(
    seed: int,
    posterior: Posterior,
    spectrum: Spectrum,
    paired: monitor.Paired | None = None,
) -> monitor.Monitor:
    """Return the directions watched: random ones, and the Lanczos ones of the certificate."""
    projections, weights = _watched(stream(seed, "projections"), posterior, spectrum)
    return monitor.Monitor(projections, spectrum.vectors, weights, paired)


@quickly
def _watched(
    key: PRNGKeyArray, posterior: Posterior, spectrum: Spectrum
) -> tuple[Float[Array, "p d"], Float[Array, " k"]]:
    projections = monitor.random_projections(key, posterior.w0, N_PROJECTIONS)
    return projections, spectrum.shrinkage(posterior.nbeta, posterior.gamma)


class _Ready(NamedTuple):
    """What every sampler needs before it adapts, with the work and the seconds spent on it."""

    pilot: pilot.Pilot
    loss0: float
    work: dict[str, float]
    seconds: float


def _set_out(
    seed: int, posterior: Posterior, few: Subset, spec: Any, clock: Callable[[], float]
) -> _Ready:
    began = clock()
    spectrum, products = hessian_spectrum(stream(seed, "spectrum"), few.posterior)
    loss0 = loss_at_minimum(posterior)
    start = laplace_start(stream(seed, "start"), posterior, spectrum, spec.n_chains)
    found = pilot.set_out(stream(seed, "pilot"), few, spec, start, spectrum)
    work = {"spectrum": few.work + few.cost * products, "pilot": found.work, "loss0": 1 / 3}
    return _Ready(found, loss0, work, clock() - began)


def metric_source(posterior: Posterior, run: RunSpec) -> Spectrum:
    """Return the mean Hessian that the metric of a run is made of."""
    n = None if posterior.data is None else posterior.n
    spec: Any = on_examples(run.sampler, n, written=True)
    few = subset(stream(run.seed, "rows"), posterior, spec.setup_rows)
    return _set_out(run.seed, posterior, few, spec, time.perf_counter).pilot.spectrum


def sample(
    posterior: Posterior,
    run: RunSpec,
    *,
    progress: Callable[[drive.Progress], None] = silent,
    log: Callable[[str], None] = silent,
    checkpoint: drive.Checkpoint | None = None,
    clock: Callable[[], float] = time.perf_counter,
    is_late: Callable[[], bool] = never,
    metric: Spectrum | None = None,
) -> Trace:
    """Run one sampler on one posterior: (seed, posterior, spec) -> Trace, nothing else read.

    A sampler whose metric comes from a mean Hessian takes it from `metric`, if that is given.

    Before the first draw, `log` receives what the pilot found and what the bias ledger of a
    minibatch sampler predicts. A run with a stop rule ends too once `is_late` returns true, and
    then its draws depend on the time. Where the chains of a minibatch sampler leave every bound,
    the run is made again with smaller steps (`attempts`), and what it took before counts as work.

    Raises:
        ValueError: if the minibatch is larger than the data set.
    """
    n = None if posterior.data is None else posterior.n
    spec: Any = on_examples(run.sampler, n, written=True)
    seed = run.seed
    known = {"posterior": posterior}
    checkpoint = checkpoint or drive.NOTHING_KEPT
    few = subset(stream(seed, "rows"), posterior, spec.setup_rows)
    ready = checkpoint.remember("pilot", known, lambda: _set_out(seed, posterior, few, spec, clock))
    began = clock() - ready.seconds
    found, loss0, setup = ready.pilot, ready.loss0, dict(ready.work)
    spectrum, start = found.spectrum, found.positions
    if isinstance(spec, Vi):
        return sample_vi(
            stream(seed, "vi"),
            posterior,
            spec,
            spectrum=spectrum,
            points=found.positions,
            monitor=watch(seed, posterior, spectrum),
            loss0=loss0,
            setup_work=setup,
            began=began,
            progress=progress,
            checkpoint=checkpoint,
            clock=clock,
            is_late=is_late,
        )

    pairs = monitor.paired(posterior, spec.record_rows, loss0)
    watched = watch(seed, posterior, spectrum, pairs)
    if pairs is not None:
        setup["control"] = 1.0
    nbeta = float(posterior.nbeta)

    def attempt(spec: Any, setup: dict[str, float], before: list[dict[str, Any]]) -> Trace:
        def tune() -> tuple[Tuned, float]:
            if found.llc is not None:
                gradients = f"{found.work:.3g} gradients"
                log(f"pilot: llc about {found.llc:.3g}, {gradients}; {spec.kind} adapts")
            tuned = build(
                stream(seed, "build"),
                posterior,
                spec,
                few=few,
                start=start,
                spectrum=spectrum if metric is None else metric,
                llc=found.llc,
                log=seldom(log, clock),
            )
            return tuned, clock() - began

        # The first attempt keeps the names that a run without a second one has.
        name = f"-{len(before)}" if before else ""
        tuned, seconds = checkpoint.remember(f"tuned{name}", known, tune)
        started = clock() - seconds
        for line in report(tuned.info["ledger"]) if "ledger" in tuned.info else ():
            log(line)
        spent = setup | {"adaptation": tuned.work}
        batch = {"batch_size": spec.batch_size} if hasattr(spec, "batch_size") else {}
        info = {"sampler": spec.kind, **batch, **tuned.info, "h_max": float(spectrum.h_max)}
        info |= {"left": before} if before else {}

        def trace(draws: drive.Draws) -> Trace:
            values = dict(draws.values)
            virial_m = values.pop("virial_m")
            sampling = float(draws.cumulative_work[-1]) - sum(spent.values())
            return Trace(
                loss=values.pop("loss"),
                dist2=values.pop("dist2"),
                projections=values.pop("projections"),
                virial=values.pop("virial"),
                virial_m=virial_m if np.any(np.asarray(watched.weights) > 0) else None,
                cumulative_fge=draws.cumulative_work,
                seconds=draws.seconds,
                stats=values,
                loss0=loss0,
                nbeta=nbeta,
                gamma=float(posterior.gamma),
                n=posterior.n,
                d=posterior.w0.size,
                work={**spent, "sampling": sampling},
                seconds_total=clock() - started,
                info={**info, **ended(draws, spec)},
                failure=draws.failure or tuned.failure,
            )

        rule = None
        if spec.until is not None:
            rule = stop_rule(spec.until, trace, least_burn=spec.least_burn, is_late=is_late)
        draws = drive.run_chains(
            stream(seed, "sampling"),
            tuned.kernel,
            watched,
            tuned.positions,
            n_draws=spec.n_draws,
            n_burn=spec.n_burn,
            thin=spec.thin,
            llc_of=lambda loss: nbeta * (loss - loss0),
            setup_work=sum(spent.values()),
            setup_seconds=seconds,
            progress=progress,
            checkpoint=checkpoint.beside(f"attempt{name}") if name else checkpoint,
            clock=clock,
            rule=rule,
        )
        return trace(draws)

    return until_they_stay(attempt, spec, setup, log)
