"""How the steps of a job become processes."""

import dagster as dg

from lambda_hat_assets.cards.card import DTYPES, Card
from lambda_hat_assets.running.endings import Cancel, ending
from lambda_hat_assets.running.pools import DTYPE_TAG

PRELOAD = "lambda_hat_assets._preload"


def in_one_process(cancel: Cancel) -> dg.ExecutorDefinition:
    """Return the executor of everything that a person clicks: all steps in the run's process."""
    return ending(dg.in_process_executor, cancel)


def in_processes(card: Card, cancel: Cancel) -> dg.ExecutorDefinition:
    """Return an executor that forks steps from a process which has imported everything already.

    At most as many steps at once as the card allows, in all and of each dtype.
    """
    limits = [{"key": DTYPE_TAG, "value": dtype, "limit": card.at_once(dtype)} for dtype in DTYPES]
    return ending(dg.multiprocess_executor, cancel).configured(
        {
            "max_concurrent": card.slots,
            "start_method": {"forkserver": {"preload_modules": [PRELOAD]}},
            "tag_concurrency_limits": limits,
        }
    )
