"""From a posterior and the settings of a sampler to a trace: what all samplers share."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from lambda_hat_core.analysis.stopping import never
from lambda_hat_core.chains import Frame, sample_chains
from lambda_hat_core.config.batches import on_examples
from lambda_hat_core.config.samplers.vi import Vi
from lambda_hat_core.config.spec import RunSpec
from lambda_hat_core.linalg.spectrum import Spectrum, hessian_spectrum
from lambda_hat_core.posterior import Posterior, loss_at_minimum
from lambda_hat_core.samplers import drive, monitor, pilot
from lambda_hat_core.samplers.observables import Observable, Observables, observing
from lambda_hat_core.samplers.product_metric import certificate
from lambda_hat_core.samplers.settling import settled
from lambda_hat_core.samplers.start import laplace_start
from lambda_hat_core.samplers.subset import Subset, subset
from lambda_hat_core.samplers.telling import silent
from lambda_hat_core.samplers.trace import Trace
from lambda_hat_core.streams import stream
from lambda_hat_core.types import constant

N_PROJECTIONS = 4


def watch(
    seed: int,
    posterior: Posterior,
    spectrum: Spectrum,
    paired: monitor.Paired | None = None,
    observables: Observables | None = None,
) -> monitor.Monitor:
    """Return what is watched: random directions, those of the certificate, and more."""
    projections = monitor.random_projections(
        stream(seed, "projections"), posterior.w0, N_PROJECTIONS
    )
    made = spectrum.factors
    if made is None:
        along, weights = spectrum.vectors, spectrum.shrinkage(posterior.nbeta, posterior.gamma)
    else:
        along, weights = made.basis, certificate(made)
    weights = constant(weights, posterior.w0)
    return monitor.Monitor(projections, along, weights, paired, observables)


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
    spectrum, products = hessian_spectrum(
        stream(seed, "spectrum"), few.posterior, beside=spec.n_chains
    )
    loss0 = loss_at_minimum(posterior)
    start = laplace_start(stream(seed, "start"), posterior, spectrum, spec.n_chains)
    found = pilot.set_out(stream(seed, "pilot"), few, spec, start, spectrum)
    work = {"spectrum": few.work + few.cost * products, "pilot": found.work, "loss0": 1 / 3}
    return _Ready(found, loss0, work, clock() - began)


def _few(seed: int, posterior: Posterior, spec: Any) -> Subset:
    """Return the examples that a sampler sets itself up on."""
    return subset(stream(seed, "rows"), posterior, spec.few(posterior.n)[0])


def metric_source(posterior: Posterior, run: RunSpec) -> Spectrum:
    """Return the mean Hessian that the metric of a run is made of."""
    n = None if posterior.data is None else posterior.n
    spec: Any = settled(on_examples(run.sampler, n, written=True), posterior)
    few = _few(run.seed, posterior, spec)
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
    observables: tuple[Observable, ...] = (),
) -> Trace:
    """Run one sampler on one posterior: (seed, posterior, spec) -> Trace, nothing else read.

    A sampler whose metric comes from a mean Hessian takes it from `metric`, if that is given. What
    `observables` are is recorded with every draw.

    Before the first draw, `log` receives what the pilot found and what the bias ledger of a
    minibatch sampler predicts. A run with a stop rule ends too once `is_late` returns true, and
    then its draws depend on the time. Where the step of a minibatch sampler turns out to be too
    large, the run is made again (`samplers.attempts`), and what it took before counts as work.

    Raises:
        ValueError: if the minibatch is larger than the data set.
    """
    n = None if posterior.data is None else posterior.n
    written: Any = on_examples(run.sampler, n, written=True)
    spec = settled(written, posterior)
    seed = run.seed
    known = {"posterior": posterior}
    checkpoint = checkpoint or drive.NOTHING_KEPT
    few = _few(seed, posterior, spec)
    ready = checkpoint.remember("pilot", known, lambda: _set_out(seed, posterior, few, spec, clock))
    began = clock() - ready.seconds
    found, loss0, setup = ready.pilot, ready.loss0, dict(ready.work)
    seen = observing(posterior, observables) if observables else None
    if seen is not None:
        setup["observables"] = 1 / 3 + seen.work(posterior.n)
    if isinstance(spec, Vi):
        from lambda_hat_core.vi.run import sample_vi  # optax and flowjax are slow to import

        return sample_vi(
            stream(seed, "vi"),
            posterior,
            spec,
            spectrum=found.spectrum,
            points=found.positions,
            monitor=watch(seed, posterior, found.spectrum, observables=seen),
            loss0=loss0,
            setup_work=setup,
            began=began,
            progress=progress,
            checkpoint=checkpoint,
            clock=clock,
            is_late=is_late,
        )

    pairs = monitor.paired(posterior, spec.record_rows, loss0)
    if pairs is not None:
        setup["control"] = 1.0
    frame = Frame(
        posterior,
        written,
        seed,
        few,
        loss0,
        watch=lambda spectrum: watch(seed, posterior, spectrum, pairs, seen),
        metric=metric,
        checkpoint=checkpoint,
        progress=progress,
        log=log,
        clock=clock,
        began=began,
        is_late=is_late,
    )
    return sample_chains(frame, spec, found, setup)
