"""Runs of the benches, each computed once and kept by its id, so that a bench can stop anywhere.

`out/targets/<id>/` holds targets, `out/runs/<id>.json` the record of a run, and `out/answers/`
exact values. Ids depend on everything that determines a number except the code. After a change of
the samplers, start in an empty folder.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from references import gibbs, slices

from lambda_hat_core import targets
from lambda_hat_core.analysis.estimate import estimate
from lambda_hat_core.config.base import content_hash
from lambda_hat_core.config.posterior import PosteriorSpec
from lambda_hat_core.config.samplers.known import SAMPLERS
from lambda_hat_core.config.spec import RunSpec, TargetSpec
from lambda_hat_core.posterior import Target, localised
from lambda_hat_core.sample import sample
from lambda_hat_core.samplers.trace import Trace
from lambda_hat_core.store import files

NUTS_SEEDS = (101, 102, 103, 104)
"""Seeds of the runs whose mean is the reference if there is no other reference."""


class Case(NamedTuple):
    """A target and the posterior on it."""

    target: TargetSpec
    posterior: PosteriorSpec


class Answer(NamedTuple):
    """A reference value for an estimate, its standard error, and the source of both."""

    value: float
    se: float
    source: str


def problem(fields: dict[str, Any], **posterior: Any) -> Case:
    """Return a case built from plain mappings."""
    return Case(TargetSpec.model_validate(fields), PosteriorSpec(**posterior))


def run(
    out: Path, of: Case, sampler: dict[str, Any], *, seed: int = 0, again: bool = False
) -> dict[str, Any]:
    """Return the record of a run in its sampler's own dtype: an `Estimate`, work and seconds.

    `cpu_s` is CPU seconds including compilation. With `again` the run is made twice, and `again_s`
    is the CPU seconds of the second time, when everything is compiled.
    """
    spec = _spec(of, sampler, seed)

    def sampled() -> tuple[Trace, float]:
        began = time.process_time()
        with jax.enable_x64(spec.dtype == "float64"):
            target = targets.load(of.target, _folder(out, of.target), of.posterior)
            trace = sample(localised(target, of.posterior), spec)
        return trace, time.process_time() - began

    def compute() -> dict[str, Any]:
        meta = _meta(_folder(out, of.target))
        trace, seconds = sampled()
        return {
            **estimate(trace, meta)._asdict(),
            "cpu_s": seconds,
            "again_s": sampled()[1] if again else None,
            "work": trace.work,
            "info": {name: trace.info.get(name) for name in ("step_size", "ledger")},
        }

    return _once(_record(out, spec), compute)


def is_made(out: Path, of: Case, sampler: dict[str, Any]) -> bool:
    """Return whether the record of a run exists."""
    return _record(out, _spec(of, sampler, 0)).exists()


def _spec(of: Case, sampler: dict[str, Any], seed: int) -> RunSpec:
    return RunSpec.model_validate(
        {
            "target": of.target.id,
            "sampler": sampler,
            "posterior": of.posterior,
            "seed": seed,
            "dtype": SAMPLERS[sampler["kind"]].default_dtype,
        }
    )


def _record(out: Path, spec: RunSpec) -> Path:
    return out / "runs" / f"{spec.id}.json"


def _meta(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "meta.json").read_bytes())


def known(out: Path, of: Case) -> float | None:
    """Return the coefficient if it is known for this w*, else None."""
    return _meta(_folder(out, of.target))["llc_known"]


def answer(out: Path, of: Case) -> Answer:
    """Return the finite-temperature value: exact, or by another exact sampler with its error."""
    folder = _folder(out, of.target)

    def compute() -> dict[str, Any]:
        target = targets.load(of.target, folder, of.posterior)
        nbeta = of.posterior.resolved_nbeta(target.n)
        gamma = of.posterior.resolved_gamma(target.w0.size)
        exact = targets.oracle(of.target, target, nbeta, gamma)
        if exact.value is not None:
            return Answer(exact.value, exact.se or 0.0, exact.source)._asdict()
        return _sampled(out, of, target, nbeta, gamma)._asdict()

    hashed = content_hash(of.posterior)
    return Answer(**_once(out / "answers" / f"{of.target.id}_{hashed}.json", compute))


def _sampled(out: Path, of: Case, target: Target, nbeta: float, gamma: float) -> Answer:
    kind = of.target.model.kind
    if kind == "deep_linear":
        found = gibbs(target, nbeta, gamma)
        return Answer(*found, "Gibbs: a layer given the others is Gaussian")
    if kind == "quadratic_activation":
        return Answer(*slices(target, nbeta, gamma), "elliptical slice sampling")
    records = [run(out, of, {"kind": "nuts"}, seed=seed) for seed in NUTS_SEEDS]
    means, errors = (np.array([r[name] for r in records]) for name in ("llc", "llc_se"))
    scatter = means.std(ddof=1) / len(means) ** 0.5
    se = max(scatter, np.sqrt(np.sum(errors**2)) / len(means))
    return Answer(float(means.mean()), float(se), f"NUTS, {len(means)} other seeds")


def _folder(out: Path, spec: TargetSpec) -> Path:
    """Build a target unless it already exists."""
    folder = out / "targets" / spec.id
    if not (folder / "meta.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        targets.save(targets.build(spec, lambda line: None), folder)
    return folder


def _once(path: Path, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_atomic(path, files.to_json(compute()))
    return json.loads(path.read_bytes())
