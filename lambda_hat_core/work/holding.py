"""Settings that are measured at one checkpoint of a training and held at the others.

Otherwise a curve along the training would also show how step sizes and metrics change. What is held
is what the run at that checkpoint used, so a run that holds it starts when that run has ended.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

from lambda_hat_core.config.spec import RunSpec, TargetSpec
from lambda_hat_core.store.store import SPEC, Store

_SETTINGS = (
    "step_size",
    "L",
    "batch_size",
    "n_draws",
    "n_burn",
    "thin",
    "precond",
    "damping",
    "alpha",
)


def source(store: Store, run: RunSpec) -> tuple[RunSpec, TargetSpec]:
    """Return the run that another holds its settings from, and its target, which must be there.

    Raises:
        FileNotFoundError: if the store does not have that target.
    """
    assert run.hold is not None
    target = TargetSpec.model_validate(store.read_json("targets", run.hold, SPEC))
    return run.model_copy(update={"target": run.hold, "hold": None}), target


def held(store: Store, run: RunSpec, of: RunSpec) -> tuple[RunSpec, Any]:
    """Return a run with the settings that another one used, and its metric's spectrum.

    Args:
        store: the store, which has the other run.
        run: the run.
        of: the other one.

    Raises:
        ValueError: if the other run failed, so that its settings are no measure.
    """
    work = store.read_json("runs", of.id, "work.json")
    if work["failure"]:
        raise ValueError(
            f"its settings are held from {of.id}, which failed ({work['failure']}): choose another "
            "checkpoint under hold"
        )
    found = {name: work["info"][name] for name in _SETTINGS if name in work["info"]}
    fields = type(run.sampler).model_fields
    sampler = run.sampler.model_copy(
        update={"until": None} | {name: found[name] for name in found if name in fields}
    )
    return run.model_copy(update={"sampler": sampler}), _metric(store.root, of.id)


@lru_cache(maxsize=2)
def _metric(root: Path, run: str) -> Any:
    """Return the spectrum that the metric of a run was made of; None if it has none of this kind.

    It is measured again, to the same bits: its inputs are the run's. A run that left a product
    basis has another metric than its settings say.
    """
    from lambda_hat_core import targets
    from lambda_hat_core.config.batches import as_sampled
    from lambda_hat_core.posterior import localised
    from lambda_hat_core.sample import metric_source

    store = Store(root)
    spec = RunSpec.model_validate(store.read_json("runs", run, SPEC))
    metrics = {getattr(spec.sampler, key, None) for key in ("precond", "metric")}
    if metrics.isdisjoint({"lanczos", "kronecker", "auto"}):
        return None
    used = store.read_json("runs", run, "work.json")["info"]
    if "precond" in used:
        sampler = spec.sampler.model_copy(update={"precond": used["precond"]})
        spec = spec.model_copy(update={"sampler": sampler})
    target = TargetSpec.model_validate(store.read_json("targets", spec.target, SPEC))
    loaded = targets.load(target, store.path("targets", spec.target), spec.posterior)
    n = None if loaded.data is None else loaded.n
    return metric_source(localised(loaded, spec.posterior), as_sampled(spec, target, n))
