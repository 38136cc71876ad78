"""What all partitioned assets have in common."""

from typing import NamedTuple

import dagster as dg

from lambda_hat_core.config.samplers.base import Dtype

DTYPE_TAG = "lambda_hat/dtype"
TARGETS_KEY = dg.AssetKey("targets")
GALLERIES_KEY = dg.AssetKey("galleries")
RESULTS_KEY = dg.AssetKey("llc_results")

BATCHES = dg.BackfillPolicy.multi_run(max_partitions_per_run=20)
"""One run of a backfill pays start-up and compilation once for this many partitions."""


class Routing(NamedTuple):
    """How runs of a dtype are told apart: by a tag in runs, by a pool in the UI and backfills."""

    dtype: Dtype

    @property
    def tags(self) -> dict[str, str]:
        """Tags of assets, steps and runs."""
        return {DTYPE_TAG: self.dtype}

    @property
    def pool(self) -> str:
        """The pool of steps that hold a payload process."""
        return f"lambda_hat_{self.dtype}"
