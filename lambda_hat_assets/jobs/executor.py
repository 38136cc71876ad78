"""How the steps of `llc` become processes."""

import dagster as dg

from lambda_hat_assets.assets.common import DTYPE_TAG
from lambda_hat_assets.card import Card

PRELOAD = "lambda_hat_assets._preload"


def executor(card: Card) -> dg.ExecutorDefinition:
    """Return an executor that forks steps from a process which has imported everything already.

    At most as many steps at once as the card allows, in all and of each dtype.
    """
    limits = [
        {"key": DTYPE_TAG, "value": dtype, "limit": card.at_once(dtype)}
        for dtype in ("float32", "float64")
    ]
    return dg.multiprocess_executor.configured(
        {
            "max_concurrent": card.slots,
            "start_method": {"forkserver": {"preload_modules": [PRELOAD]}},
            "tag_concurrency_limits": limits,
        }
    )
