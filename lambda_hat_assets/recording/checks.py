"""Asset checks: declared here, decided in the core, stored in the record, one a partition."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from lambda_hat_core.config.samplers.base import BUDGET

ANALYSIS_CHECKS = {
    "finite": "Every recorded number is finite and the run did not stop early.",
    "converged": "R-hat, effective draws, divergences and k-hat are within their limits.",
    "certificate": "The virial certificate V_M is 1 within its error, where it is computed.",
    "minimum": "Nothing in the draws or in the audit says that w* is not a minimum.",
    "interval_covers_known": "The 90 % interval holds the exact value, where one is known.",
    "work_within_budget": f"The run cost at most {BUDGET} times the gradients that were forecast.",
}
TARGET_CHECKS = {"minimum": "w* passed its audit: gradient, lowest eigenvalue, predicted bias."}

_NEEDED = {
    "certificate": "value",
    "interval_covers_known": "threshold",
    "work_within_budget": "threshold",
}
"""What a record must have for the check to have been made at all."""

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
    """Yield what the record of a partition says of its checks, where it says anything.

    Args:
        asset: whose checks.
        key: the partition.
        checks: mappings with name, passed, severity, value, threshold, text.
    """
    for found in checks:
        needed = _NEEDED.get(found["name"])
        if needed is not None and found[needed] is None:
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


def audit(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return the check that a target's meta.json stands for."""
    said = [*meta["audit_reasons"], *meta.get("audit_notes", [])]
    return {
        "name": "minimum",
        "passed": meta["is_minimum"],
        "severity": "warn",
        "value": meta.get("off_centre_bias"),
        "threshold": meta.get("audit_limit"),
        "text": "; ".join(said) or "w* passed its audit",
    }
