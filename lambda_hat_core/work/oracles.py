"""The posterior's own value of a run, computed once for each target and posterior of a store."""

from typing import Any

from lambda_hat_core.config.base import content_hash
from lambda_hat_core.config.spec import RunSpec, TargetSpec
from lambda_hat_core.store import files
from lambda_hat_core.store.store import Store
from lambda_hat_core.truth.exact import Exact

FOLDER = "exact"


def exact(store: Store, spec: RunSpec, target: TargetSpec, at: Any, **constants: Any) -> Exact:
    """Return the exact value at the nbeta and gamma of a run.

    If it cannot be computed, it is that of a run of `tempered` on the same posterior, if the store
    has the analysis of one.

    Args:
        store: the store.
        spec: the spec of the run.
        target: that of its target.
        at: the target itself.
        constants: nbeta, gamma, the name of the loss and the precision of the prior.
    """
    from lambda_hat_core.analysis.temperature import from_profiles

    found = _computed(store, spec, target, at, constants)
    if found.value is not None:
        return found
    restrict = spec.posterior.restrict
    where = None if restrict is None else ", ".join(restrict)
    return from_profiles(_tempered(store, spec), **constants, restrict=where) or found


def _computed(
    store: Store, spec: RunSpec, target: TargetSpec, at: Any, constants: dict[str, Any]
) -> Exact:
    from lambda_hat_core import targets

    path = store.root / FOLDER / f"{spec.target}.{content_hash(spec.posterior)}.json"
    kept = files.read_sealed(path)
    if kept is not None:
        return Exact(**kept)
    prior = constants["prior"] or 0.0
    found = targets.oracle(target, at, constants["nbeta"], constants["gamma"], prior)
    files.write_sealed(path, found._asdict())
    return found


def _tempered(store: Store, spec: RunSpec) -> list[dict[str, Any]]:
    """Return the analyses of other runs of `tempered` on the same target."""
    found = []
    for folder in sorted((store.root / "analyses").glob("run_tempered_*")):
        if folder.name != spec.id and store.is_complete("analyses", folder.name):
            facts = store.read_json("analyses", folder.name, "estimate.json")
            if facts["target_id"] == spec.target and facts["tempered"] is not None:
                found.append(facts)
    return found
