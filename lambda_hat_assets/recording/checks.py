"""Asset checks, one result per partition; the core evaluates them, and the record contains them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from lambda_hat_core.config.samplers.base import BUDGET

ANALYSIS_CHECKS = {
    "finite": "Every recorded number is finite and the run did not stop early.",
    "converged": "R-hat, effective draws, divergences and k-hat are within their limits.",
    "certificate": "The virial certificate V_M is 1 within its limits, if it is computed.",
    "minimum": "Neither the draws nor the audit indicate that w* is not a minimum.",
    "interval_covers_known": "The 90 % interval contains the exact value, if one is known.",
    "work_within_budget": f"The run took at most {BUDGET} times the forecast number of gradients.",
}
TARGET_CHECKS = {"minimum": "w* passed its audit: gradient, lowest eigenvalue, predicted bias."}

_NEEDED = {
    "certificate": "value",
    "interval_covers_known": "threshold",
    "work_within_budget": "threshold",
}
"""The fields that are null in the records of these checks if a check could not be made. In those of
earlier versions it passed then."""

_SEVERITY = {"warn": dg.AssetCheckSeverity.WARN, "error": dg.AssetCheckSeverity.ERROR}


def specs(
    asset: dg.AssetKey, checks: Mapping[str, str], partitions: dg.PartitionsDefinition
) -> list[dg.AssetCheckSpec]:
    """Declare partitioned checks of an asset."""
    return [
        dg.AssetCheckSpec(name, asset=asset, description=words, partitions_def=partitions)
        for name, words in checks.items()
    ]


def evaluations(
    asset: dg.AssetKey, key: str, checks: Sequence[Mapping[str, Any]]
) -> Iterator[dg.AssetCheckEvaluation]:
    """Yield the evaluations of the checks that were made for a partition.

    Args:
        asset: the key of the asset.
        key: the partition.
        checks: the checks in the partition's record, with the fields of `analysis.checks.Check`.
    """
    for found in checks:
        needed = _NEEDED.get(found["name"])
        if found["passed"] is None or (needed is not None and found[needed] is None):
            continue
        numbers = {name: found[name] for name in ("value", "threshold") if found[name] is not None}
        yield dg.AssetCheckEvaluation(
            asset_key=asset,
            check_name=found["name"],
            passed=found["passed"],
            severity=_SEVERITY[found["severity"]],
            description=found["text"],
            metadata=numbers | {"text": found["text"]},
            partition=key,
        )
