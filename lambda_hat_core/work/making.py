"""Make artifacts: reuse what the store has, and compute and publish what it lacks.

A result that is not finite counts as a result. Any other failure leaves no folder, only a row that
SQL shows. JAX and the numeric packages are imported inside functions.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from lambda_hat_core.config.batches import as_sampled
from lambda_hat_core.config.samplers.vi import Vi
from lambda_hat_core.config.spec import RunSpec, TargetSpec
from lambda_hat_core.gallery.members import Gallery, is_current
from lambda_hat_core.store import files, records
from lambda_hat_core.store.store import Store
from lambda_hat_core.work import holding, observing
from lambda_hat_core.work.outcomes import Log, Outcome, Stopped, made, record, require
from lambda_hat_core.work.resuming import checkpoint_folder, resumable
from lambda_hat_core.work.steps import weights_of


def build_target(store: Store, spec: TargetSpec, log: Log) -> Outcome:
    """Train, polish and audit a target, in float64; a checkpoint is only audited."""

    def make(folder: Path) -> None:
        from lambda_hat_core import targets

        targets.save(targets.build(spec, log, weights_of(store, spec)), folder)
        meta = json.loads((folder / "meta.json").read_bytes())
        records.write("targets", [records.target_row(spec, meta)], folder / "target.parquet")
        records.write_checks(
            {"target_id": spec.id}, [records.audited(meta)], folder / "checks.parquet"
        )
        if spec.step is not None:
            row = records.checkpoint_row(spec, meta)
            records.write("trajectories", [row], folder / "checkpoint.parquet")

    return made(store, "targets", spec, make, log)


def sample_run(
    store: Store,
    spec: RunSpec,
    target: TargetSpec,
    log: Log,
    progress: Callable[[Any], None] | None = None,
) -> Outcome:
    """Sample the posterior of a target that the store has.

    Args:
        store: the store, which has the target and receives the run.
        spec: the spec of the run.
        target: the spec of its target.
        log: receives one line at a time; the lines are kept in log.txt.
        progress: receives one `samplers.drive.Progress` per chunk, and may raise `Stopped`.
    """

    def make(folder: Path) -> None:
        from lambda_hat_core import targets
        from lambda_hat_core.analysis.traceio import save_trace
        from lambda_hat_core.analysis.words import duration
        from lambda_hat_core.posterior import localised
        from lambda_hat_core.sample import sample
        from lambda_hat_core.work.timing import expected

        require(store, "targets", spec.target)
        with (folder / "log.txt").open("w") as file:

            def say(line: str) -> None:
                print(line, file=file, flush=True)
                log(line)

            def tell(at: Any) -> None:
                left = "" if at.waits_for else f"{at.eta_seconds:.0f} s left, "
                rate = f"{at.draws_per_second:.3g} draws/s of all chains"
                say(f"{at.so_far}, {rate}, {left}llc {at.llc:.4g}{at.waits}")
                if progress is not None:
                    progress(at)

            at, observables = targets.load_observed(
                target, store.path("targets", spec.target), spec.posterior, spec.observables or ()
            )
            posterior = localised(at, spec.posterior)
            used = as_sampled(spec, target, None if posterior.data is None else posterior.n)
            if used.sampler != spec.sampler:
                say(f"the full batch is used: the target has n = {posterior.n}")
            seconds = expected(posterior, used.sampler, audited=True)
            say(f"d = {posterior.w0.size}, n = {posterior.n}: about {duration(seconds)}")
            metric = None
            if spec.hold is not None:
                source = holding.source(store, spec)
                sample_run(store, *source, log)
                used, metric = holding.held(store, used, source[0])
                say(f"step size, metric and lengths are those of {source[0].id}")
            trace = sample(
                posterior,
                used,
                progress=tell,
                log=say,
                checkpoint=resumable(store, spec),
                metric=metric,
                observables=observables,
            )
            if trace.failure:
                say(f"stopped: {trace.failure}")
        save_trace(trace, spec, folder / "trace.nc")
        observing.save(trace, folder)
        if isinstance(spec.sampler, Vi) and spec.sampler.tensorboard:
            from lambda_hat_core.vi.tensorboard import write_tensorboard

            write_tensorboard(trace, folder / "tensorboard")
        names = ("work", "work_fge", "loss0", "nbeta", "gamma", "n", "d", "failure", "info")
        facts = {name: getattr(trace, name) for name in names} | {"wall_s": trace.seconds_total}
        _write_json(folder / "work.json", facts)

    try:
        outcome = made(store, "runs", spec, make, log)
    except Stopped:
        files.remove(checkpoint_folder(store, spec.id))
        raise
    files.remove(checkpoint_folder(store, spec.id))
    return outcome


def analyse_run(store: Store, spec: RunSpec, target: TargetSpec, log: Log) -> Outcome:
    """Estimate and judge a run that the store has, and draw its figures."""

    def make(folder: Path) -> None:
        from lambda_hat_core import targets
        from lambda_hat_core.analysis.checks import checks
        from lambda_hat_core.analysis.estimate import estimate, statements
        from lambda_hat_core.analysis.figures.run import draw_figures
        from lambda_hat_core.analysis.settings import settings
        from lambda_hat_core.analysis.traceio import load_trace
        from lambda_hat_core.plan.labels import run_label
        from lambda_hat_core.work.oracles import exact

        require(store, "runs", spec.id)
        require(store, "targets", spec.target)
        meta = records.facts_of(spec, store.read_json("targets", spec.target, "meta.json"))
        trace = load_trace(store.path("runs", spec.id) / "trace.nc")
        at = targets.load(target, store.path("targets", spec.target), spec.posterior)
        used = as_sampled(spec, target, None if at.data is None else at.n)
        loss = spec.posterior.loss or meta["loss"]
        oracle = exact(
            store,
            spec,
            target,
            at,
            nbeta=trace.nbeta,
            gamma=trace.gamma,
            loss=loss,
            prior=trace.prior,
        )
        found = estimate(trace, meta, sampler=used.sampler, exact=oracle)
        judged = checks(found, meta, exact=oracle, budget_fge=used.sampler.budget(trace.n))
        said = "; ".join(statements(found))
        if said:
            log(said)
        extra = {
            "llc_known": meta["llc_known"],
            "llc_known_reason": meta["llc_known_reason"],
            "llc_oracle": oracle.value,
            "llc_oracle_se": oracle.se,
            "llc_oracle_reason": oracle.source,
            "ledger": trace.info.get("ledger"),
            "checks": [check._asdict() for check in judged],
            "tempered": None if found.tempered is None else found.tempered.plain(),
        }
        row = records.run_row(spec)
        row |= {name: trace.info[name] for name in ("n_draws", "n_burn") if name in trace.info}
        row |= {name: value for name, value in found._asdict().items() if name not in row}
        row |= {"loss": loss, "label": run_label(spec, meta["label"]), **extra}
        really = files.to_json(settings(trace, used))
        records.write("llc", [row | {"settings": really}], folder / "estimate.parquet")
        records.write_checks({"run_id": spec.id}, extra["checks"], folder / "checks.parquet")
        records.write_draws(spec.id, trace, folder / "draws.parquet")
        if found.tempered is not None:
            records.write_profile(spec.id, found.tempered.replicas, folder / "profile.parquet")
        _write_json(folder / "estimate.json", {**row, "created_at": row["created_at"].isoformat()})
        (folder / "figures").mkdir()
        draw_figures(
            trace,
            found,
            folder / "figures",
            title=run_label(spec, meta["label"]),
            llc_known=meta["llc_known"],
            llc_oracle=oracle.value,
        )
        observing.analyse(store, spec, trace, folder, run_label(spec, meta["label"]))

    return made(store, "analyses", spec, make, log)


def build_gallery(store: Store, gallery: Gallery, log: Log) -> Outcome:
    """Make an experiment's gallery, unless the store has one made from the same inputs."""
    began = time.perf_counter()
    status: Literal["made", "reused"] = "reused"
    with store.lease("galleries", gallery.id, log):
        if not is_current(store, gallery):
            from lambda_hat_core.gallery.build import write

            with store.publish("galleries", gallery.id) as folder:
                write(store, gallery, folder)
            status = "made"
        # Another command may replace the page as soon as the lease is released.
        facts = record(store, "galleries", gallery.id)
    return Outcome(gallery.id, status, time.perf_counter() - began, facts)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(files.to_json(content, indent=1))
