"""A step sleeps while it waits for a slot of a pool.

The fault: `InstanceConcurrencyContext.interval_to_next_pending_claim_check` returns the smaller
instead of the larger of 0 and the remaining time, so that a run in one process keeps a whole core
busy while it waits.
"""

import time

from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext


def _seconds_to_next_claim(self: InstanceConcurrencyContext) -> float:
    """Return how long a waiting step may sleep."""
    ready = self._pending_timeouts.values()
    return max(0.0, min(ready, default=0.0) - time.time())


def mend() -> None:
    """Replace Dagster's method."""
    InstanceConcurrencyContext.interval_to_next_pending_claim_check = _seconds_to_next_claim
